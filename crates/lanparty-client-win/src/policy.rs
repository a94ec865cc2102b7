//! What happens to this machine, and in which order: the TAP is prepared before the relay is asked, the relay's route is pinned before
//! the TAP's cable is plugged in, and looked at again afterwards. Every change is in the [`Journal`] before it is made.
//!
//! Nothing here waits and nothing here knows Windows: both are behind [`TapIo`] and [`NetCfg`].

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use lanparty_node::{ExitCode, Fault};
use lanparty_proto::{LanMtu, MacAddr};
use tracing::{error, info, warn};

use crate::adapter::{TapAdapter, Wanted, choose};
use crate::journal::{Change, Journal};
use crate::net_cfg::{Hop, IpSettings, NetCfg};
use crate::tap_io::{OpenFault, TapIo};

mod routes;

/// Lower than what Windows gives any card by itself, so that limited broadcasts leave by the TAP.
const METRIC_FOR_GAMES: u32 = 1;
/// Higher than what Windows gives any card by itself: without game mode, the TAP is the last choice.
const METRIC_BEHIND: u32 = 500;

/// What the player has asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wishes {
    /// Whether games are helped to find the LAN.
    pub game_mode: bool,
}

/// The policy over one TAP and one machine.
pub struct Policy<T, N> {
    pub(crate) tap: T,
    net: N,
    journal: Journal,
    adapter: TapAdapter,
    mac: MacAddr,
    wishes: Wishes,
    luid: u64,
    pin: Option<Pin>,
    is_plugged: bool,
}

/// The relay's route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pin {
    remote: IpAddr,
    hop: Hop,
    /// Whether it is ours to remove.
    is_ours: bool,
}

/// Takes back what an earlier run has left, as nobody else will. What cannot be taken back stays noted, for the next start.
pub fn recover(journal: &Journal, net: &mut impl NetCfg) -> usize {
    let left = journal.changes().len();
    if left > 0 {
        warn!("the last run did not end by itself: taking back {left} changes it made to this machine");
        say_kept(&journal.undo_all(net));
    }
    left
}

fn say_kept(kept: &[(Change, io::Error)]) {
    for (change, error) in kept {
        error!("could not take back {change:?}: {error}; the next start tries again, and --undo does");
    }
}

/// The adapter that is meant.
///
/// # Errors
/// When there is none, or more than one and nobody said which.
pub fn find(net: &impl NetCfg, wanted: Option<&Wanted>) -> Result<TapAdapter, Fault> {
    let adapters = net.tap_adapters().map_err(|e| unexpected(&format!("cannot list the TAP adapters: {e}")))?;
    choose(adapters, wanted)
}

fn unexpected(cause: &str) -> Fault {
    Fault::new(ExitCode::Unexpected, cause, "")
}

/// A MAC address as drivers of Windows take it.
fn registry_form(mac: MacAddr) -> String {
    mac.0.iter().map(|byte| format!("{byte:02X}")).collect()
}

impl<T: TapIo, N: NetCfg> Policy<T, N> {
    /// Over the adapter `tap` opens, which is `adapter` to `net`.
    pub const fn new(tap: T, net: N, journal: Journal, adapter: TapAdapter, mac: MacAddr, wishes: Wishes) -> Self {
        Self { tap, net, journal, adapter, mac, wishes, luid: 0, pin: None, is_plugged: false }
    }

    /// The adapter as the user sees it in Windows.
    pub fn adapter(&self) -> &TapAdapter {
        &self.adapter
    }

    /// Step 1, before the relay is asked: the adapter has the identity's MAC address, is open, and its cable is unplugged.
    ///
    /// # Errors
    /// A [`Fault`] with the next step. What was changed until then is taken back by [`Self::leave`].
    pub fn prepare(&mut self) -> Result<(), Fault> {
        self.write_mac().map_err(|e| self.denied("write the MAC address of", &e))?;
        self.open()?;
        if self.tap.mac().ok() != Some(self.mac) {
            self.restart()?;
        }
        self.luid = self.net.luid(&self.adapter.instance_id).map_err(|e| self.denied("find", &e))?;
        self.tap.set_media(false).map_err(|e| self.denied("unplug", &e))?;
        let (name, mac) = (&self.adapter.name, self.mac);
        info!("prepared TAP adapter {name}: MAC {mac} configured and media disconnected before relay connect");
        Ok(())
    }

