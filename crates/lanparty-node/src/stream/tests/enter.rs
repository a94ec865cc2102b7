//! Who gets in, and what everybody else is told.

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::stream::challenge::Proof;
use crate::stream::clock::Io;
use crate::{CertificateFiles, RELAY_DEV_NAME};

async fn tls_to(address: SocketAddr, name: &str, trust: &RelayTrust) -> Box<dyn Io> {
    let connector = TlsConnector::from(std::sync::Arc::new(trust.stream_config().unwrap()));
    let tcp = TcpStream::connect(address).await.unwrap();
    Box::new(connector.connect(ServerName::try_from(name.to_owned()).unwrap(), tcp).await.unwrap())
}

/// A server in front of a relay that ends TLS, and passes on what is inside: in TLS of its own, or without.
async fn in_front_of(relay: &Relay, name: &'static str, certificate: &Certificate, plain: bool) -> SocketAddr {
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(certificate.tls().stream_config().unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind, trust) = (listener.local_addr().unwrap(), relay.address(), relay.trust.clone());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut outside) = acceptor.accept(tcp).await else { continue };
            let mut inside: Box<dyn Io> =
                if plain { Box::new(TcpStream::connect(behind).await.unwrap()) } else { tls_to(behind, name, &trust).await };
            tokio::spawn(async move { copy_bidirectional(&mut outside, &mut inside).await });
        }
    });
    address
}

async fn dial_through(relay: &Relay, front: SocketAddr, name: &str, trust: &RelayTrust) -> Result<StreamLink, JoinError> {
    let target = StreamTarget { way: StreamWay::Direct(front), server_name: name.into(), ..relay.target() };
    tokio::join!(dial_stream(&target, trust, &relay.identity), relay.accept()).0
}

#[tokio::test]
async fn a_member_is_who_its_key_says() {
    let relay = Relay::new();
    let (dialled, accepted) = tokio::join!(relay.dial(), relay.accept());
    let (link, identity) = accepted.unwrap();
    assert_eq!(identity, relay.identity.id());
    assert!(link.remote_address().ip().is_loopback() && dialled.unwrap().remote_address() == relay.address());
    assert_eq!(relay.listener.open_handshakes(), 0);
}

#[tokio::test]
async fn a_relay_cannot_enter_another_one_with_what_its_members_prove_to_it() {
    let (relay, certificate, dir) = (Relay::new(), Certificate::new("evil.example"), tempfile::tempdir().unwrap());
    let front = in_front_of(&relay, NAME, &certificate, false).await;
    let refused = words(dial_through(&relay, front, "evil.example", &certificate.trust(dir.path())).await);
    assert!(refused.contains(NAME) && refused.contains("evil.example") && refused.contains("--public-name"), "{refused}");
}

#[tokio::test]
async fn nor_when_both_have_development_certificates() {
    let relay = Relay::named(RELAY_DEV_NAME, &[]);
    let target = StreamTarget { server_name: RELAY_DEV_NAME.into(), ..relay.target() };
    let (dialled, accepted) = tokio::join!(dial_stream(&target, &relay.trust, &relay.identity), relay.accept());
    assert!(dialled.is_ok() && accepted.is_ok());
    let (certificate, dir) = (Certificate::new(RELAY_DEV_NAME), tempfile::tempdir().unwrap());
    let front = in_front_of(&relay, RELAY_DEV_NAME, &certificate, false).await;
    let refused = words(dial_through(&relay, front, RELAY_DEV_NAME, &certificate.trust(dir.path())).await);
    assert!(refused.contains("this relay answers to"), "{refused}");
}

#[tokio::test]
async fn a_server_in_front_may_end_tls_for_a_public_name() {
    let (certificate, dir) = (Certificate::new("lan.example.org"), tempfile::tempdir().unwrap());
    let mut relay = Relay::named(NAME, &["LAN.example.org"]);
    let front = in_front_of(&relay, NAME, &certificate, false).await;
    assert!(dial_through(&relay, front, "lan.example.org", &certificate.trust(dir.path())).await.is_ok());
    relay.listener = StreamListener::listen_plain(SocketAddr::from(([127, 0, 0, 1], 0)), &["lan.example.org".into()]).unwrap();
    let front = in_front_of(&relay, NAME, &certificate, true).await;
    assert!(dial_through(&relay, front, "lan.example.org", &certificate.trust(dir.path())).await.is_ok());
}

