//! Ordinary web servers and proxies between a member and its relay: Debian's nginx in front of the relay, Debian's tinyproxy in front of
//! the member.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lanparty_lab::{Internet, LAN, Namespace, Narrow, Party, PartyOptions, Proc, Program, Requirements, Routers, Tool, Uplink, ping};
use support::flow::transfer;
use support::{Evening, RELAY, ROOM, SOON, TAP, alone, eventually, promised};

const NAME: &str = "relay.example.net";
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 99);
/// The proxy's place on the internet.
const PROXY: u8 = 40;
const PROXY_PORT: u16 = 8888;

/// Relay and gateway, and a client behind a router that passes what `rules` say.
struct Office {
    evening: Evening,
    trust: String,
    _running: Vec<Proc>,
}

impl Office {
    fn new(name: &str, relay: &[&str], rules: &[&str]) -> Self {
        let evening = Evening::with(name, &PartyOptions::default());
        let party = &evening.party;
        let narrow = Narrow::put_before(&party.lab, &party.internet, &party.home, Party::HOME.octets()[3]).unwrap();
        narrow.set_routers(Routers::Silent).unwrap();
        narrow.set_filter(rules).unwrap();
        let dir = evening.dir(&party.relay);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
        fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
        let trust = dir.join("cert.pem").display().to_string();
        let relay = evening.program(&party.relay, "lanparty-relay").args(["--open", "--cert", "cert.pem", "--key", "key.pem"]).args(relay);
        let relay = party.relay.spawn(relay).unwrap();
        relay.wait_for("lanparty-relay listening on", SOON).unwrap();
        let office = Self { trust, _running: vec![relay], evening };
        let gateway = office.member(&office.evening.party.gateway, &["gateway", "--interface", LAN]);
        promised(&gateway, "lanparty-gateway bridging frames");
        Self { _running: office._running.into_iter().chain([gateway]).collect(), ..office }
    }

    fn member(&self, host: &Namespace, words: &[&str]) -> Proc {
        let options = ["--relay", RELAY, "--server-name", NAME, "--relay-ca-cert", &self.trust, "--room", ROOM];
        host.spawn(self.evening.program(host, "lanparty").named(words[0]).args([words[0]]).args(options).args(&words[1..])).unwrap()
    }

    /// Joins, and carries a file both ways.
    fn plays(&self, what: &str, words: &[&str]) {
        let (home, pc) = (&self.evening.party.home, self.evening.party.pc(1));
        let started = Instant::now();
        let client = self.member(home, &[&["client", "--tap-name", TAP], words].concat());
        promised(&client, "TAP is up");
        home.run(&["ip", "addr", "add", &format!("{CLIENT}/24"), "dev", TAP]).unwrap();
        eventually("a frame comes back", || ping(home, Party::pc_address(1), 1).is_ok_and(|stats| stats.received == 1));
        println!("{what}: first frame after {:.2} s", started.elapsed().as_secs_f64());
        transfer(home, pc, Party::pc_address(1), 2_000_000);
        transfer(pc, home, CLIENT, 2_000_000);
        assert_eq!(self.evening.status(home)["way"]["carrier"], "stream", "{what}");
        client.sigterm();
        assert_eq!(client.exit_code(SOON).unwrap(), 0);
    }
}

#[test]
fn a_relay_behind_an_ordinary_web_server() {
    if !Requirements::party().and(&[Tool::Nft, Tool::Nginx]).ready_or_skip() {
        return;
    }
    let _alone = alone();
    let relay = ["--listen-tls", "off", "--listen-plain", "127.0.0.1:8081", "--public-name", NAME];
    let office = Office::new("webserver", &relay, &["tcp dport 443 accept", "tcp sport 443 accept", "drop"]);
    let host = &office.evening.party.relay;
    let dir = office.evening.dir(host);
    let config = format!(
        "daemon off; pid {0}/nginx.pid; error_log stderr; worker_processes 1; user root;
        events {{ worker_connections 64; }}
        http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
          server {{ listen 443 ssl; server_name {NAME}; ssl_certificate {0}/cert.pem; ssl_certificate_key {0}/key.pem;
            location / {{ return 200 'a web site'; }}
            location /lanparty/ {{ proxy_pass http://127.0.0.1:8081; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
              proxy_set_header Connection upgrade; proxy_set_header X-Forwarded-For $remote_addr; proxy_read_timeout 1h; }} }} }}",
        dir.display()
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    let nginx = host.spawn(Program::new("nginx").args(["-e", "stderr", "-c"]).arg(dir.join("nginx.conf"))).unwrap();
    eventually("nginx listens", || host.run(&["ss", "-Hltn", "sport = :443"]).is_ok_and(|listening| listening.stdout.contains(":443")));
    office.plays("behind nginx", &["--relay-tls", "10.99.0.1:443"]);
    assert!(nginx.running(), "{}", nginx.tail());
}

#[test]
fn a_member_behind_an_http_proxy() {
    if !Requirements::party().and(&[Tool::Nft, Tool::Tinyproxy]).ready_or_skip() {
        return;
    }
    let _alone = alone();
    let proxy = Internet::address(PROXY);
    let rules = [
        format!("ip daddr {proxy} tcp dport {PROXY_PORT} accept"),
        format!("ip saddr {proxy} tcp sport {PROXY_PORT} accept"),
        "drop".into(),
    ];
    let office = Office::new("proxy", &[], &rules.each_ref().map(String::as_str));
    let party = &office.evening.party;
    let host = party.lab.namespace("proxy").unwrap();
    party.internet.attach(&party.lab, &host, PROXY, &Uplink::default()).unwrap();
    let config = office.evening.dir(&host).join("tinyproxy.conf");
    let words = format!(
        "User root\nGroup root\nPort {PROXY_PORT}\nListen {proxy}\nTimeout 600\nMaxClients 20\nConnectPort 8443\nBasicAuth player secret\n"
    );
    fs::write(&config, words).unwrap();
    let running = host.spawn(Program::new("tinyproxy").args(["-d", "-c"]).arg(&config)).unwrap();
    eventually("the proxy listens", || host.run(&["ss", "-Hltn"]).is_ok_and(|listening| listening.stdout.contains(":8888")));
    office.plays("through tinyproxy", &["--proxy", &format!("http://player:secret@{proxy}:{PROXY_PORT}")]);
    // What the proxy does not let in is said in words.
    let refused = office.member(&party.home, &["client", "--connect-timeout", "6", "--proxy", &format!("http://{proxy}:{PROXY_PORT}")]);
    assert_ne!(refused.exit_code(Duration::from_secs(20)).unwrap(), 0);
    let said = refused.tail();
    println!("{}", said.lines().last().unwrap_or_default());
    assert!(said.contains("proxy") && said.contains("password"), "{said}");
    assert!(running.running(), "{}", running.tail());
}
