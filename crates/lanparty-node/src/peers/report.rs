//! How every other member is reached, and why not directly, in words.

use lanparty_core::Roster;
use lanparty_proto::MemberId;
use serde::Serialize;

use super::Peers;
use crate::bond::PathReport;

/// A direct link in `lanparty status`.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct PeerReport {
    /// To this member.
    pub id: MemberId,
    /// `direct`, or `relay` with a reason.
    pub way: &'static str,
    /// Where it is, when it is reached.
    pub address: Option<String>,
    /// Round-trip time of the direct link.
    pub rtt_ms: Option<f64>,
    /// Packets sent and lost there.
    pub packets: Option<(u64, u64)>,
    /// How long it is there.
    pub seconds: Option<u64>,
    /// Its paths, when it has several or may have.
    pub paths: Vec<PathReport>,
    /// Why frames go by the relay, in words.
    pub because: Option<String>,
}

impl Peers {
    /// For `lanparty status`: everybody in the room.
    pub(crate) fn report(&self, roster: &Roster) -> Vec<PeerReport> {
        roster.members().map(|member| self.report_one(member.id, roster)).collect()
    }

    /// The names of the paths by which a member is reached directly, when that is by several.
    pub(crate) fn path_names(&self, member: MemberId) -> Vec<String> {
        let bond = self.live.get(&member).filter(|peer| peer.carries).and_then(|peer| peer.link.bond());
        let paths = bond.map(|bond| bond.report().paths).unwrap_or_default();
        paths.into_iter().filter(|path| path.is_alive).map(|path| path.name).collect()
    }

    fn report_one(&self, id: MemberId, roster: &Roster) -> PeerReport {
        let peer = self.live.get(&id);
        let because = match (peer, self.known.get(&id)) {
            (Some(peer), _) if peer.carries => None,
            (Some(peer), _) if peer.link.budget().lan_mtu().is_none_or(|mtu| mtu < roster.lan_mtu()) => {
                Some("the direct path is too small for this room".to_owned())
            }
            (Some(peer), _) if peer.short_since.is_some() => Some("the way by the relay has more lines than the direct one".to_owned()),
            (Some(_), _) => Some("the direct path does not answer at the moment".to_owned()),
            (None, Some(known)) if known.dialling.is_some() => Some("it is being tried".to_owned()),
            (None, Some(_)) => {
                Some("it was not reached at any of its addresses: a router or firewall on one side lets nothing in".to_owned())
            }
            (None, None) if self.own.is_none() => Some("direct links are switched off here".to_owned()),
            (None, None) => Some("it has named no addresses: no UDP there, or switched off".to_owned()),
        };
        PeerReport {
            id,
            way: if because.is_none() { "direct" } else { "relay" },
            address: peer.and_then(|p| p.link.remote_address()).map(|a| a.to_string()),
            rtt_ms: peer.and_then(|p| p.link.rtt()).map(|rtt| rtt.as_secs_f64() * 1e3),
            packets: peer.map(|p| p.link.packets()),
            seconds: peer.map(|p| p.since.elapsed().as_secs()),
            paths: peer.and_then(|p| p.link.bond()).map(|bond| bond.report().paths).unwrap_or_default(),
            because,
        }
    }
}
