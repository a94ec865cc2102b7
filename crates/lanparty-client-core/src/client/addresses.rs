//! A client's addresses: asked for, set, watched, and removed at the end. Those of DHCP are its host's.

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lanparty_core::AddressNews;
use lanparty_proto::{AssignedAddresses, Control, MacAddr, is_private_network};
use tracing::{info, warn};

use super::Client;
use super::status::AddressOrigin;
use crate::addressing::{AutoWish, Held, Origin, RETRY_INTERVAL, State};
use crate::host::{Detection, Host};

impl<H: Host> Client<H> {
    /// In the room, for the first time or `again`, perhaps at a relay that knows nothing of before.
    pub(super) async fn settle_addresses(&mut self, again: bool) {
        if !again {
            for net in self.addressing.plan.fixed.clone() {
                self.begin(net, Origin::Static).await;
            }
        }
        // What was asked on a connection that ended has no answer.
        let unanswered = self.addressing.held.iter().filter(|held| held.state == State::Asking).map(|held| held.net.addr());
        for address in unanswered.collect::<Vec<_>>() {
            self.ask_room(address);
        }
        match self.session.take_assigned() {
            Some(assigned) => self.use_assigned(assigned).await,
            None if self.addressing.plan.auto == AutoWish::Yes => {
                self.no_address("the relay assigns no addresses; it is older than this client".to_owned());
            }
            None => {}
        }
    }

    /// The relay assigned addresses: at the join, or others instead of ones that were taken.
    pub(super) async fn use_assigned(&mut self, assigned: AssignedAddresses) {
        self.addressing.because = None;
        let ipv4 = match (assigned.ipv4, assigned.because) {
            (Some(net), _) => self.judge(net).inspect_err(|why| self.no_address(why.clone())).ok(),
            (None, because) => {
                self.no_address(because.unwrap_or_else(|| "the relay gives no reason".to_owned()));
                None
            }
        };
        self.replace(true, ipv4.map(IpNet::V4)).await;
        let ipv6 = assigned.ipv6.filter(is_unique_local).or(self.assigned_ipv6());
        self.replace(false, ipv6.map(IpNet::V6)).await;
        self.addressing.had = ipv4;
        self.ask_relay();
    }

    /// What the next join asks of the relay.
    pub(super) fn ask_relay(&mut self) {
        let request = self.addressing.plan.request(self.addressing.had, &self.host.other_networks());
        self.session.ask_addresses(request);
    }

    /// What the room said of an address.
    pub(super) async fn address_news(&mut self, news: AddressNews) {
        match news {
            AddressNews::Free { address } => self.set(address.into()).await,
            AddressNews::Taken { address, by } => self.taken(address.into(), Some(by)).await,
            AddressNews::Conflict { address, by } => {
                warn!("address-conflict: the machine with MAC {by} uses {address} as well; it belongs to this one, which keeps it");
            }
        }
    }

    /// Looks what the system found out, and whether it is time to try again.
    pub(super) async fn look_at_addresses(&mut self) {
        let now = Instant::now();
        for held in self.addressing.held.clone() {
            let address = held.net.addr();
            match held.state {
                State::Tentative => match self.host.detection(address) {
                    Some(Detection::Usable) => self.is_set(address),
                    Some(Detection::Duplicate) => {
                        self.remove(held.net).await;
                        self.taken(address, None).await;
                    }
                    Some(Detection::Running) | None => {}
                },
                State::Taken { again: Some(again), .. } if again <= now && self.session.roster().is_some() => {
                    self.addressing.held.retain(|other| other.net != held.net);
                    self.begin(held.net, held.origin).await;
                }
                _ => {}
            }
        }
    }

    /// Removes what it has set.
    pub(super) async fn remove_addresses(&mut self) {
        for held in std::mem::take(&mut self.addressing.held) {
            if matches!(held.state, State::Set | State::Tentative) {
                self.remove(held.net).await;
            }
        }
    }

    /// Every address of the TAP and every one that it should have, with where it came from, for `lanparty status`.
    pub(super) fn address_origins(&self) -> Vec<AddressOrigin> {
        let set_here = self.addressing.set_here();
        let origin = if self.addressing.plan.dhcp { "dhcp" } else { "other" };
        let others = self.known.addresses.iter().filter(|address| !set_here.contains(address));
        let others = others.map(|address| AddressOrigin { address: address.to_string(), origin, state: State::Set });
        let held = self.addressing.held.iter();
        held.map(|held| AddressOrigin { address: held.net.to_string(), origin: held.origin.as_str(), state: held.state.clone() })
            .chain(others)
            .collect()
    }

    /// IPv4: asks the room whether anybody has it. IPv6: the system asks itself.
    async fn begin(&mut self, net: IpNet, origin: Origin) {
        self.addressing.held.push(Held { net, origin, state: State::Asking });
        match net {
            IpNet::V4(_) => self.ask_room(net.addr()),
            IpNet::V6(_) => self.set(net.addr()).await,
        }
    }