#[tokio::test]
async fn without_tls_only_a_private_address_and_a_name_will_do() {
    let listen =
        |address: &str, names: &[String]| StreamListener::listen_plain(address.parse().unwrap(), names).err().map(|f| f.to_string());
    assert!(listen("0.0.0.0:0", &["a".into()]).unwrap().contains("without TLS"));
    assert!(listen("[::]:0", &["a".into()]).unwrap().contains("without TLS"));
    assert!(listen("127.0.0.1:0", &[]).unwrap().contains("--public-name"));
    assert_eq!(listen("127.0.0.1:0", &["a".into()]), None);
}

/// Proves itself by hand: the relay's verdict.
async fn verdict(relay: &Relay, answer: impl FnOnce([u8; 32]) -> Proof) -> (Proof, bool) {
    let member = async {
        let io = tls_to(relay.address(), NAME, &relay.trust).await;
        let mut socket = dial::upgrade(io, &relay.target()).await.unwrap();
        let Proof::Challenge { nonce } = socket::read_proof(&mut socket).await.unwrap() else { panic!("no challenge") };
        socket::send_proof(&mut socket, &answer(nonce)).await.unwrap();
        socket::read_proof(&mut socket).await.unwrap()
    };
    let (verdict, accepted) = tokio::join!(member, relay.accept());
    (verdict, accepted.is_ok())
}

#[tokio::test]
async fn an_answer_that_is_changed_or_given_again_lets_nobody_in() {
    let relay = Relay::new();
    let mut overheard = None;
    let honest = verdict(&relay, |nonce| overheard.insert(challenge::answer(&nonce, NAME, &relay.identity)).clone()).await;
    assert_eq!(honest, (Proof::Accepted, true));
    let replayed = overheard.unwrap();
    let tampered = |nonce| match challenge::answer(&nonce, NAME, &relay.identity) {
        Proof::Answer { key, name, mut signature } => {
            signature[40] ^= 1;
            Proof::Answer { key, name, signature }
        }
        _ => unreachable!(),
    };
    for (refused, entered) in [verdict(&relay, |_| replayed).await, verdict(&relay, tampered).await] {
        assert!(matches!(&refused, Proof::Refused { message } if message.contains("signature")), "{refused:?}");
        assert!(!entered);
    }
    let (refused, entered) = verdict(&relay, |_| Proof::Accepted).await;
    assert!(matches!(refused, Proof::Refused { .. }) && !entered);
}

#[tokio::test]
async fn a_relay_that_proves_nothing_is_refused_in_the_words_of_the_other_transport() {
    let (relay, dir) = (Relay::new(), tempfile::tempdir().unwrap());
    let other = Certificate::new(NAME).trust(dir.path());
    let target = relay.target();
    let (refused, _) = tokio::join!(dial_stream(&target, &other, &relay.identity), relay.accept());
    assert!(words(refused).contains("has a certificate that"), "another certificate");
    let target = StreamTarget { server_name: "other.example".into(), ..target };
    let (refused, _) = tokio::join!(dial_stream(&target, &relay.trust, &relay.identity), relay.accept());
    let refused = words(refused);
    assert!(refused.contains("a certificate for another name than `other.example`") && refused.contains("--server-name"), "{refused}");
}

#[tokio::test]
async fn servers_that_are_no_relays_are_told_apart() {
    let relay = Relay::new();
    for (says, expected) in [("", "broke off\0no connection"), ("SSH-2.0-OpenSSH\r\n", "no TLS")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = StreamTarget { way: StreamWay::Direct(listener.local_addr().unwrap()), ..relay.target() };
        let serve = async {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.write_all(says.as_bytes()).await.unwrap();
            let _ = tcp.read(&mut [0; 4096]).await;
        };
        let (refused, ()) = tokio::join!(dial_stream(&target, &relay.trust, &relay.identity), serve);
        let refused = words(refused);
        assert!(expected.split('\0').any(|e| refused.contains(e)), "{refused}");
        drop(listener);
        let refused = words(dial_stream(&target, &relay.trust, &relay.identity).await);
        assert!(refused.contains("nothing listens on that port"), "{refused}");
    }
}

