//! The life of a relay: start, serve until asked to end, leave nothing behind.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lanparty_core::AddressBook;
use lanparty_node::{
    CertificateSource, Event, ExitCode, Fault, Management, ProbeService, RELAY_DEV_NAME, RelayKeys, RelaySocket, Rights, ServerTls,
    StateDir, StreamIncoming, TrialSeat, at_work, shutdown_requested, start_logging, termination_requested,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::RelayArgs;
use crate::addresses::AddressFile;
use crate::hub::Hub;
use crate::rooms::RoomsFile;
use crate::serve::serve_stream;
use crate::streams::Streams;
use crate::threads::{HALF_OPEN_MAX, Threads};

mod status;

/// How often certificate files and unsaved state are looked at.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(2);
const FAREWELL: &str = "the relay is shutting down";

/// A relay that listens.
pub struct RunningRelay {
    threads: Threads,
    hub: Arc<Hub>,
    keys: RelayKeys,
    tls: ServerTls,
    probes: ProbeService,
    streams: Streams,
    listen: SocketAddr,
    rooms: RoomsFile,
}

/// Runs a relay until it is asked to end.
///
/// # Errors
/// A [`Fault`] in words for the operator.
pub async fn run(args: RelayArgs) -> Result<(), Fault> {
    start_logging(args.log_format);
    args.busy_poll.start();
    let mut relay = RunningRelay::start(&args)?;
    let mut management = Management::open("relay", "", &args.management, status::api(), relay.hub.events())?;
    let has_rooms = relay.rooms.is_there();
    let rights = if args.cert.is_some() || has_rooms { Rights::Reading } else { Rights::None };
    at_work(rights, &format!("listening on {}", relay.listen));
    let mut shutdown = std::pin::pin!(async move { if has_rooms { termination_requested().await } else { shutdown_requested().await } });
    let mut hangup = has_rooms.then(|| signal(SignalKind::hangup()).ok()).flatten();
    let reason = loop {
        tokio::select! {
            reason = &mut shutdown => break reason.unwrap_or("signals cannot be watched"),
            () = next(&mut hangup) => relay.hub.reload_rooms(&relay.rooms),
            () = relay.serve_until_housekeeping(&mut management) => relay.housekeeping(),
        }
    };
    info!("lanparty-relay ending: {reason}");
    relay.hub.events().tell(Event::Ending { reason: reason.to_owned() });
    tokio::join!(relay.threads.close(FAREWELL), relay.streams.close(FAREWELL));
    Ok(())
}

impl RunningRelay {
    /// Loads the state, listens, and says so.
    ///
    /// # Errors
    /// A [`Fault`] in words for the operator.
    pub fn start(args: &RelayArgs) -> Result<Self, Fault> {
        let rooms = args.rooms_file()?;
        let rules = rooms.start()?;
        let dir = StateDir::locate(args.state_dir.clone());
        let mut keys = RelayKeys::load_or_create(&dir)?;
        if let Some(why) = keys.file().unsaved() {
            warn!("keys are not saved, so members will not recognise this relay after a restart; trying again: {why}");
        }
        if let Some(path) = &args.dev_cert_der_out {
            write_certificate(path, &keys)?;
        }
        let (leases, address_file) = AddressFile::load(&dir)?;
        let book = AddressBook::new(args.auto_pool, keys.address_key(), leases);
        let source = match args.certificate_files() {
            Some(files) => CertificateSource::Files(files),
            None => CertificateSource::Development { certificate: keys.certificate().clone(), key: keys.key() },
        };
        let name = if args.cert.is_some() { "as in --cert" } else { RELAY_DEV_NAME };
        let tls = ServerTls::load(source)?;
        let fingerprint = keys.fingerprint().map_or_else(String::new, |f| f.to_string());
        info!(state_dir = %dir.path().display(), server_name = %name, %fingerprint, "lanparty-relay configured for {}/udp", args.listen);
        let sockets = RelaySocket::bind(args.listen, args.threads, &tls, &keys)?;
        let listen = sockets[0].local_addr().map_err(|e| Fault::new(ExitCode::Unexpected, e.to_string(), ""))?;
        let hub = Hub::new(args.config(), rules, (!args.no_bond_test).then(TrialSeat::default), book, address_file);
        let threads = Threads::start(sockets, args.busy_poll, &hub)?;
        info!("lanparty-relay listening on {listen}");
        let probes = ProbeService::listen(listen, args.probe_ports.unwrap_or_default());
        let streams = Streams::listen(args, listen, &tls)?;
        Ok(Self { threads, hub, keys, tls, probes, streams, listen, rooms })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Serves for ever.
    pub async fn serve(&mut self) {
        loop {
            self.serve_until_housekeeping(&mut Management::silent()).await;
            self.housekeeping();
        }
    }

    async fn serve_until_housekeeping(&self, management: &mut Management) {
        let housekeeping = tokio::time::sleep(HOUSEKEEPING_INTERVAL);
        let mut housekeeping = std::pin::pin!(housekeeping);
        // Once: each has room for what comes.
        let mut probes = std::pin::pin!(self.probes.serve());
        loop {
            tokio::select! {
                incoming = self.threads.accept() => match incoming {
                    Some(incoming) => self.threads.admit(incoming),
                    None => return,
                },
                incoming = self.streams.accept() => self.admit_stream(incoming),
                () = tokio::time::sleep(self.hub.until_tick(HOUSEKEEPING_INTERVAL)) => self.hub.tick_if_due(),
                request = management.next() => self.answer(request),
                () = &mut probes => return,
                () = &mut housekeeping => return,
            }
        }
    }

    fn admit_stream(&self, incoming: StreamIncoming) {
        // The TCP handshake has proven the address.
        if self.streams.open_handshakes() < HALF_OPEN_MAX {
            tokio::spawn(serve_stream(incoming, Arc::clone(&self.hub)));
        }
    }

    fn housekeeping(&mut self) {
        self.hub.keep_addresses();
        if self.keys.file().retry() {
            match self.keys.file().unsaved() {
                None => info!("keys are saved now"),
                Some(why) => warn!("keys are still not saved: {why}"),
            }
        }
        match self.tls.reload_if_changed() {
            Some(Ok(())) => info!("certificate reloaded; running connections keep the old one"),
            Some(Err(fault)) => warn!("certificate files changed but cannot be used, the old one stays: {fault}"),
            None => {}
        }
    }
}

/// The next one; never where it means something else.
async fn next(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

fn write_certificate(path: &Path, keys: &RelayKeys) -> Result<(), Fault> {
    std::fs::write(path, keys.certificate()).map_err(|e| {
        let cause = format!("cannot write the certificate to {}: {e}", path.display());
        Fault::new(ExitCode::Configuration, cause, "choose another file with --dev-cert-der-out")
    })
}