    fn write_mac(&mut self) -> io::Result<()> {
        let (key, after) = (self.adapter.class_key.clone(), registry_form(self.mac));
        let before = self.net.network_address(&key)?;
        if before.as_deref().is_some_and(|before| before.eq_ignore_ascii_case(&after)) {
            return Ok(());
        }
        let change = Change::NetworkAddress { class_key: key.clone(), before, after: after.clone() };
        self.journal.change(&change, &mut self.net, |net| net.set_network_address(&key, Some(&after)))
    }

    /// Lets the driver read the address anew. Where that does not work, the address decides later, and says what to do.
    fn restart(&mut self) -> Result<(), Fault> {
        self.tap.close();
        match self.net.restart_adapter(&self.adapter.class_key) {
            Ok(()) => info!("restarted {} so that its driver takes the MAC address {}", self.adapter.name, self.mac),
            Err(e) => warn!("{} could not be restarted for its new MAC address: {e}", self.adapter.name),
        }
        self.open()
    }

    fn open(&mut self) -> Result<(), Fault> {
        let name = &self.adapter.name;
        self.tap.open().map_err(|e| {
            let advice = match &e {
                OpenFault::NotThere => "enable the adapter in Windows' network connections, or install TAP-Windows6 again",
                OpenFault::InUse => "close the other program (OpenVPN, or a lanparty that still runs), or choose with --tap-instance-id",
                OpenFault::NotPermitted => "start this program in an Administrator terminal",
                OpenFault::Os(_) => "disable and enable the adapter in Windows' network connections",
            };
            Fault::new(ExitCode::Permission, format!("cannot open the TAP adapter {name}: {e}"), advice)
        })
    }

    fn denied(&self, what: &str, e: &io::Error) -> Fault {
        let advice = if e.kind() == io::ErrorKind::PermissionDenied { "start this program in an Administrator terminal" } else { "" };
        Fault::new(ExitCode::Permission, format!("cannot {what} the TAP adapter {}: {e}", self.adapter.name), advice)
    }

    /// Steps 3 and 4, once the room is joined: the relay's route is pinned, then the cable plugged in, then the route looked at again.
    ///
    /// # Errors
    /// A [`Fault`] with the next step. What was changed until then is taken back by [`Self::leave`].
    pub fn plug_in(&mut self, relay: Option<IpAddr>, lan_mtu: LanMtu) -> Result<(), Fault> {
        if let Some(relay) = relay.filter(|ip| !ip.is_loopback()) {
            self.pin(relay)?;
        }
        self.check_mac()?;
        self.set_ip(Some(lan_mtu))?;
        self.tap.set_media(true).map_err(|e| self.denied("plug in", &e))?;
        self.is_plugged = true;
        let driver_mtu = self.tap.mtu().map_err(|e| self.denied("ask", &e))?;
        info!(lan_mtu = %lan_mtu, "TAP driver reports MAC {} and MTU {driver_mtu}", self.mac);
        self.verify("after TAP activation")
    }

    fn check_mac(&self) -> Result<(), Fault> {
        let reported = self.tap.mac().map_err(|e| self.denied("ask", &e))?;
        if reported == self.mac {
            return Ok(());
        }
        let cause = format!("the TAP adapter {} reports MAC {reported}, and this identity has {}", self.adapter.name, self.mac);
        let advice = "disable and enable the adapter in Windows' network connections, or reinstall TAP-Windows6, so that Windows reloads \
                      its NetworkAddress; then start again";
        Err(Fault::new(ExitCode::Unexpected, cause, advice))
    }

    /// Pins the relay's route to the present way out.
    fn pin(&mut self, remote: IpAddr) -> Result<(), Fault> {
        let unpinned = |e: &io::Error| {
            let cause = format!("the route to the relay {remote} cannot be pinned: {e}");
            Fault::new(ExitCode::Permission, cause, "start this program in an Administrator terminal; then check this machine's internet")
        };
        let hop = self.net.way_out(remote, self.luid).map_err(|e| unpinned(&e))?;
        let is_ours = if self.is_there(remote, hop) { false } else { self.add(remote, hop).map_err(|e| unpinned(&e))? };
        self.pin = Some(Pin { remote, hop, is_ours });
        let outcome = if is_ours { "created" } else { "already existed" };
        info!("relay route pinned before TAP activation: {remote} via {} ({outcome})", hop.next_hop);
        Ok(())
    }

