//! A member without a device and without scruples: it joins as every client does, and then sends what it likes.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use lanparty_node::{Dialer, Identity, JoinRequest, Joined, RelayTrust, Sizing};
use lanparty_proto::{DATAGRAM_HEADER_LEN, DatagramBudget, DatagramHeader, MacAddr, MemberId, Role};

use crate::programs::{RELAY, ROOM};

/// A member that no client of ours watches over.
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) mac: MacAddr,
    pub(crate) joined: Joined,
    _dialer: Dialer,
}

impl Member {
    /// Joins as a client with an identity of its own. `budget` caps what it says its path takes.
    pub(crate) async fn join(identity: &Path, certificate: &Path, budget: Option<u16>) -> Self {
        let (identity, _) = Identity::load_or_create(identity.to_owned(), false).unwrap();
        let identity = std::sync::Arc::new(identity);
        let trust = RelayTrust::load(Some(certificate)).unwrap();
        let mut dialer = Dialer::new(RELAY.parse().unwrap(), Some("lanparty-relay.local".into()), trust)
            .sized(Sizing { budget_max: budget.map(DatagramBudget), ..Sizing::default() });
        let request = JoinRequest {
            role: Role::Client,
            room: ROOM.parse().unwrap(),
            mac: identity.mac(),
            software: "nobody you know".into(),
            lan_up: true,
            resume: None,
            addresses: None,
        };
        let joined = dialer.join(&identity, &request).await.unwrap();
        Self { id: joined.welcome.member, mac: identity.mac(), joined, _dialer: dialer }
    }

    /// The longest frame that its path takes, whatever it said.
    pub(crate) fn frame_len_max(&self) -> usize {
        usize::from(self.joined.link.found_budget().0) - DATAGRAM_HEADER_LEN
    }

    /// The datagram that carries `frame` in the name of `source`.
    pub(crate) fn datagram(source: MemberId, frame: &[u8]) -> Bytes {
        [&DatagramHeader { source }.encode()[..], frame].concat().into()
    }

    /// Sends datagrams at `rate` a second.
    pub(crate) async fn send(&self, datagrams: impl IntoIterator<Item = Bytes>, rate: u32) {
        const SLICE: Duration = Duration::from_millis(5);
        let per_slice = (f64::from(rate) * SLICE.as_secs_f64()).ceil() as usize;
        let mut slices = tokio::time::interval(SLICE);
        let mut datagrams = datagrams.into_iter();
        loop {
            slices.tick().await;
            let mut queue: VecDeque<Bytes> = datagrams.by_ref().take(per_slice).collect();
            if queue.is_empty() {
                return;
            }
            while !queue.is_empty() {
                let sent = self.joined.link.send_some(&mut queue).await.unwrap();
                assert_eq!(sent.refused.len(), 0, "the path takes every datagram of the attack");
            }
        }
    }
}
