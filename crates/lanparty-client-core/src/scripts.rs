//! The user's own scripts.

use std::path::Path;
use std::time::Duration;

use lanparty_proto::{LanMtu, MacAddr, RoomCode};
use tokio::process::Command;
use tracing::{info, warn};

/// A script that takes longer than this is ended: it must not keep the room waiting.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a script is told.
#[derive(Clone, Debug)]
pub(crate) struct ScriptFacts {
    pub(crate) interface: String,
    pub(crate) mac: MacAddr,
    pub(crate) lan_mtu: LanMtu,
    pub(crate) room: RoomCode,
}

/// Runs `script` and says what it answered. Its failure stops nothing.
pub(crate) async fn run_script(script: &Path, facts: &ScriptFacts) {
    let mut command = Command::new(script);
    command
        .env("LANPARTY_INTERFACE", &facts.interface)
        .env("LANPARTY_MAC", facts.mac.to_string())
        .env("LANPARTY_MTU", facts.lan_mtu.to_string())
        .env("LANPARTY_ROOM", facts.room.as_str())
        .kill_on_drop(true);
    match tokio::time::timeout(TIMEOUT, command.status()).await {
        Ok(Ok(status)) if status.success() => info!(script = %script.display(), "script done"),
        Ok(Ok(status)) => warn!(script = %script.display(), "script failed: {status}"),
        Ok(Err(e)) => warn!(script = %script.display(), "script cannot be run: {e}; is it executable?"),
        Err(_) => warn!(script = %script.display(), "script ended after {} s", TIMEOUT.as_secs()),
    }
}
