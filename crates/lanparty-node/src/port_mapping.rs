//! A port of this host's router, opened by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP, so that other members come in where they could not
//! otherwise. Kept while the program runs, wherever this host is, and given back at the end; one that a killed program leaves behind ends
//! by itself, where the router knows mappings that end.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::{InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp, pcp};
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info};

use crate::{routes, uplink};

mod upnp;

/// How long a router keeps a mapping that nobody renews, in seconds, and after which part of that it is renewed.
const LIFETIME_S: u32 = 3600;
const RENEW_AFTER: u32 = 2;
/// How often it is looked whether this host is elsewhere.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a router that opened nothing is left alone.
const REST: Duration = Duration::from_secs(600);
/// A router is near: three questions in less than two seconds.
const PATIENCE: TimeoutConfig = TimeoutConfig { initial_timeout: Duration::from_millis(250), max_retries: 2, max_retry_timeout: None };
/// Time to give a mapping back at the end.
const END_TIMEOUT: Duration = Duration::from_millis(800);

/// An opened port, for `lanparty status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct OpenedPort {
    /// Where others come in.
    pub address: SocketAddr,
    /// `PCP`, `NAT-PMP` or `UPnP`.
    pub protocol: &'static str,
}

/// Keeps the router's port open.
pub(crate) struct PortMapping {
    local_port: NonZeroU16,
    opened: watch::Receiver<Option<OpenedPort>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PortMapping {
    /// Opens a port that leads to `local_port` here, on any way but `own_interface`.
    pub(crate) fn start(local_port: NonZeroU16, own_interface: Option<String>) -> Self {
        let ((tell, opened), (stop, stopped)) = (watch::channel(None), oneshot::channel());
        let keeper = Keeper { local_port, own_interface, tell, mapping: None };
        let task = tokio::spawn(keeper.run(stopped));
        Self { local_port, opened, stop, task }
    }

    pub(crate) const fn local_port(&self) -> NonZeroU16 {
        self.local_port
    }

    /// What the router has opened.
    pub(crate) fn opened(&self) -> Option<OpenedPort> {
        *self.opened.borrow()
    }

    /// Gives it back, within a moment.
    pub(crate) async fn end(self) {
        // A task that is gone holds nothing.
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(END_TIMEOUT, self.task).await;
    }
}

/// A router, and this host's address toward it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    router: IpAddr,
    own: IpAddr,
}

struct Keeper {
    local_port: NonZeroU16,
    own_interface: Option<String>,
    tell: watch::Sender<Option<OpenedPort>>,
    mapping: Option<Mapping>,
}

/// One that is open.
enum Mapping {
    /// By PCP or NAT-PMP.
    Crab(crab_nat::PortMapping),
    Upnp(upnp::Mapping),
}

impl Mapping {
    async fn renew(&mut self) -> bool {
        match self {
            Self::Crab(mapping) => mapping.renew().await.is_ok(),
            Self::Upnp(mapping) => mapping.renew().await.is_ok(),
        }
    }

    /// Where it leads in.
    async fn opened(&self) -> Option<OpenedPort> {
        match self {
            Self::Crab(mapping) => opened_by(mapping).await,
            Self::Upnp(mapping) => Some(mapping.opened()),
        }
    }

    fn lifetime_s(&self) -> u32 {
        match self {
            Self::Crab(mapping) => mapping.lifetime(),
            Self::Upnp(mapping) => mapping.lifetime_s(),
        }
    }

    async fn end(self) -> Result<(), String> {
        match self {
            Self::Crab(mapping) => mapping.try_drop().await.map_err(|(failure, _)| failure.to_string()),
            Self::Upnp(mapping) => mapping.end().await.map_err(|failure| failure.to_string()),
        }
    }
}

impl Keeper {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let (mut place, mut due) = (None, tokio::time::Instant::now());
        loop {
            let here = self.here().await;
            if here != place {
                // The router before is out of reach.
                (place, due, self.mapping) = (here, tokio::time::Instant::now(), None);
                self.tell.send_replace(None);
            }
            if let Some(place) = place.filter(|_| tokio::time::Instant::now() >= due) {
                due = tokio::time::Instant::now() + self.keep(place).await;
            }
            tokio::select! {
                // A sender that is gone is one whose owner is gone.
                _ = &mut stopped => break,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
        if let Some(mapping) = self.mapping.take()
            && let Err(failure) = mapping.end().await
        {
            debug!("the router did not take the port back: {failure}");
        }
    }

    /// The router of the preferred way to the internet; nothing when that leads into the tunnel.
    async fn here(&self) -> Option<Place> {
        let routes = routes::defaults().await.ok()?;
        let is_ours = |interface: &String| Some(interface) == self.own_interface.as_ref();
        let router = routes.into_iter().filter(|route| !route.is_ipv6 && !is_ours(&route.interface)).find_map(|route| route.gateway)?;
        let own = uplink::address_toward((router, crab_nat::GATEWAY_PORT).into())?;
        Some(Place { router, own })
    }

    /// Opens the port, or renews it. When to do so again.
    async fn keep(&mut self, place: Place) -> Duration {
        let renewed = match &mut self.mapping {
            Some(mapping) => mapping.renew().await,
            None => false,
        };
        if !renewed {
            self.mapping = open(place, self.local_port).await;
        }
        let opened = match &self.mapping {
            Some(mapping) => mapping.opened().await,
            None => None,
        };
        if *self.tell.borrow() != opened {
            match opened {
                Some(OpenedPort { address, protocol }) => {
                    info!("the router {} lets other members in at {address} ({protocol})", place.router);
                }
                None => debug!("the router {} opens no port by PCP, NAT-PMP or UPnP", place.router),
            }
            self.tell.send_replace(opened);
        }
        self.mapping.as_ref().map_or(REST, |mapping| Duration::from_secs((mapping.lifetime_s() / RENEW_AFTER).max(1).into()))
    }
}

async fn open(place: Place, port: NonZeroU16) -> Option<Mapping> {
    let Place { router, own } = place;
    let options = PortMappingOptions { external_port: Some(port), lifetime_seconds: Some(LIFETIME_S), timeout_config: Some(PATIENCE) };
    let by_pcp = pcp::BaseMapRequest::new(router.into(), own, InternetProtocol::Udp, port);
    match pcp::port_mapping(by_pcp, None, None, options).await {
        Ok(mapping) => return Some(Mapping::Crab(mapping)),
        Err(failure) => debug!("no port by PCP: {failure}"),
    }
    match natpmp::port_mapping(router.into(), InternetProtocol::Udp, port, options).await {
        Ok(mapping) => return Some(Mapping::Crab(mapping)),
        Err(failure) => debug!("no port by NAT-PMP: {failure}"),
    }
    upnp::Mapping::open(place, port).await.inspect_err(|failure| debug!("no port by UPnP: {failure}")).map(Mapping::Upnp).ok()
}

/// Where a mapping by PCP or NAT-PMP leads in.
async fn opened_by(mapping: &crab_nat::PortMapping) -> Option<OpenedPort> {
    let (ip, protocol) = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => (external_ip.to_canonical(), "PCP"),
        PortMappingType::NatPmp => (natpmp::external_address(mapping.gateway(), Some(PATIENCE)).await.ok()?.into(), "NAT-PMP"),
    };
    Some(OpenedPort { address: (ip, mapping.external_port().get()).into(), protocol })
}
