//! Links over QUIC, and what every program of lanparty needs around them: identity, state files, drivers, logs,
//! management.
//!
//! What a frame may do is decided in `lanparty-core`; this crate moves bytes and keeps time.

mod alarm;
mod allocator;
mod bond;
mod busy_poll;
mod cable;
mod cipher;
mod control;
mod device;
mod driver;
mod endpoint;
mod examine;
mod fault;
mod filter;
mod flags;
mod identity;
mod introduction;
mod link;
#[cfg_attr(windows, path = "local_windows.rs")]
mod local;
mod logging;
mod management;
mod member_events;
mod member_status;
mod membership;
mod name;
mod path_watch;
mod peers;
mod pin;
mod port_mapping;
mod print;
mod probe;
mod relay_endpoint;
mod relay_keys;
#[cfg_attr(windows, path = "examine/routes_windows.rs")]
mod routes;
mod scripts;
mod service;
mod session;
mod shutdown;
mod sizing;
mod state;
mod stream;
mod tls;
mod toml_file;
mod trust;
mod uplink;
#[cfg(windows)]
mod uplink_windows;

pub use bond::{
    AbsentUplink, BOND_PATHS_MAX, BondLink, BondPathUp, BondReport, Captures, NotChanged, PathReport, PlannedUplinks, SharedAddress,
    TrialSeat, UplinkChange, UplinkPlan, UplinkReport, UseBook,
};
pub use busy_poll::BusyPoll;
pub use cable::{CableDriver, CableEndpoint, CableEvent, CablePlan, CableReport, CableSession};
pub use control::{ControlReader, ControlWriter};
pub use device::{AsyncDevice, Written};
pub use driver::{DriverEvent, DriverReport, MemberDriver, Side, warn_of_gateway};
pub use endpoint::CongestionControl;
pub use examine::{RelayExamination, UnderlayFix, examine_host, is_wsl2};
pub use fault::{ExitCode, Fault, block_on, serve};
pub use filter::{FilterFlags, PacketWords, parse_packet};
pub use flags::{BondFlags, MemberFlags};
pub use identity::Identity;
pub use introduction::{IntroductionFlags, describe, warn_of_description};
pub use lanparty_core::{Filter, FilterRules, Judgement, Redundancy, Verdict, Why};
pub use link::{Draining, LINK_DEAD_AFTER, Link, LinkEnded, Outbox, RECV_BATCH, SendOutcome, fair_queue};
pub use local::is_answered;
pub use logging::{LogFormat, every_frame_is_logged, start_logging, start_logging_into};
pub use management::{
    API_VERSION, AddUplinkAsk, Answers, Api, Ask, BondTestAsk, Conversation, Event, Events, LogLevelAsk, Management, ManagementFlags,
    MembersAsk, Numbers, PingAsk, RemoveUplinkAsk, Request, RouteAsk, Texts, Topic, cable_sockets, call, listen, member_sockets,
    program_at, query_all, sockets,
};
pub use member_events::{Conditions, MemberEvents};
pub use member_status::{MemberStatus, member_api};
pub use membership::{Behind, BondPlan, Dialer, JoinError, JoinRequest, Joined, StandbyLine, Transport};
pub use name::{CABLE_PORT, CableAddress, RelayAddress, software};
pub use path_watch::PathWatch;
pub use peers::PeerReport;
pub use port_mapping::OpenedPort;
pub use print::print;
pub use probe::{ProbePorts, ProbeReport, ProbeService};
pub use relay_endpoint::{Incoming, RELAY_THREADS_MAX, RelayEndpoint, RelaySocket};
pub use relay_keys::{RELAY_DEV_NAME, RelayKeys};
pub use scripts::run_script;
pub use service::{Rights, at_work};
pub use session::{Session, SessionEvent, WayReport};
pub use shutdown::{end_only_when_requested, request_shutdown, shutdown_requested, termination_requested};
pub use sizing::{DeviceLimit, PmtuDiscovery, Sizing, parse_lan_mtu};
pub(crate) use state::system_runtime_dirs;
pub use state::{StateDir, StateError, StateFile, runtime_dir};
pub use stream::{Proxy, StreamIncoming, StreamLink, StreamListener, StreamTarget, StreamWay, dial_stream};
pub use tls::{CertificateFiles, CertificateSource, ServerTls};
pub use toml_file::{TomlProblem, TomlReader, TomlValue, unknown_word};
pub use trust::RelayTrust;
pub use uplink::{addresses_of, ipv4_addresses, ipv4_networks, may_bind_sockets, own_address};
