//! Finding the router's description: a search to the group and to the router itself (UPnP Device Architecture 1.1 §1.3.2, §1.3.3).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::http::Target;
use super::{UpnpError, in_time};

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);
/// A later version answers to the first one, too.
const SEARCH: &[u8] = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
    ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n";
/// The search is said again, as it may be lost, and a device may take as long as MX to answer.
const SEARCHES: u32 = 3;
const SEARCH_INTERVAL: Duration = Duration::from_millis(600);
/// More than an answer has.
const ANSWER_LEN_MAX: usize = 2048;
const HEADERS_MAX: usize = 32;

/// Where the router describes itself.
pub(super) async fn search(own: Ipv4Addr, router: Ipv4Addr) -> Result<Target, UpnpError> {
    let socket = socket(own)?;
    for _ in 0..SEARCHES {
        // One of the two may be filtered; that both are shows by the silence.
        let _ = socket.send_to(SEARCH, SocketAddr::from(GROUP)).await;
        let _ = socket.send_to(SEARCH, SocketAddr::from((router, GROUP.port()))).await;
        match in_time(SEARCH_INTERVAL, answer(&socket, router)).await {
            Err(UpnpError::Timeout) => {}
            found => return found,
        }
    }
    Err(UpnpError::Silent)
}

fn socket(own: Ipv4Addr) -> Result<UdpSocket, UpnpError> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v4(&own)?;
    socket.bind(&SocketAddr::from((own, 0)).into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}

/// Everybody else's is passed over.
async fn answer(socket: &UdpSocket, router: Ipv4Addr) -> Result<Target, UpnpError> {
    let mut answer = [0; ANSWER_LEN_MAX];
    loop {
        let (len, from) = socket.recv_from(&mut answer).await?;
        if from.ip() == IpAddr::V4(router)
            && let Some(found) = answer.get(..len).and_then(|answer| location(answer, router))
        {
            return Ok(found);
        }
    }
}

pub(super) fn location(answer: &[u8], router: Ipv4Addr) -> Option<Target> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(answer).ok()?;
    let of_gateway = |text: &str| text.contains("InternetGatewayDevice");
    let value = |name: &str| response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).and_then(|h| str::from_utf8(h.value).ok());
    if response.code != Some(200) || !value("ST").is_some_and(of_gateway) {
        return None;
    }
    Target::of(value("LOCATION")?.trim(), router)
}
