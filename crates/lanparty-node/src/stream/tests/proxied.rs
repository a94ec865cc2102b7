//! Through a proxy, or not through one that refuses.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const MADE: &str = "HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n";

/// One connection of a proxy that gives `answer` to whoever has the right password, or wants none. What it was asked for.
async fn serve(listener: TcpListener, behind: SocketAddr, wanted: Option<&'static str>, answer: &'static str) -> String {
    let (mut tcp, _) = listener.accept().await.unwrap();
    let (request, rest) = http::read_request(&mut tcp).await.unwrap();
    assert_eq!((request.method.as_str(), rest.len()), ("CONNECT", 0));
    let allowed = request.fields.last("proxy-authorization") == wanted;
    let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
    tcp.write_all(if allowed { answer } else { refusal }.as_bytes()).await.unwrap();
    if allowed && answer == MADE {
        let mut relay = TcpStream::connect(behind).await.unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut tcp, &mut relay).await });
    } else {
        let _ = tcp.read(&mut [0; 100]).await;
    }
    request.target
}

async fn dial(relay: &Relay, user: &str, wanted: Option<&'static str>, answer: &'static str) -> (Result<StreamLink, JoinError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{user}127.0.0.1:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let target = StreamTarget { way: StreamWay::Through(proxy), ..relay.target() };
    let enter = async {
        let _far = relay.accept().await;
        std::future::pending::<()>().await;
    };
    let dialled =
        async { tokio::join!(dial_stream(&target, &relay.trust, &relay.identity), serve(listener, relay.address(), wanted, answer)) };
    tokio::select! { dialled = dialled => dialled, () = enter => unreachable!() }
}

#[tokio::test]
async fn a_proxy_is_told_the_relays_name_and_the_link_works_through_it() {
    let relay = Relay::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let target = StreamTarget { way: StreamWay::Through(proxy), ..relay.target() };
    let serve = serve(listener, relay.address(), None, MADE);
    let (dialled, accepted, asked) = tokio::join!(dial_stream(&target, &relay.trust, &relay.identity), relay.accept(), serve);
    assert_eq!(asked, format!("{NAME}:{}", relay.address().port()));
    let (member, (far, identity)) = (dialled.unwrap(), accepted.unwrap());
    assert_eq!(identity, relay.identity.id());
    let sent = frames(0..50);
    far.send_now(&sent).unwrap();
    assert_eq!(receive(&member, sent.len()).await, sent);
}

#[tokio::test]
async fn a_proxy_that_knows_its_users_lets_them_through() {
    let relay = Relay::new();
    let (wanted, user) = (Some("Basic dXNlcjpwQHNz"), "user:p%40ss@");
    assert!(dial(&relay, user, wanted, MADE).await.0.is_ok());
    let refused = words(dial(&relay, "", wanted, MADE).await.0);
    assert!(refused.contains("wants a user and a password (407)") && refused.contains("USER:PASSWORD"), "{refused}");
    let refused = words(dial(&relay, "user:secret@", wanted, MADE).await.0);
    assert!(refused.contains("does not accept this user") && !refused.contains("secret"), "{refused}");
}

#[tokio::test]
async fn every_refusal_of_a_proxy_has_its_words_and_says_whether_to_try_again() {
    let relay = Relay::new();
    for (answer, expected, is_final) in [
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "does not allow connections to relay.example.net", true),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "does not reach relay.example.net", false),
        ("HTTP/1.1 504 Gateway Timeout\r\n\r\n", "does not reach relay.example.net", false),
        ("HTTP/1.1 429 Too Many Requests\r\n\r\n", "429 Too Many Requests", false),
        (
            "HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n",
            "a method that lanparty does not know: NTLM",
            true,
        ),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "is no HTTP proxy", true),
        ("\u{16}\u{3}\u{1}", "is no HTTP proxy", true),
        ("HTTP/1.1 200 OK\r\n\r\nand more", "is no HTTP proxy", true),
    ] {
        let refused = dial(&relay, "", None, answer).await.0.err().expect(answer);
        assert!(refused.to_string().contains(expected), "{refused}");
        assert_eq!(matches!(refused, JoinError::Final(_)), is_final, "{refused}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let relay = Relay::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for (proxy, expected) in [
        (format!("http://user:secret@{address}"), format!("no connection to the proxy {address}: refuses connections")),
        ("http://user:secret@no-such-host.invalid:3128".into(), "the proxy's name `no-such-host.invalid` does not resolve".into()),
    ] {
        let target = StreamTarget { way: StreamWay::Through(proxy.parse().unwrap()), ..relay.target() };
        let refused = words(dial_stream(&target, &relay.trust, &relay.identity).await);
        assert!(refused.contains(&expected) && !refused.contains("secret"), "{refused}");
    }
}
