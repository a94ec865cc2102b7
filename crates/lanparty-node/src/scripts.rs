//! The user's own scripts.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use tracing::{info, warn};

/// A script that takes longer than this is ended.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs `script` with these variables in its environment, and says what it answered. Its failure stops nothing.
pub async fn run_script(script: &Path, variables: &[(&str, String)]) {
    let mut command = Command::new(script);
    command.envs(variables.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
    match tokio::time::timeout(TIMEOUT, command.status()).await {
        Ok(Ok(status)) if status.success() => info!(script = %script.display(), "script done"),
        Ok(Ok(status)) => warn!(script = %script.display(), "script failed: {status}"),
        Ok(Err(e)) => warn!(script = %script.display(), "script cannot be run: {e}; is it executable?"),
        Err(_) => warn!(script = %script.display(), "script ended after {} s", TIMEOUT.as_secs()),
    }
}