    fn ask_room(&mut self, address: IpAddr) {
        if let IpAddr::V4(address) = address {
            self.session.driver.probe_address(address);
        }
    }

    async fn set(&mut self, address: IpAddr) {
        let Some(net) = self.addressing.get_mut(address).filter(|held| held.state == State::Asking).map(|held| held.net) else { return };
        let because = match self.host.add_address(net).await {
            Ok(()) if address.is_ipv4() => return self.is_set(address),
            Ok(()) => return self.mark(address, State::Tentative),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => "it is there already, so it is somebody else's to remove".to_owned(),
            Err(e) => e.to_string(),
        };
        warn!("cannot set the address {net} on {}: {because}", self.host.interface());
        self.forget(address);
        self.mark(address, State::Refused { because });
    }

    fn is_set(&mut self, address: IpAddr) {
        self.mark(address, State::Set);
        if let Some(Held { net, origin, .. }) = self.addressing.get_mut(address) {
            info!("address {net} ({}) is set on {}", origin.as_str(), self.host.interface());
        }
    }

    /// Another machine has it. The relay is asked for another one; what the user has chosen is tried again.
    async fn taken(&mut self, address: IpAddr, by: Option<MacAddr>) {
        let Some(Held { net, origin, .. }) = self.addressing.get_mut(address).cloned() else { return };
        let who = by.map_or_else(|| "another machine in the room".to_owned(), |mac| format!("the machine with MAC {mac}"));
        let (again, next) = match (origin, address) {
            (Origin::Static, _) => (Some(Instant::now() + RETRY_INTERVAL), "it is tried again every minute"),
            (Origin::Auto, IpAddr::V4(_)) => (None, "the relay is asked for another one"),
            (Origin::Auto, IpAddr::V6(_)) => (None, "this machine has none of the room's IPv6 addresses"),
        };
        warn!("address-conflict: {who} has {net} ({}), which is not set here; {next}", origin.as_str());
        self.mark(address, State::Taken { by, again });
        if let (Origin::Auto, IpAddr::V4(address), Some(by)) = (origin, address, by) {
            self.session.driver.tell(&Control::AddressTaken { address, by }).await;
        }
    }

    /// The assigned address of a family is this one from now on.
    async fn replace(&mut self, is_ipv4: bool, net: Option<IpNet>) {
        let before = self.addressing.assigned(is_ipv4);
        if before == net {
            return;
        }
        if let Some(before) = before {
            let held = self.addressing.get_mut(before.addr()).map(|held| held.state.clone());
            if matches!(held, Some(State::Set | State::Tentative)) {
                info!("address {before} (auto) is this machine's no longer");
                self.remove(before).await;
            }
            self.forget(before.addr());
            self.addressing.held.retain(|held| held.net != before);
        }
        if let Some(net) = net {
            self.begin(net, Origin::Auto).await;
        }
    }

    /// Whether an address of the relay's may be set: it is trusted with who has which, not with where this machine's packets go.
    fn judge(&self, net: Ipv4Net) -> Result<Ipv4Net, String> {
        if !is_private_network(net) || net.addr() == net.network() || net.addr() == net.broadcast() {
            return Err(format!("the relay assigned {net}, which is no machine's in a private network (RFC 1918)"));
        }
        let meets = |own: &Ipv4Net| own.contains(&net.network()) || net.contains(&own.network());
        match self.host.other_networks().into_iter().find(|(_, own)| meets(own)) {
            Some((interface, own)) => Err(format!(
                "the room's network {} meets {own}, in which this machine is by {interface}; use --address static:…, or leave that network",
                net.trunc()
            )),
            None => Ok(net),
        }
    }

    fn no_address(&mut self, because: String) {
        warn!("no-address: {because}");
        self.addressing.because = Some(because);
    }

    fn assigned_ipv6(&self) -> Option<Ipv6Net> {
        match self.addressing.assigned(false) {
            Some(IpNet::V6(net)) => Some(net),
            _ => None,
        }
    }

    fn mark(&mut self, address: IpAddr, state: State) {
        if let Some(held) = self.addressing.get_mut(address) {
            held.state = state;
        }
    }

    fn forget(&mut self, address: IpAddr) {
        if let IpAddr::V4(address) = address {
            self.session.driver.forget_address(address);
        }
    }

    async fn remove(&mut self, net: IpNet) {
        if let Err(e) = self.host.remove_address(net).await {
            warn!("cannot remove the address {net} from {}: {e}", self.host.interface());
        }
    }
}

/// RFC 4193 §3.1.
fn is_unique_local(net: &Ipv6Net) -> bool {
    net.addr().octets()[0] == 0xfd && net.prefix_len() == 64
}
