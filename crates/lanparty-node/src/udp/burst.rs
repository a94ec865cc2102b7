//! Datagrams that leave in one system call: of one size, the last one may be shorter (UDP_SEGMENT, udp(7)).

use std::net::{IpAddr, SocketAddr};

use noq::udp::{EcnCodepoint, Transmit};

/// What one UDP packet over IPv4 may carry, and so the kernel's limit of a burst (RFC 768).
const BURST_LEN_MAX: usize = 65_507;
/// As many datagrams the stack puts together at most: when it gives fewer, it has no more.
const STACK_SEGMENTS: usize = 10;

/// Where datagrams go, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label {
    destination: SocketAddr,
    src_ip: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    /// Bytes of each datagram but the last.
    segment_len: usize,
}

impl Label {
    fn of(transmit: &Transmit<'_>) -> Self {
        let &Transmit { destination, src_ip, ecn, .. } = transmit;
        Self { destination, src_ip, ecn, segment_len: segment_len(transmit) }
    }
}

fn segment_len(transmit: &Transmit<'_>) -> usize {
    transmit.segment_size.unwrap_or(transmit.contents.len()).max(1)
}

/// How many they are.
pub(super) fn datagrams(transmit: &Transmit<'_>) -> usize {
    transmit.contents.len().div_ceil(segment_len(transmit))
}

/// Whether the stack may have more to send right after this.
pub(super) fn may_go_on(transmit: &Transmit<'_>) -> bool {
    transmit.contents.len() >= segment_len(transmit) * STACK_SEGMENTS
}

/// Datagrams put together.
#[derive(Debug, Default)]
pub(super) struct Burst {
    label: Option<Label>,
    bytes: Vec<u8>,
}

impl Burst {
    /// Whether `transmit` can go in the same system call, behind what is in it.
    pub(super) fn takes(&self, transmit: &Transmit<'_>, segments_max: usize) -> bool {
        let Some(label) = self.label else { return true };
        let (now, more) = (self.bytes.len(), transmit.contents.len());
        let is_alike = label == Label { segment_len: label.segment_len, ..Label::of(transmit) }
            && (segment_len(transmit) == label.segment_len || more <= label.segment_len);
        // A short datagram ends a burst.
        let is_open = now.is_multiple_of(label.segment_len);
        is_alike && is_open && now + more <= BURST_LEN_MAX && (now + more).div_ceil(label.segment_len) <= segments_max
    }

    /// Puts it behind the others, which [`Self::takes`] must have allowed.
    pub(super) fn push(&mut self, transmit: &Transmit<'_>) {
        self.label.get_or_insert_with(|| Label::of(transmit));
        self.bytes.extend_from_slice(transmit.contents);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.label.is_none()
    }

    /// All of it, as one.
    pub(super) fn transmit(&self) -> Option<Transmit<'_>> {
        self.label.map(|label| whole(label, &self.bytes))
    }

    /// Each datagram for itself.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Transmit<'_>> {
        let each = |label: Label| {
            self.bytes.chunks(label.segment_len).map(move |datagram| Transmit { segment_size: None, ..whole(label, datagram) })
        };
        self.label.into_iter().flat_map(each)
    }

    pub(super) fn clear(&mut self) {
        self.label = None;
        self.bytes.clear();
    }
}

const fn whole(label: Label, contents: &[u8]) -> Transmit<'_> {
    let Label { destination, src_ip, ecn, segment_len } = label;
    Transmit { destination, ecn, contents, segment_size: Some(segment_len), src_ip }
}
