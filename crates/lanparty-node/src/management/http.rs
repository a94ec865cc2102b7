//! HTTP over a local socket: which address is for what, and what a body becomes (docs/management.md).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{ACCEPT, ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;

use super::rpc::{Asker, Outcome};
use super::server::Desk;
use crate::local::Guard;

/// A JSON text sequence (RFC 7464).
pub(super) const JSON_SEQUENCE: &str = "application/json-seq";
const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
/// Longest body of a request: many times what the longest batch needs.
const BODY_LEN_MAX: usize = 64 << 10;
/// Time for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
const GUIDE: &str = "POST /v1 takes JSON-RPC 2.0 (its method rpc.discover lists the others), GET /v1/events tells what happens, GET /metrics gives numbers\n";

/// The body of an answer: whole, or text by text as they come.
pub(super) enum Answer {
    Whole(Full<Bytes>),
    Texts(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Texts(texts) => texts.poll_recv(context).map(|text| text.map(|text| Ok(Frame::data(text)))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Texts(_) => SizeHint::default(),
        }
    }
}

/// Answers one request.
pub(super) async fn answer(request: Request<Incoming>, desk: Arc<Desk>, guard: Guard) -> Result<Response<Answer>, Infallible> {
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(access) = guard.access(authorization) else {
        return Ok(whole(StatusCode::UNAUTHORIZED, TEXT, "the token is in the program's file in the runtime directory\n"));
    };
    let takes_texts = accepts(request.headers(), JSON_SEQUENCE);
    Ok(match (request.method(), request.uri().path()) {
        (&Method::POST, "/v1") => {
            let asker = Asker { access, takes_texts };
            match tokio::time::timeout(BODY_TIMEOUT, Limited::new(request.into_body(), BODY_LEN_MAX).collect()).await {
                Ok(Ok(body)) => rpc(desk, asker, body.to_bytes()).await,
                Ok(Err(_)) => whole(StatusCode::PAYLOAD_TOO_LARGE, TEXT, "a request has 65536 bytes at most\n"),
                Err(_) => whole(StatusCode::REQUEST_TIMEOUT, TEXT, "the body did not come in time\n"),
            }
        }
        (&Method::GET, "/v1/events") => match desk.listen() {
            Some(texts) => with_type(StatusCode::OK, JSON_SEQUENCE, Answer::Texts(texts)),
            None => whole(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many listen already\n"),
        },
        (&Method::GET, "/metrics") => metrics(&desk).await,
        (_, "/v1") => not_allowed("POST"),
        (_, "/v1/events" | "/metrics") => not_allowed("GET"),
        _ => whole(StatusCode::NOT_FOUND, TEXT, GUIDE),
    })
}

async fn rpc(desk: Arc<Desk>, asker: Asker, body: Bytes) -> Response<Answer> {
    let mut response = said(Arc::clone(&desk), asker, body).await;
    if desk.is_leaving() {
        // The end of this connection is the sign that it was heard.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn said(desk: Arc<Desk>, asker: Asker, body: Bytes) -> Response<Answer> {
    match super::rpc::answer(desk, asker, &body).await {
        Outcome::Nothing => whole(StatusCode::NO_CONTENT, TEXT, ""),
        Outcome::Json(json) => whole(StatusCode::OK, JSON, json),
        Outcome::Texts(texts) => with_type(StatusCode::OK, JSON_SEQUENCE, Answer::Texts(texts)),
    }
}

pub(super) async fn metrics(desk: &Desk) -> Response<Answer> {
    match desk.metrics().await {
        Some(text) => whole(StatusCode::OK, super::metrics::CONTENT_TYPE, text),
        None => whole(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the program is ending\n"),
    }
}

fn accepts(headers: &HeaderMap, what: &str) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(what)))
}

fn not_allowed(allowed: &'static str) -> Response<Answer> {
    let mut response = whole(StatusCode::METHOD_NOT_ALLOWED, TEXT, GUIDE);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

pub(super) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Answer> {
    with_type(status, content_type, Answer::Whole(Full::new(body.into())))
}

fn with_type(status: StatusCode, content_type: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
