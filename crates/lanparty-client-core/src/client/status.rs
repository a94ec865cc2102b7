//! What a client says of itself to who asks (docs/management.md).

use std::net::Ipv4Addr;

use lanparty_node::{Api, Ask, MemberStatus, Request, Topic, member_api};
use schemars::JsonSchema;
use serde::Serialize;

use super::Client;
use crate::addressing::State;
use crate::host::Host;
use crate::routing::Route;

/// How a client is.
#[derive(Debug, Serialize, JsonSchema)]
struct ClientStatus {
    /// The program.
    program: &'static str,
    /// Its version.
    version: &'static str,
    #[serde(flatten)]
    member: MemberStatus,
    /// Whether a gateway is in the room.
    gateway_connected: bool,
    /// Whether the LAN behind it has a carrier.
    lan_up: bool,
    #[serde(flatten)]
    addresses: Addresses,
    /// The name by which the room finds this machine, where that is told (`--mdns`).
    mdns_name: Option<String>,
    /// Networks that are reached through members.
    routes: Vec<Route>,
}

/// The addresses of a client's interface.
#[derive(Debug, Serialize, JsonSchema)]
struct Addresses {
    /// IPv4 addresses that the system has there now.
    addresses: Vec<Ipv4Addr>,
    /// Every address that it has or should have.
    address_origins: Vec<AddressOrigin>,
    /// Why the relay has assigned none.
    no_address_because: Option<String>,
}

/// An address, and where it came from.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AddressOrigin {
    /// The address, with its prefix where that is known.
    pub(super) address: String,
    /// `auto`, `static`, `dhcp`, or `other`.
    pub(super) origin: &'static str,
    #[serde(flatten)]
    pub(super) state: State,
}

/// What a client answers.
pub(super) fn api(program: &'static str) -> Api {
    member_api::<ClientStatus>(program)
        .offering::<Addresses>(Topic::Addresses)
        .offering::<Vec<Route>>(Topic::Routes)
        .offering::<Route>(Topic::AddRoute)
        .offering::<Route>(Topic::RemoveRoute)
}

impl<H: Host> Client<H> {
    pub(super) async fn answer(&mut self, request: Request) {
        match request.ask() {
            Ask::Status => request.send(self.status()),
            Ask::Addresses => request.send(self.addresses()),
            Ask::Routes => request.send(self.routing.routes.clone()),
            Ask::AddRoute(ask) => {
                let ask = ask.clone();
                self.add_route(request, &ask).await;
            }
            Ask::RemoveRoute(ask) => {
                let ask = ask.clone();
                self.remove_route(request, &ask).await;
            }
            Ask::ExamineRoom => {
                let room = self.member.room.to_string();
                let has_lease = self.facts().address().is_some_and(|address| !address.is_link_local());
                self.session.driver.examine_room(room, Some(has_lease), request.answers()).await;
            }
            Ask::Ping(ask) => self.session.driver.ping(ask, request.answers()),
            Ask::TestBond(ask) => self.session.test_bond(ask, request.answers()),
            Ask::AddUplink(_) | Ask::RemoveUplink(_) => {
                let changed =
                    request.uplink_change().and_then(|change| self.session.change_uplink(&change, self.host.interface()).map(|()| change));
                request.say_changed(changed, self.events.events());
            }
            Ask::Metrics => {
                let numbers = self.member_status().numbers(self.host.software());
                request.send_text(|| numbers.into_text());
            }
            _ => self.member_status().answer(request),
        }
    }

    fn status(&mut self) -> ClientStatus {
        let facts = self.facts();
        ClientStatus {
            program: self.host.software(),
            version: env!("CARGO_PKG_VERSION"),
            gateway_connected: facts.gateway_connected,
            lan_up: facts.lan_up,
            addresses: self.addresses(),
            mdns_name: self.known.mdns_name.clone(),
            routes: self.routing.routes.clone(),
            member: self.member_status(),
        }
    }

    /// Its LAN MTU is what the TAP was set to.
    fn member_status(&mut self) -> MemberStatus {
        MemberStatus { lan_mtu: self.lan_mtu, ..self.session.member_status(&self.member, self.host.interface(), self.mac) }
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            addresses: self.facts().addresses,
            address_origins: self.address_origins(),
            no_address_because: self.addressing.because.clone(),
        }
    }
}
