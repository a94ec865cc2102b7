//! [`DelayControl`] as the stack's congestion controller.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use lanparty_core::{Acked, DelayControl};
use lanparty_quic::RttEstimator;
use lanparty_quic::congestion::{Controller, ControllerFactory};

/// Makes such controllers.
#[derive(Debug, Default)]
pub(crate) struct DelayConfig;

impl ControllerFactory for DelayConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Delay(DelayControl::new(now, current_mtu)))
    }
}

#[derive(Debug, Clone)]
struct Delay(DelayControl);

impl Controller for Delay {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.0.acked(now, Acked { sent, bytes, app_limited, rtt: rtt.get(), rtt_min: rtt.min() });
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, _largest_packet_num_acked: Option<u64>) {
        self.0.end_acks(now, in_flight, app_limited);
    }

    fn on_congestion_event(&mut self, now: Instant, _sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.0.lost(now, lost_bytes, is_persistent_congestion);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.0.set_mtu(new_mtu);
    }

    fn window(&self) -> u64 {
        self.0.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.0.first_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