    fn is_there(&self, remote: IpAddr, hop: Hop) -> bool {
        let routes = self.net.routes(remote.is_ipv6()).unwrap_or_default();
        routes.iter().any(|route| route.is_for_alone(remote) && route.hop == hop)
    }

    fn add(&mut self, remote: IpAddr, hop: Hop) -> io::Result<bool> {
        let change = Change::Route { remote, hop };
        let is_new = self.journal.change(&change, &mut self.net, |net| net.add_host_route(remote, hop))?;
        if !is_new {
            // Somebody else's, and theirs to remove.
            self.journal.strike(&change)?;
        }
        Ok(is_new)
    }

    /// MTU, metric and default routes of the TAP, in both address families where they are bound.
    fn set_ip(&mut self, lan_mtu: Option<LanMtu>) -> Result<(), Fault> {
        for is_ipv6 in [false, true] {
            match self.set_family(is_ipv6, lan_mtu) {
                Ok(()) => {}
                // Below 1,280 there is no IPv6 (RFC 8200 §5); games of LAN parties speak IPv4.
                Err(e) if is_ipv6 => warn!("the TAP's IPv6 stays as it is: {e}"),
                Err(e) => return Err(self.denied("set MTU and metric of", &e)),
            }
        }
        Ok(())
    }

    fn set_family(&mut self, is_ipv6: bool, lan_mtu: Option<LanMtu>) -> io::Result<()> {
        let adapter = self.adapter.instance_id.clone();
        let Some(before) = self.net.ip_settings(&adapter, is_ipv6)? else { return Ok(()) };
        let metric = if self.wishes.game_mode { METRIC_FOR_GAMES } else { METRIC_BEHIND };
        let mtu = lan_mtu.map_or(before.mtu, |mtu| u32::from(mtu.bytes()));
        let wanted = IpSettings { mtu, automatic_metric: false, metric, ignores_default_routes: true };
        if wanted == before {
            return Ok(());
        }
        let is_noted = self.journal.changes().iter().any(|change| {
            matches!(change, Change::IpSettings { adapter: noted, is_ipv6: family, .. } if *noted == adapter && *family == is_ipv6)
        });
        if is_noted {
            return self.net.set_ip_settings(&adapter, is_ipv6, wanted);
        }
        let change = Change::IpSettings { adapter: adapter.clone(), is_ipv6, before };
        self.journal.change(&change, &mut self.net, |net| net.set_ip_settings(&adapter, is_ipv6, wanted))
    }

    /// Sets the IP MTU anew, when the room has another one.
    ///
    /// # Errors
    /// What Windows said.
    pub fn set_mtu(&mut self, lan_mtu: LanMtu) -> io::Result<()> {
        // Before the cable is plugged in, `plug_in` sets it with everything else.
        if self.is_plugged {
            self.set_family(false, Some(lan_mtu)).and_then(|()| self.set_family(true, Some(lan_mtu)).or(Ok(())))
        } else {
            Ok(())
        }
    }

    /// The relay must not be reached through the tunnel itself.
    fn verify(&self, when: &str) -> Result<(), Fault> {
        let Some(Pin { remote, hop, .. }) = self.pin else { return Ok(()) };
        match self.net.route_to(remote) {
            Ok(now) if now.luid == self.luid => {
                let cause = format!("the relay route changed: Windows would reach the relay {remote} through the tunnel itself");
                let advice = "remove routes for the relay that lead to the TAP adapter (route print shows them), then start again";
                Err(Fault::new(ExitCode::Unexpected, cause, advice))
            }
            Ok(_) => {
                info!("relay route verified {when}: {remote} via {}", hop.next_hop);
                Ok(())
            }
            Err(e) => Err(unexpected(&format!("the relay route changed: {e}"))),
        }
    }