async fn ask(relay: &Relay, request: &str) -> (String, LinkEnded) {
    let browser = async {
        let mut io = tls_to(relay.address(), NAME, &relay.trust).await;
        io.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (answer, accepted) = tokio::join!(browser, relay.accept());
    (answer, accepted.err().unwrap())
}

#[tokio::test]
async fn a_browser_gets_a_page() {
    let relay = Relay::new();
    for (request, status, text) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "lanparty relay"),
        ("GET /?a=b HTTP/1.0\r\n\r\n", "200 OK", "lanparty relay"),
        ("GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found", "nothing here"),
        ("GET /lanparty/1 HTTP/1.1\r\nHost: x\r\n\r\n", "426 Upgrade Required", "does not pass on"),
        ("POST /lanparty/1 HTTP/1.1\r\nHost: x\r\n\r\n", "426 Upgrade Required", "does not pass on"),
    ] {
        let (answer, ended) = ask(&relay, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.contains(text), "{answer}");
        assert!(ended.reason.contains("asked for a page"), "{ended}");
    }
    let (answer, _) = ask(&relay, "HEAD / HTTP/1.1\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn garbage_is_closed_and_holds_nothing() {
    let relay = Relay::new();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 3000], &[0x16, 3, 1, 0xff, 0xff, 9, 9]] {
        let stranger = async {
            let mut tcp = TcpStream::connect(relay.address()).await.unwrap();
            tcp.write_all(garbage).await.unwrap();
            tcp.shutdown().await.unwrap();
            let _ = tcp.read_to_end(&mut vec![]).await;
        };
        let ((), accepted) = tokio::join!(stranger, relay.accept());
        assert!(accepted.is_err());
    }
    assert_eq!(relay.listener.open_handshakes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_says_nothing_is_given_up() {
    let relay = Relay::new();
    let _stranger = std::net::TcpStream::connect(relay.address()).unwrap();
    let incoming = relay.listener.accept().await.unwrap();
    assert_eq!(relay.listener.open_handshakes(), 1);
    assert_eq!(incoming.handshake().await.err().unwrap().reason, "the handshake took too long");
    assert_eq!(relay.listener.open_handshakes(), 0);
}

#[tokio::test]
async fn behind_a_server_the_member_is_where_that_says_and_only_there() {
    let mut relay = Relay::named(NAME, &[]);
    for (plain, seen) in [(false, "127.0.0.1"), (true, "192.0.2.7")] {
        if plain {
            relay.listener = StreamListener::listen_plain(SocketAddr::from(([127, 0, 0, 1], 0)), &[NAME.into()]).unwrap();
        }
        let member = async {
            let mut io: Box<dyn Io> = if plain {
                Box::new(TcpStream::connect(relay.address()).await.unwrap())
            } else {
                tls_to(relay.address(), NAME, &relay.trust).await
            };
            let fields = "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x";
            let from = "X-Forwarded-For: 203.0.113.9, 192.0.2.7";
            io.write_all(format!("GET {PATH} HTTP/1.1\r\n{fields}\r\n{from}\r\n\r\n").as_bytes()).await.unwrap();
            let (response, behind) = http::read_response(&mut io).await.unwrap();
            assert_eq!(response.status, 101);
            let mut socket = socket::client_socket(io, behind).await;
            dial::prove(&mut socket, &relay.target(), NAME, &relay.identity).await.unwrap();
        };
        let ((), accepted) = tokio::join!(member, relay.accept());
        assert_eq!(accepted.unwrap().0.remote_address().ip().to_string(), seen);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_answered_to_without_a_new_listener() {
    let dir = tempfile::tempdir().unwrap();
    let files = CertificateFiles { chain: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    let write = |certificate: &Certificate| {
        std::fs::write(&files.chain, certificate.params.pem()).unwrap();
        std::fs::write(&files.key, certificate.key.serialize_pem()).unwrap();
    };
    write(&Certificate::new("old-name.example.org"));
    let mut tls = ServerTls::load(CertificateSource::Files(files.clone())).unwrap();
    let mut relay = Relay::new();
    relay.listener = StreamListener::listen(SocketAddr::from(([127, 0, 0, 1], 0)), &tls, &[]).unwrap();
    let renewed = Certificate::new(NAME);
    write(&renewed);
    assert!(tls.reload_if_changed().unwrap().is_ok());
    relay.trust = renewed.trust(dir.path());
    relay.joined().await;
}

#[tokio::test]
async fn a_listener_that_closes_tells_its_members_and_takes_no_more() {
    let relay = Relay::new();
    let (member, _far) = relay.joined().await;
    let (_, next) = tokio::join!(relay.listener.close("the relay is shutting down"), relay.listener.accept());
    assert!(next.is_none());
    assert_eq!(member.ended().await.to_string(), "the relay is shutting down");
}

#[tokio::test]
async fn both_address_families_are_heard() {
    let certificate = Certificate::new(NAME);
    let listener = StreamListener::listen("[::]:0".parse().unwrap(), &certificate.tls(), &[]).unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "::1"] {
        let _stranger = TcpStream::connect((host, port)).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().remote_address().ip().to_string(), host);
    }
    let taken = StreamListener::listen(listener.local_addr().unwrap(), &certificate.tls(), &[]).err().unwrap();
    assert!(taken.to_string().contains("/tcp") && taken.to_string().contains("another program has this port"), "{taken}");
}
