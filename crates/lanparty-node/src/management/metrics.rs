//! Numbers for a graph, in the text format that Prometheus reads (OpenMetrics 1.0).

use std::borrow::Cow;
use std::fmt;

use lanparty_core::CountersSnapshot;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// What [`Numbers`] are as text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// The numbers of one program at one moment.
#[derive(Debug, Default)]
pub struct Numbers(Vec<Family>);

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    values: Vec<(Labels, Number)>,
}

#[derive(Clone, Copy, Debug)]
enum Number {
    /// Only ever grows while the program runs.
    Count(u64),
    Gauge(f64),
}

impl Numbers {
    /// The numbers of a program, which says what it is.
    #[must_use]
    pub fn of(program: &'static str) -> Self {
        let mut numbers = Self::default();
        numbers.gauge(
            "build_info",
            "Program and version",
            &[("program", program.into()), ("version", env!("CARGO_PKG_VERSION").into())],
            1.0,
        );
        numbers
    }

    /// A number that only grows.
    pub fn count(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, Cow<'static, str>)], value: u64) {
        self.add(name, help, labels, Number::Count(value));
    }

    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, Cow<'static, str>)], value: f64) {
        self.add(name, help, labels, Number::Gauge(value));
    }

    /// What became of the frames of one direction.
    pub fn frames(&mut self, direction: &'static str, counters: &CountersSnapshot) {
        let way = ("direction", Cow::Borrowed(direction));
        let labels = std::slice::from_ref(&way);
        self.count("frames", "Ethernet frames that came in", labels, counters.frames_in);
        self.count("frame_bytes", "Their bytes", labels, counters.bytes_in);
        self.count("frames_split", "Frames that exist because one was cut up", labels, counters.split);
        // One that was to go on, and then had to be dropped, is taken back: so these are no counters.
        self.gauge("frames_forwarded", "Frames that went on", labels, counters.forwarded as f64);
        self.gauge("frames_answered", "Frames that were answered in their receiver's place", labels, counters.answered as f64);
        for (reason, frames) in counters.dropped.every() {
            self.count(
                "frames_dropped",
                "Ethernet frames that went no further, by reason",
                &[way.clone(), ("reason", reason.as_str().into())],
                frames,
            );
        }
    }

    fn add(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, Cow<'static, str>)], number: Number) {
        let value = (labels.to_vec(), number);
        match self.0.iter_mut().find(|family| family.name == name) {
            Some(family) => family.values.push(value),
            None => self.0.push(Family { name, help, values: vec![value] }),
        }
    }

    /// As Prometheus reads them.
    #[must_use]
    pub fn into_text(self) -> String {
        let (mut registry, mut text) = (Registry::with_prefix("lanparty"), String::new());
        registry.register_collector(Box::new(self));
        encode(&mut text, &registry).expect("INVARIANT: a String takes every text");
        text
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.0 {
            let kind = match family.values.first() {
                Some((_, Number::Count(_))) => MetricType::Counter,
                _ => MetricType::Gauge,
            };
            let mut metrics = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (labels, number) in &family.values {
                let metric = metrics.encode_family(labels)?;
                match number {
                    Number::Count(count) => ConstCounter::new(*count).encode(metric)?,
                    Number::Gauge(value) => ConstGauge::new(*value).encode(metric)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_prometheus_wants_them() {
        let mut numbers = Numbers::of("lanparty-client");
        numbers.count("paths_lost", "Packets lost", &[("path", "a\"b\\c\nd".into())], 7);
        numbers.gauge("rtt_seconds", "Round trip", &[], 0.25);
        let text = numbers.into_text();
        let expected = format!(
            "# HELP lanparty_build_info Program and version\n# TYPE lanparty_build_info gauge\n\
             lanparty_build_info{{program=\"lanparty-client\",version=\"{}\"}} 1.0\n\
             # HELP lanparty_paths_lost Packets lost\n# TYPE lanparty_paths_lost counter\n\
             lanparty_paths_lost_total{{path=\"a\\\"b\\\\c\\nd\"}} 7\n\
             # HELP lanparty_rtt_seconds Round trip\n# TYPE lanparty_rtt_seconds gauge\nlanparty_rtt_seconds 0.25\n# EOF\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(text, expected);
    }
}
