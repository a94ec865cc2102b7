use super::*;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

fn target(path: &str) -> Target {
    Target { at: SocketAddrV4::new(ROUTER, 5000), path: path.to_owned() }
}

fn search_answer(location: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLocation: {location}\r\nEXT:\r\n\r\n")
}

#[test]
fn an_answer_to_the_search_counts_only_when_it_names_the_router_itself() {
    let found = |location: &str| ssdp::location(search_answer(location).as_bytes(), ROUTER);
    assert_eq!(found("http://192.168.1.1:5000/rootDesc.xml"), Some(target("/rootDesc.xml")));
    assert_eq!(found("http://192.168.1.1").map(|t| t.at.port()), Some(80));
    for other in [
        "http://192.168.1.2:5000/a",
        "http://evil.example/a",
        "https://192.168.1.1/a",
        "http://192.168.1.1:0/",
        "http://192.168.1.1:5000/a b",
    ] {
        assert_eq!(found(other), None, "{other}");
    }
    let printer = search_answer("http://192.168.1.1:5000/a").replace("InternetGatewayDevice", "Printer");
    assert_eq!(ssdp::location(printer.as_bytes(), ROUTER), None);
    assert_eq!(ssdp::location(b"M-SEARCH * HTTP/1.1\r\n\r\n", ROUTER), None);
}

fn described(services: &[(&str, &str)], base: &str) -> String {
    let service =
        |(kind, url): &(&str, &str)| format!("<service><serviceType>{kind}</serviceType><controlURL>{url}</controlURL></service>");
    let services: String = services.iter().map(service).collect();
    format!(
        "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">{base}<device><serviceList>{services}</serviceList></device></root>"
    )
}

#[test]
fn the_newest_service_is_taken_and_no_other_hosts() {
    let found = |page: &str| description::service(page, &target("/rootDesc.xml"));
    let (ip1, ip2) = ("urn:schemas-upnp-org:service:WANIPConnection:1", "urn:schemas-upnp-org:service:WANIPConnection:2");
    let both = found(&described(&[(ip1, "/one"), (ip2, "two")], "")).unwrap();
    assert_eq!((both.kind, both.control), (ip2, target("/two")));
    let based = found(&described(&[(ip1, "/one")], "<URLBase>http://192.168.1.1:49152/</URLBase>")).unwrap();
    assert_eq!(based.control.at.port(), 49152);
    let elsewhere = found(&described(&[(ip1, "/one")], "<URLBase>http://203.0.113.5/</URLBase>")).unwrap();
    assert_eq!(elsewhere.control, target("/one"));
    assert_eq!(found(&described(&[(ip1, "http://203.0.113.5/one")], "")), None);
    assert_eq!(found(&described(&[("urn:schemas-upnp-org:service:Layer3Forwarding:1", "/l3f")], "")), None);
    let bomb = "<!DOCTYPE r [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><r>&b;</r>";
    assert_eq!(found(bomb), None, "no DTD is read");
}

#[test]
fn what_the_router_says_is_read_whole_in_chunks_or_not_at_all() {
    let read = |answer: &str| http::read(answer.as_bytes()).ok().map(|(status, body)| (status, String::from_utf8(body).unwrap()));
    assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"), Some((200, "abc".to_owned())));
    assert_eq!(read("HTTP/1.0 500 no\r\n\r\nabc"), Some((500, "abc".to_owned())));
    assert_eq!(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), Some((200, "abc".to_owned())));
    for broken in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab",
        "nonsense",
    ] {
        assert_eq!(read(broken), None, "{broken}");
    }
}

#[test]
fn a_refusal_has_its_number_and_an_address_must_be_one() {
    let answer = |status, body: &str| Answer { status, body: body.to_owned() };
    let conflict = "<s:Envelope xmlns:s=\"x\"><s:Body><s:Fault><detail><UPnPError xmlns=\"y\"><errorCode>718</errorCode></UPnPError></detail></s:Fault></s:Body></s:Envelope>";
    assert!(matches!(answer(500, conflict).accepted(), Err(UpnpError::Refused(718))));
    assert!(matches!(answer(401, "").accepted(), Err(UpnpError::Status(401))));
    let address = |ip: &str| answer(200, &format!("<a><NewExternalIPAddress> {ip} </NewExternalIPAddress></a>")).external_ip().ok();
    assert_eq!(address("198.51.100.7"), Some(Ipv4Addr::new(198, 51, 100, 7)));
    assert_eq!((address("0.0.0.0"), address(""), address("::1")), (None, None, None));
}

#[test]
fn only_the_routers_of_private_networks_are_asked() {
    for (ip, private) in
        [([10, 0, 0, 1], true), ([192, 168, 0, 1], true), ([100, 64, 0, 1], true), ([100, 128, 0, 1], false), ([8, 8, 8, 8], false)]
    {
        assert_eq!(is_private(ip.into()), private, "{ip:?}");
    }
}