    /// Joined again: the relay may have another address.
    ///
    /// # Errors
    /// A [`Fault`] with the next step.
    pub fn joined_again(&mut self, relay: Option<IpAddr>) -> Result<(), Fault> {
        let Some(relay) = relay.filter(|ip| !ip.is_loopback() && Some(*ip) != self.pin.map(|pin| pin.remote)) else { return self.watch() };
        self.unpin();
        self.pin(relay)?;
        self.verify("after joining again")
    }

    /// Keeps the relay's route on the way out as that changes.
    ///
    /// # Errors
    /// When the relay would be reached through the tunnel.
    pub fn watch(&mut self) -> Result<(), Fault> {
        let Some(pin) = self.pin else { return Ok(()) };
        // Without a way out there is nothing to pin to: the next look may find one.
        let Ok(hop) = self.net.way_out(pin.remote, self.luid) else { return Ok(()) };
        if hop == pin.hop && self.is_pinned() {
            return Ok(());
        }
        info!("the way to the relay is by another router or card now; pinning its route anew");
        self.unpin();
        match self.pin(pin.remote).and_then(|()| self.verify("after the way out changed")) {
            // A pin that fails is tried again: without it, the sockets still stay on their card.
            Err(fault) if fault.code == ExitCode::Permission => {
                warn!("{fault}");
                self.pin = Some(Pin { is_ours: false, ..pin });
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn unpin(&mut self) {
        let Some(Pin { remote, hop, is_ours: true }) = self.pin.take() else { return };
        if let Err(error) = self.journal.undo(&Change::Route { remote, hop }, &mut self.net) {
            warn!("the relay's old route stays for now: {error}");
        }
    }

    /// Whether the relay's route is where it was pinned.
    fn is_pinned(&self) -> bool {
        let Some(Pin { remote, hop, .. }) = self.pin else { return false };
        self.is_there(remote, hop) && self.net.route_to(remote).is_ok_and(|now| now.luid != self.luid)
    }

    /// Whether a route keeps the way to the relay out of the tunnel.
    pub fn route_pinned(&self) -> bool {
        self.is_pinned()
    }

    /// The TAP's IPv4 addresses: real ones before one that Windows gave itself (RFC 3927).
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        let mut addresses = self.net.addresses(&self.adapter.instance_id).unwrap_or_default();
        addresses.sort_by_key(Ipv4Addr::is_link_local);
        addresses
    }

    /// The adapter was restarted, or the machine slept: opens it anew, as it was.
    ///
    /// # Errors
    /// A [`Fault`] while it cannot be opened; asking again later may help.
    pub fn reopen(&mut self, lan_mtu: LanMtu) -> Result<(), Fault> {
        self.tap.close();
        self.open()?;
        self.luid = self.net.luid(&self.adapter.instance_id).map_err(|e| self.denied("find", &e))?;
        self.check_mac()?;
        if !self.is_plugged {
            return self.tap.set_media(false).map_err(|e| self.denied("unplug", &e));
        }
        self.set_ip(Some(lan_mtu))?;
        self.tap.set_media(true).map_err(|e| self.denied("plug in", &e))?;
        self.restore_routes();
        info!("opened the TAP adapter {} anew", self.adapter.name);
        self.verify("after the TAP was opened anew")
    }

    /// Takes back everything: first the cable, so that nothing uses the TAP meanwhile. Whether all of it could be.
    pub fn leave(&mut self) -> bool {
        // A driver that is gone has no cable.
        let _ = self.tap.set_media(false);
        self.is_plugged = false;
        let (pinned, changes) = (self.pin.take(), self.journal.changes().len());
        let kept = self.journal.undo_all(&mut self.net);
        say_kept(&kept);
        self.tap.close();
        let is_kept = kept.iter().any(|(change, _)| matches!(change, Change::Route { .. }));
        match pinned.filter(|_| !is_kept) {
            Some(Pin { remote, is_ours: true, .. }) => info!("removed the relay route to {remote}, which was made for this"),
            Some(Pin { remote, .. }) => info!("left the relay route to {remote}, which was there before"),
            None => {}
        }
        if changes > 0 && kept.is_empty() {
            info!("media disconnected, and everything on this machine is as it was before");
        }
        kept.is_empty()
    }
}

#[cfg(test)]
mod tests;
