//! Whether the relay takes streams where QUIC does not get through: every place that a member would dial. Joins no room.

use futures_util::future::join_all;
use lanparty_doctor::StreamFacts;
use tokio::time::{Instant, timeout_at};

use super::relay::RelayExamination;
use crate::{Dialer, Identity, Link, StreamTarget, Transport, dial_stream};

impl RelayExamination {
    /// What each place answers, all asked at once, in the order in which a member believes them; ends at `by`.
    pub(super) async fn try_streams(&self, by: Instant, tell: &dyn Fn(&str)) -> Vec<StreamFacts> {
        tell("trying TLS over TCP");
        let dialer = Dialer::new(self.relay.clone(), self.server_name.clone(), self.trust.clone());
        let mut dialer = dialer.by(Transport::Auto, self.proxy.clone(), self.stream_relay.clone());
        let unknown = |error: String| {
            let place = self.stream_relay.as_ref().unwrap_or(&self.relay).to_string();
            vec![StreamFacts { place, ok: false, error: Some(error), duration_ms: None }]
        };
        match timeout_at(by, dialer.stream_targets()).await {
            Ok(Ok(targets)) => join_all(targets.iter().map(|target| self.try_stream(target, by))).await,
            Ok(Err(error)) => unknown(error.into_fault().cause),
            Err(_) => unknown("DNS does not answer".into()),
        }
    }

    async fn try_stream(&self, target: &StreamTarget, by: Instant) -> StreamFacts {
        let started = Instant::now();
        let error = match timeout_at(by, dial_stream(target, &self.trust, &Identity::ephemeral())).await {
            Ok(Ok(stream)) => {
                Link::over(stream).close("examined");
                None
            }
            Ok(Err(error)) => Some(error.into_fault().cause),
            Err(_) => Some("no answer in time".into()),
        };
        let duration_ms = Some(started.elapsed().as_secs_f64() * 1e3);
        StreamFacts { place: target.to_string(), ok: error.is_none(), error, duration_ms }
    }
}
