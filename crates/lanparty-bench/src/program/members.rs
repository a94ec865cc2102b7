//! Members of a relay that are there and say nothing, each with a connection of its own: what a crowd's relay has to keep.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use lanparty_node::{Dialer, Identity, JoinError, JoinRequest, Joined, RelayAddress, RelayTrust, Transport};
use lanparty_proto::{MacAddr, Role};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::report;

/// Members that join at the same time.
const AT_ONCE: usize = 32;
/// Many at once on a busy machine: one that was too slow tries again, but not for ever.
const TRIES: u32 = 8;

#[derive(Debug, Clone, Args)]
pub(crate) struct MembersArgs {
    /// The relay
    #[arg(long)]
    relay: RelayAddress,
    /// The name in its certificate
    #[arg(long)]
    server_name: String,
    /// The certificate to trust
    #[arg(long)]
    certificate: PathBuf,
    /// Where the members' identities are made
    #[arg(long)]
    identities: PathBuf,
    /// Number of the first member
    #[arg(long)]
    first: u32,
    /// How many there are
    #[arg(long)]
    count: u32,
    /// Rooms that they are spread over
    #[arg(long)]
    rooms: u32,
}

/// Joins, says how many are there, and stays. The end of one connection is the end of it all: a crowd that shrinks measures nothing.
pub(super) fn run(args: &MembersArgs) -> Result<()> {
    // Each has a socket.
    let files = getrlimit(Resource::Nofile);
    let all = rustix::process::Rlimit { current: files.maximum, ..files };
    setrlimit(Resource::Nofile, all).context("raise the number of sockets")?;
    std::fs::create_dir_all(&args.identities).with_context(|| format!("create {}", args.identities.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    runtime.block_on(stay(Arc::new(args.clone())))
}

async fn stay(args: Arc<MembersArgs>) -> Result<()> {
    let trust = RelayTrust::load(Some(&args.certificate))?;
    let (joined, mut arrivals) = mpsc::unbounded_channel();
    let (gate, mut members) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::<Result<()>>::new());
    for number in args.first..args.first + args.count {
        let (args, trust, joined, gate) = (Arc::clone(&args), trust.clone(), joined.clone(), Arc::clone(&gate));
        members.spawn(async move {
            let pass = gate.acquire_owned().await.context("INVARIANT: the gate is never closed")?;
            let (member, _dialer) = join(&args, trust, number).await?;
            drop(pass);
            let _ = joined.send(());
            Err(anyhow!("member {number} was dropped: {}", member.link.ended().await))
        });
    }
    for _ in 0..args.count {
        tokio::select! {
            Some(()) = arrivals.recv() => {}
            Some(ended) = members.join_next() => return ended.context("a member panicked")?,
        }
    }
    report::print(&format!("{} members are there\n", args.count))?;
    members.join_next().await.context("INVARIANT: there are members")?.context("a member panicked")?
}

/// The dialer owns the socket.
async fn join(args: &MembersArgs, trust: RelayTrust, number: u32) -> Result<(Joined, Dialer)> {
    let (identity, _) = Identity::load_or_create(args.identities.join(format!("{number}.json")), false)?;
    let identity = Arc::new(identity);
    let request = JoinRequest {
        role: Role::Client,
        room: format!("CROWD{}", number % args.rooms).parse().map_err(|error| anyhow!("a room's name: {error}"))?,
        mac: mac(number),
        software: "bench".into(),
        lan_up: true,
        resume: None,
        addresses: None,
    };
    let mut dialer = Dialer::new(args.relay.clone(), Some(args.server_name.clone()), trust).by(Transport::Quic, None, None);
    for _ in 1..TRIES {
        match dialer.join(&identity, &request).await {
            Ok(joined) => return Ok((joined, dialer)),
            Err(JoinError::Unreachable(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => return Err(error).with_context(|| format!("member {number}")),
        }
    }
    let joined = dialer.join(&identity, &request).await.with_context(|| format!("member {number}, tried {TRIES} times"))?;
    Ok((joined, dialer))
}

/// Locally administered, one for each.
fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([0x02, 0, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_apart() {
        assert_ne!(mac(1), mac(256));
        assert_eq!(mac(0x0102_0304).0, [2, 0, 1, 2, 3, 4]);
    }
}
