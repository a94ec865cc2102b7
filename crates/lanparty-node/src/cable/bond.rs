//! A cable over several uplinks of the end that dials. The end that waits takes further connections of the same key and run into the link
//! that was plugged in; nothing else about the cable is different.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lanparty_proto::{BondPath, CableAttach, Control, PROTOCOL_VERSION, Refusal};
use tracing::{debug, info};

use super::endpoint::CableEndpoint;
use super::hello::{self, Contacted, Intro, NotContacted};
use crate::bond::Captures;
use crate::bond::place_toward;
use crate::membership::bond::{Routes, Uplink};
use crate::{
    BOND_PATHS_MAX, BondLink, BondPathUp, BondPlan, CableAddress, ControlReader, ControlWriter, ExitCode, Fault, JoinError, Link,
    Redundancy, UplinkPlan, UseBook,
};

/// How the other end is reached by one of the uplinks.
#[derive(Clone)]
pub(crate) struct CableDial {
    pub(super) endpoint: CableEndpoint,
    pub(super) to: CableAddress,
    pub(crate) run: u64,
    pub(crate) book: Option<Arc<UseBook>>,
}

impl CableDial {
    /// A connection by this uplink, on which nothing was said yet.
    pub(crate) async fn by(&self, uplink: &Uplink) -> Result<(Link, SocketAddr), JoinError> {
        let name = &uplink.interface;
        let remotes = self.to.resolve().await.map_err(JoinError::Unreachable)?;
        let mut last = Fault::new(ExitCode::Unexpected, format!("{name} has no way to the other end"), "check ip -brief address; ip route");
        for remote in remotes.into_iter().filter(|remote| place_toward(*remote, name).is_some()) {
            match hello::shake_hands_by(&self.endpoint, remote, name, uplink.plan.congestion).await {
                Ok(link) => return Ok((link, remote)),
                Err(fault) => last = fault,
            }
        }
        Err(JoinError::Unreachable(last))
    }
}

/// The uplinks of a plan as they are now.
pub(super) async fn uplinks(plan: &BondPlan, own: &str) -> Vec<Uplink> {
    let plans = if plan.is_automatic {
        let found = routes(plan, own).unwrap_or(Routes { own: None }).interfaces().await.unwrap_or_default();
        found.into_iter().map(UplinkPlan::plain).collect()
    } else {
        plan.uplinks.now()
    };
    (0..).zip(&plans).take(BOND_PATHS_MAX).filter_map(|(number, plan)| Uplink::new(number, plan)).collect()
}

/// Where uplinks are found that are not named; the cable's own interface is none.
pub(super) fn routes(plan: &BondPlan, own: &str) -> Option<Routes> {
    plan.is_automatic.then(|| Routes { own: Some(own.to_owned()) })
}

/// Dials by every uplink at once; the first that reaches the other end says hello.
pub(super) async fn dial(dial: CableDial, plan: BondPlan, intro: Intro, own: String) -> Result<Contacted, NotContacted> {
    let uplinks = uplinks(&plan, &own).await;
    let reach = &dial;
    let mut tries: FuturesUnordered<_> = uplinks.iter().map(|uplink| async move { (reach.by(uplink).await, uplink) }).collect();
    let mut last = Fault::new(ExitCode::Unexpected, "there is no uplink to dial by", "name one with --uplink");
    while let Some((tried, uplink)) = tries.next().await {
        match tried {
            Ok((link, remote)) => {
                let bond = (uplink.path_now(dial.book.as_deref()), uplink.interface.clone());
                return hello::introduce(&dial.endpoint, link, remote, &intro, Some(bond)).await;
            }
            Err(error) => last = error.into_fault(),
        }
    }
    Err(last.into())
}

impl Contacted {
    /// Makes the connection the first path of a bond, when both ends have said so.
    pub(super) fn bonded(mut self, redundancy: Redundancy) -> (Self, Option<BondLink>) {
        let (Some((bond, name)), true) = (self.bond.take(), self.theirs.bond.is_some()) else { return (self, None) };
        let up = BondPathUp { bond, name, link: self.link, control: (self.control_in, self.control_out), heard: 0, pair: None };
        let bond = BondLink::start(up, redundancy, 0, Captures::default());
        (self.control_in, self.control_out) = bond.control();
        self.link = Link::bonded(bond.clone());
        (self, Some(bond))
    }
}

/// A connection that wants to become a path of the cable.
pub(super) struct Attaching {
    pub(super) link: Link,
    pub(super) control: (ControlReader, ControlWriter),
    pub(super) wanted: CableAttach,
    pub(super) remote: SocketAddr,
}

impl Attaching {
    /// `bond` is what is plugged in, and the run of the end that dialled it.
    pub(super) async fn attach(self, bond: Option<(u64, BondLink)>) {
        let Self { link, control: (control_in, mut control_out), wanted, remote } = self;
        let known = bond.filter(|(run, _)| *run == wanted.run && wanted.version == PROTOCOL_VERSION);
        let Some((_, bond)) = known else {
            debug!(%remote, "no path: another run");
            return hello::refuse(control_out, &link, Refusal::NotMoved, "there is no such cable here").await;
        };
        if control_out.send(&Control::Attached { heard: bond.heard() }).await.is_err() {
            return;
        }
        let (path, name) = (wanted.bond, remote.to_string());
        let up = BondPathUp { bond: path, name, link: link.clone(), control: (control_in, control_out), heard: wanted.heard, pair: None };
        match bond.attach(up) {
            Ok(()) => info!(path = path.path, %remote, "the cable has another path"),
            Err(ended) => link.close(&ended.reason),
        }
    }
}

/// What the end that waits calls the first path.
pub(super) fn first_path(theirs: Option<BondPath>, remote: SocketAddr) -> Option<(BondPath, String)> {
    theirs.map(|bond| (bond, remote.to_string()))
}
