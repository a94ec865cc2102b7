//! As much HTTP/1.1 as a stream needs to begin: heads of requests and responses (RFC 9112), the upgrade to WebSocket (RFC 6455 §4).

use std::io;

use data_encoding::BASE64;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest head, request or response. Ours have 300 bytes; servers in between add theirs.
pub(super) const HEAD_LEN_MAX: usize = 8 * 1024;
/// Header fields in a head.
const FIELDS_MAX: usize = 64;
/// Bytes read at once.
const CHUNK_LEN: usize = 1024;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// RFC 6455 §1.3.
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    /// It ended first.
    #[error("the connection was closed")]
    Closed,
    /// More than [`HEAD_LEN_MAX`] bytes.
    #[error("more than {HEAD_LEN_MAX} bytes before the end of an HTTP head")]
    TooLong,
    /// No HTTP.
    #[error("no HTTP/1.1: {0}")]
    Syntax(#[from] httparse::Error),
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The fields of a head.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    fn new(parsed: &[httparse::Header<'_>]) -> Self {
        let field = |h: &httparse::Header<'_>| (h.name.to_ascii_lowercase(), String::from_utf8_lossy(h.value).trim().to_owned());
        Self(parsed.iter().map(field).collect())
    }

    /// The last value of a field, whose name is given in lower case.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether one of the values of a list field is `token`.
    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        let mut values = self.0.iter().filter(|(n, _)| n == name).flat_map(|(_, value)| value.split(','));
        values.any(|v| v.trim().eq_ignore_ascii_case(token))
    }

    /// Whether a field offers an authentication scheme (RFC 9110 §11.6.1), whose name is given in lower case.
    pub(super) fn has_scheme(&self, name: &str, scheme: &str) -> bool {
        let words = self.0.iter().filter(|(n, _)| n == name).flat_map(|(_, value)| value.split([' ', ',']));
        words.into_iter().any(|word| word.eq_ignore_ascii_case(scheme))
    }
}

/// A request's head.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) is_http_1_1: bool,
    pub(super) fields: Fields,
}

/// A response's head.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) fields: Fields,
}

/// Reads a request's head, and what came behind it.
pub(super) async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Request, Vec<u8>), HeadError> {
    let (head, behind) = read_head(stream).await?;
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed.parse(&head)?;
    let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
    let (method, target, is_http_1_1) = (text(parsed.method), text(parsed.path), parsed.version == Some(1));
    Ok((Request { method, target, is_http_1_1, fields: Fields::new(parsed.headers) }, behind))
}

/// Reads a response's head, and what came behind it.
pub(super) async fn read_response<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Response, Vec<u8>), HeadError> {
    let (head, behind) = read_head(stream).await?;
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(&head)?;
    let (status, reason) = (parsed.code.unwrap_or_default(), parsed.reason.unwrap_or_default().to_owned());
    Ok((Response { status, reason, fields: Fields::new(parsed.headers) }, behind))
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Vec<u8>, Vec<u8>), HeadError> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; CHUNK_LEN]);
    while bytes.len() <= HEAD_LEN_MAX {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Err(HeadError::Closed);
        }
        // The end may have begun in the chunk before.
        let searched = bytes.len().saturating_sub(END_OF_HEAD.len() - 1);
        bytes.extend(chunk.iter().take(count));
        // Whoever speaks something else is told so at once, not when it has spoken enough of it.
        if !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
            return Err(HeadError::Syntax(httparse::Error::Token));
        }
        if let Some(end) = bytes.windows(END_OF_HEAD.len()).skip(searched).position(|w| w == END_OF_HEAD) {
            let behind = bytes.split_off(searched + end + END_OF_HEAD.len());
            return Ok((bytes, behind));
        }
    }
    Err(HeadError::TooLong)
}

/// A fresh key for an upgrade.
pub(super) fn upgrade_key() -> String {
    let mut nonce = [0; 16];
    SystemRandom::new().fill(&mut nonce).expect("INVARIANT: the operating system gives random bytes");
    BASE64.encode(&nonce)
}

/// What the server answers to a key. SHA-1 protects nothing here: it shows that the server knows WebSocket.
pub(super) fn upgrade_answer(key: &str) -> String {
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{WEBSOCKET_GUID}").as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        assert_eq!(upgrade_answer("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn a_head_ends_where_it_ends_and_what_follows_is_kept() {
        let mut bytes: &[u8] = b"GET /lanparty/1 HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n\x82\x01";
        let (request, behind) = read_request(&mut bytes).await.unwrap();
        assert_eq!((request.method.as_str(), request.target.as_str(), &behind[..]), ("GET", "/lanparty/1", &b"\x82\x01"[..]));
        assert!(request.fields.has_token("connection", "upgrade") && !request.fields.has_token("connection", "keep"));
        assert_eq!(request.fields.last("x-forwarded-for"), Some("192.0.2.1"));
    }

    #[tokio::test]
    async fn a_head_may_come_in_pieces_cut_anywhere() {
        let whole =
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: basic realm=x\r\n\r\n!";
        for cut in 1..whole.len() {
            let (first, second) = whole.split_at(cut);
            let (response, behind) = read_response(&mut first.chain(second)).await.unwrap();
            assert_eq!((response.status, response.reason.as_str(), behind.len() <= 1), (407, "Proxy Authentication Required", true));
            assert!(
                response.fields.has_scheme("proxy-authenticate", "basic") && !response.fields.has_scheme("proxy-authenticate", "digest")
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_head_is_refused_by_kind() {
        let mut endless: &[u8] = &[b'x'; 3 * HEAD_LEN_MAX];
        assert!(matches!(read_request(&mut endless).await, Err(HeadError::TooLong)));
        assert!(endless.len() > HEAD_LEN_MAX, "and not read to its end");
        let mut cut: &[u8] = b"GET / HTTP/1.1\r\n";
        assert!(matches!(read_request(&mut cut).await, Err(HeadError::Closed)));
        for mut other in [&b"SSH-2.0-OpenSSH_9.6\r\n\r\n"[..], b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\n: x\r\n\r\n"] {
            assert!(matches!(read_response(&mut other).await, Err(HeadError::Syntax(_))));
        }
    }
}
