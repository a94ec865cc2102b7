//! What a gateway says of itself to who asks (docs/management.md).

use std::time::Instant;

use lanparty_node::{Api, Ask, MemberStatus, Request, member_api};
use lanparty_proto::{MacAddr, MemberId};
use schemars::JsonSchema;
use serde::Serialize;

use super::Gateway;
use crate::dhcp::DhcpReport;

const PROGRAM: &str = "lanparty-gateway";

/// How a gateway is.
#[derive(Debug, Serialize, JsonSchema)]
struct GatewayStatus {
    /// The program.
    program: &'static str,
    /// Its version.
    version: &'static str,
    #[serde(flatten)]
    member: MemberStatus,
    /// How its LAN is, in words.
    lan: &'static str,
    /// Whether that has a carrier.
    lan_up: bool,
    /// How many others stand by behind this one.
    standbys: u16,
    /// Behind which one it stands by itself.
    standby: Option<Standby>,
    /// The room's addresses for machines on the LAN, where it gives them.
    #[serde(skip_serializing_if = "Option::is_none")]
    dhcp: Option<DhcpReport>,
}

/// The gateway in front of one that stands by.
#[derive(Debug, Serialize, JsonSchema)]
struct Standby {
    /// Its number in the room.
    behind: MemberId,
    /// Its MAC address.
    mac: MacAddr,
    /// For how long, in seconds.
    since_s: u64,
}

/// What a gateway answers.
pub(super) fn api() -> Api {
    member_api::<GatewayStatus>(PROGRAM)
}

impl Gateway {
    pub(super) async fn answer(&mut self, request: Request) {
        match request.ask() {
            Ask::Status => request.send(self.status()),
            Ask::ExamineRoom => self.session.driver.examine_room(self.args.member.room.to_string(), None, request.answers()).await,
            Ask::Ping(ask) => self.session.driver.ping(ask, request.answers()),
            Ask::TestBond(ask) => self.session.test_bond(ask, request.answers()),
            Ask::AddUplink(_) | Ask::RemoveUplink(_) => {
                let changed =
                    request.uplink_change().and_then(|change| self.session.change_uplink(&change, &self.args.interface).map(|()| change));
                request.say_changed(changed, self.events.events());
            }
            Ask::Metrics => {
                let mut numbers = self.member_status().numbers(PROGRAM);
                numbers.gauge("lan_up", "Whether the LAN has a carrier", &[], f64::from(u8::from(self.lan.is_up())));
                request.send_text(|| numbers.into_text());
            }
            _ => self.member_status().answer(request),
        }
    }

    fn status(&mut self) -> GatewayStatus {
        let behind = self.standing.behind();
        let standby = behind.map(|behind| Standby { behind: behind.member, mac: behind.mac, since_s: behind.since.elapsed().as_secs() });
        GatewayStatus {
            program: PROGRAM,
            version: env!("CARGO_PKG_VERSION"),
            member: self.member_status(),
            lan: self.lan.in_words(),
            lan_up: self.lan.is_up(),
            standbys: self.standbys,
            standby,
            dhcp: self.dhcp.as_ref().map(|server| server.report(Instant::now())),
        }
    }

    fn member_status(&mut self) -> MemberStatus {
        self.session.member_status(&self.args.member, &self.args.interface, self.mac)
    }
}
