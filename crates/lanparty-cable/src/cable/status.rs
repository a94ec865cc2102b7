//! What one end of a cable says of itself to who asks (docs/management.md).

use lanparty_core::FilterReport;
use lanparty_doctor::Finding;
use lanparty_nic::Device;
use lanparty_node::{Api, Ask, BondLink, BondReport, CableReport, Link, Numbers, Request, Topic};
use lanparty_proto::{LanMtu, MacAddr};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Cable, State};

const PROGRAM: &str = "lanparty-cable";

/// How one end of a cable is.
#[derive(Debug, Serialize, JsonSchema)]
struct CableStatus {
    /// The program.
    program: &'static str,
    /// Its version.
    version: &'static str,
    /// Whether the cable is plugged in.
    plugged: bool,
    /// For how long it is, or is not, in seconds.
    since_s: u64,
    /// How often it was plugged in.
    times_plugged: u64,
    /// Why it was unplugged last, in words.
    last_end: Option<String>,
    /// This end's key.
    key: String,
    /// The other end's.
    peer: String,
    /// What runs there.
    peer_software: Option<String>,
    /// What the other end calls itself.
    peer_description: Option<String>,
    /// Where this end listens.
    listen: String,
    /// Where it dials, when it does.
    dials: Option<String>,
    #[serde(flatten)]
    paths: CablePaths,
    /// The interface.
    interface: String,
    /// Its MAC address.
    mac: MacAddr,
    /// The bridge that it is a port of.
    bridge: Option<String>,
    /// One host at each end: no VLAN, switch or server.
    isolated: bool,
    /// What the cable carries, in bytes, while it is plugged in.
    lan_mtu: Option<LanMtu>,
    /// What is wrong with it.
    findings: Vec<Finding>,
    /// What became of its frames.
    frames: CableReport,
    /// What its device counted, in the device's own words.
    device: String,
}

/// By which ways the other end is reached.
#[derive(Debug, Serialize, JsonSchema)]
struct CablePaths {
    /// Where it is.
    remote: Option<String>,
    /// Round-trip time.
    rtt_ms: Option<f64>,
    /// Packets sent to it.
    packets_sent: u64,
    /// How many of them were lost.
    packets_lost: u64,
    /// The uplinks that are used at once, when they are.
    bond: Option<BondReport>,
}

/// What one end of a cable answers.
pub(super) fn api() -> Api {
    Api::of::<CableStatus>(PROGRAM)
        .offering::<CablePaths>(Topic::Paths)
        .offering::<CableReport>(Topic::Counters)
        .offering::<Option<FilterReport>>(Topic::Filters)
        .offering::<()>(Topic::AddUplink)
        .offering::<()>(Topic::RemoveUplink)
        .offering::<()>(Topic::Leave)
}

impl Cable {
    pub(super) fn answer(&mut self, request: Request) {
        match request.ask() {
            Ask::Status => request.send(self.status()),
            Ask::Paths => request.send(self.paths()),
            Ask::Counters => request.send(self.session.driver.report()),
            Ask::Filters => request.send(self.session.driver.report().filter),
            Ask::AddUplink(_) | Ask::RemoveUplink(_) => {
                let changed = request.uplink_change().and_then(|change| self.session.change_uplink(&change).map(|()| change));
                request.say_changed(changed, &self.events);
            }
            Ask::Metrics => {
                let numbers = self.numbers();
                request.send_text(|| numbers.into_text());
            }
            _ => request.refuse(),
        }
    }

    fn status(&mut self) -> CableStatus {
        let (plugged, since) = match self.state {
            State::Plugged { since } => (true, since),
            State::Unplugged { since } => (false, since),
        };
        let paths = self.paths();
        let driver = &mut self.session.driver;
        CableStatus {
            program: PROGRAM,
            version: env!("CARGO_PKG_VERSION"),
            plugged,
            since_s: since.elapsed().as_secs(),
            times_plugged: self.times_plugged,
            last_end: self.last_end.clone(),
            key: self.own.to_hex(),
            peer: self.peer.to_hex(),
            peer_software: driver.theirs().map(|theirs| theirs.software.clone()),
            peer_description: driver.theirs().map(|theirs| theirs.description.to_string()),
            listen: self.listen.to_string(),
            dials: self.args.remote.as_ref().map(ToString::to_string),
            paths,
            interface: self.args.tap_name.clone(),
            mac: self.mac,
            bridge: self.bridge.clone(),
            isolated: self.args.isolate,
            lan_mtu: self.lan_mtu.filter(|_| plugged),
            findings: driver.findings(),
            frames: driver.report(),
            device: format!("{:?}", driver.device().device_ref().stats()),
        }
    }

    fn paths(&self) -> CablePaths {
        let driver = &self.session.driver;
        let (packets_sent, packets_lost) = driver.link().map_or((0, 0), Link::packets);
        CablePaths {
            remote: driver.remote().map(|remote| remote.to_string()),
            rtt_ms: driver.link().and_then(Link::rtt).map(|rtt| rtt.as_secs_f64() * 1e3),
            packets_sent,
            packets_lost,
            bond: driver.link().and_then(Link::bond).map(BondLink::report),
        }
    }

    fn numbers(&self) -> Numbers {
        let mut numbers = Numbers::of(PROGRAM);
        let (frames, paths) = (self.session.driver.report(), self.paths());
        let is_plugged = matches!(self.state, State::Plugged { .. });
        numbers.gauge("plugged", "Whether the cable has another end", &[], f64::from(u8::from(is_plugged)));
        numbers.count("plugs", "How often the cable was plugged in", &[], self.times_plugged);
        if let Some(lan_mtu) = self.lan_mtu.filter(|_| is_plugged) {
            numbers.gauge("lan_mtu_bytes", "Largest IP packet that the cable carries", &[], lan_mtu.bytes().into());
        }
        if let Some(rtt) = paths.rtt_ms {
            numbers.gauge("rtt_seconds", "Round-trip time to the other end", &[], rtt / 1e3);
        }
        numbers.frames("outbound", &frames.outbound);
        numbers.frames("inbound", &frames.inbound);
        numbers.gauge("frames_queued", "Frames that wait for the path", &[], frames.queued as f64);
        if let Some(bond) = &paths.bond {
            bond.add_to(&mut numbers);
        }
        numbers
    }
}
