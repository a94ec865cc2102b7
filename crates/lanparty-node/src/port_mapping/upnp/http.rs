//! HTTP/1.1 with one router, one question to a connection: bounded, timed, no redirects.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::{UpnpError, in_time};

/// A router is near, and slow.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Descriptions have some ten kilobytes.
const ANSWER_LEN_MAX: usize = 128 * 1024;
const HEADERS_MAX: usize = 64;
const PATH_LEN_MAX: usize = 512;

/// A page of the router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) at: SocketAddrV4,
    pub(super) path: String,
}

impl Target {
    /// Of `http://ROUTER[:PORT]/PATH`, and of no other host.
    pub(super) fn of(url: &str, router: Ipv4Addr) -> Option<Self> {
        let rest = url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).and(url.get(7..))?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let at = host.parse::<SocketAddrV4>().ok().or_else(|| Some(SocketAddrV4::new(host.parse().ok()?, 80)))?;
        Self { at, path: if path.is_empty() { "/".to_owned() } else { path.to_owned() } }.checked(router)
    }

    /// Another page, as this one names it.
    pub(super) fn join(&self, reference: &str) -> Option<Self> {
        if reference.contains("://") {
            return Self::of(reference, *self.at.ip());
        }
        let path = if reference.starts_with('/') { reference.to_owned() } else { format!("/{reference}") };
        Self { at: self.at, path }.checked(*self.at.ip())
    }

    /// What goes into a request line must not end it.
    fn checked(self, router: Ipv4Addr) -> Option<Self> {
        let is_plain = self.path.len() <= PATH_LEN_MAX && self.path.bytes().all(|byte| byte.is_ascii_graphic());
        (is_plain && *self.at.ip() == router && self.at.port() != 0).then_some(self)
    }
}

/// The page.
pub(super) async fn get(own: Ipv4Addr, target: &Target) -> Result<String, UpnpError> {
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.path, target.at);
    match ask(own, target, &request).await? {
        (200, page) => Ok(page),
        (status, _) => Err(UpnpError::Status(status)),
    }
}

/// The status and the body of what the router says to a request.
pub(super) async fn ask(own: Ipv4Addr, target: &Target, request: &str) -> Result<(u16, String), UpnpError> {
    let answer = in_time(TIMEOUT, exchange(own, target.at, request)).await?;
    let (status, body) = read(&answer)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn exchange(own: Ipv4Addr, to: SocketAddrV4, request: &str) -> Result<Vec<u8>, UpnpError> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((own, 0)))?;
    let mut stream = socket.connect(to.into()).await?;
    stream.write_all(request.as_bytes()).await?;
    let (mut answer, mut chunk) = (vec![], [0; 4096]);
    while !is_whole(&answer) {
        let len = stream.read(&mut chunk).await?;
        if len == 0 {
            break;
        }
        answer.extend_from_slice(chunk.get(..len).unwrap_or_default());
        if answer.len() > ANSWER_LEN_MAX {
            return Err(UpnpError::Unreadable("too long"));
        }
    }
    Ok(answer)
}

/// The length of the head, the status, the length that it promises, and whether the body comes in chunks.
fn head(answer: &[u8]) -> Option<(usize, u16, Option<usize>, bool)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = response.parse(answer).ok()? else { return None };
    let value = |name: &str| response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).and_then(|h| str::from_utf8(h.value).ok());
    let is_chunked = value("Transfer-Encoding").is_some_and(|how| how.to_ascii_lowercase().contains("chunked"));
    Some((len, response.code?, value("Content-Length").and_then(|len| len.trim().parse().ok()), is_chunked))
}

/// Routers that keep the connection open are not waited for.
fn is_whole(answer: &[u8]) -> bool {
    head(answer).is_some_and(|(head, _, len, is_chunked)| match len {
        Some(len) if !is_chunked => answer.len() - head >= len,
        _ => is_chunked && answer.ends_with(b"0\r\n\r\n"),
    })
}

pub(super) fn read(answer: &[u8]) -> Result<(u16, Vec<u8>), UpnpError> {
    let (head, status, len, is_chunked) = head(answer).ok_or(UpnpError::Unreadable("no HTTP"))?;
    let body = answer.get(head..).unwrap_or_default();
    let body = match len {
        _ if is_chunked => unchunked(body).ok_or(UpnpError::Unreadable("broken chunks"))?,
        Some(len) => body.get(..len).ok_or(UpnpError::Unreadable("cut off"))?.to_vec(),
        None => body.to_vec(),
    };
    Ok((status, body))
}

/// RFC 9112 §7.1. The whole answer is bounded, and so is what comes out.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = vec![];
    loop {
        let httparse::Status::Complete((skip, len)) = httparse::parse_chunk_size(rest).ok()? else { return None };
        let len = usize::try_from(len).ok()?;
        if len == 0 {
            return Some(body);
        }
        let chunk = rest.get(skip..skip.checked_add(len)?)?;
        body.extend_from_slice(chunk);
        rest = rest.get(skip + len..)?.strip_prefix(b"\r\n")?;
    }
}
