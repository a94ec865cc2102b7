//! Ports of routers that speak UPnP only (UPnP Device Architecture 1.1, WANIPConnection:1 and :2).
//!
//! Nothing is trusted: only the default router is asked, only what comes from its address counts, and only with that address in it; every
//! answer has a size and a time. A router that is no private network's is not asked at all: there is no home behind it.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;

use tracing::debug;

use self::description::Service;
use self::http::Target;
use self::soap::{Answer, add_port, delete_port, external_address};
use super::{LIFETIME_S, OpenedPort, Place};

mod description;
mod http;
mod soap;
mod ssdp;

/// Other ports that are tried when somebody else has the wanted one.
const OTHER_PORTS: u16 = 4;
/// ConflictInMappingEntry: another machine has this port.
const CONFLICT: u16 = 718;
/// OnlyPermanentLeasesSupported: the router forgets nothing by itself.
const ONLY_PERMANENT: u16 = 725;
/// How often a mapping without an end is looked after: a router that was switched off and on has forgotten it.
const PERMANENT_LOOK_S: u32 = 600;

/// Why a router opened nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpnpError {
    #[error("the router is in no private network, so it is not asked")]
    NotPrivate,
    #[error("no answer to the search")]
    Silent,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("an answer that cannot be read: {0}")]
    Unreadable(&'static str),
    #[error("it answers HTTP status {0}")]
    Status(u16),
    #[error("it refuses with UPnP error {0}")]
    Refused(u16),
}

/// A port that is open.
#[derive(Debug)]
pub(super) struct Mapping {
    own: Ipv4Addr,
    service: Service,
    ports: Ports,
    external_ip: Ipv4Addr,
    lifetime_s: u32,
}

/// A port of the router, and that of this host to which it leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ports {
    external: NonZeroU16,
    internal: NonZeroU16,
}

impl Mapping {
    /// Finds the router's service and opens a port.
    pub(super) async fn open(place: Place, internal: NonZeroU16) -> Result<Self, UpnpError> {
        let (IpAddr::V4(router), IpAddr::V4(own)) = (place.router, place.own) else { return Err(UpnpError::NotPrivate) };
        if !is_private(router) {
            return Err(UpnpError::NotPrivate);
        }
        let location = ssdp::search(own, router).await?;
        let page = http::get(own, &location).await?;
        let service = description::service(&page, &location).ok_or(UpnpError::Unreadable("it describes no internet connection"))?;
        let external_ip = soap::ask(own, &service, &external_address(&service)).await?.external_ip()?;
        let (ports, lifetime_s) = open_any(own, &service, internal).await?;
        Ok(Self { own, service, ports, external_ip, lifetime_s })
    }

    /// Asks for the same again.
    pub(super) async fn renew(&mut self) -> Result<(), UpnpError> {
        self.external_ip = soap::ask(self.own, &self.service, &external_address(&self.service)).await?.external_ip()?;
        self.lifetime_s = open_one(self.own, &self.service, self.ports).await?;
        Ok(())
    }

    /// Gives it back.
    pub(super) async fn end(self) -> Result<(), UpnpError> {
        soap::ask(self.own, &self.service, &delete_port(&self.service, self.ports.external)).await?.accepted()
    }

    /// Seconds until the router forgets it, or until it is time to look after one that it never forgets.
    pub(super) const fn lifetime_s(&self) -> u32 {
        if self.lifetime_s == 0 { PERMANENT_LOOK_S } else { self.lifetime_s }
    }

    pub(super) fn opened(&self) -> OpenedPort {
        OpenedPort { address: SocketAddrV4::new(self.external_ip, self.ports.external.get()).into(), protocol: "UPnP" }
    }
}

/// The wanted port, or one of a few others.
async fn open_any(own: Ipv4Addr, service: &Service, internal: NonZeroU16) -> Result<(Ports, u32), UpnpError> {
    let mut tried = Err(UpnpError::Refused(CONFLICT));
    for offset in 0..=OTHER_PORTS {
        // Far apart, as the next one is often the next player's; those of the system are left alone.
        let external = NonZeroU16::new(internal.get().wrapping_add(offset * 1_009).max(1_024)).unwrap_or(internal);
        let ports = Ports { external, internal };
        tried = open_one(own, service, ports).await.map(|lifetime_s| (ports, lifetime_s));
        if !matches!(tried, Err(UpnpError::Refused(CONFLICT))) {
            break;
        }
    }
    tried
}

/// For how many seconds it is open; 0 for ever.
async fn open_one(own: Ipv4Addr, service: &Service, ports: Ports) -> Result<u32, UpnpError> {
    let answer: Answer = soap::ask(own, service, &add_port(service, own, ports, LIFETIME_S)).await?;
    match answer.accepted() {
        Ok(()) => Ok(LIFETIME_S),
        Err(UpnpError::Refused(ONLY_PERMANENT)) => {
            debug!("the router knows only ports that stay open until they are given back");
            soap::ask(own, service, &add_port(service, own, ports, 0)).await?.accepted().map(|()| 0)
        }
        Err(refused) => Err(refused),
    }
}

/// RFC 1918, RFC 6598, RFC 3927.
fn is_private(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T, UpnpError>>) -> Result<T, UpnpError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(UpnpError::Timeout))
}

#[cfg(test)]
mod tests;
