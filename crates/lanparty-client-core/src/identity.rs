//! Who this machine is to the room: before the relay hears of it, so that what is wrong with it is said first.

use std::path::PathBuf;

use lanparty_node::{Fault, Identity, StateDir, StateFile};
use tracing::{info, warn};

/// Its name in the state directory.
const IDENTITY_FILE: &str = "lanparty-client-identity.json";

/// Loads or makes the identity: from `file`, or from the state directory.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn identity(file: Option<PathBuf>, state_dir: Option<PathBuf>, new: bool) -> Result<(Identity, StateFile), Fault> {
    let path = file.unwrap_or_else(|| StateDir::locate(state_dir).file(IDENTITY_FILE));
    let (identity, saved) = Identity::load_or_create(path.clone(), new)?;
    info!(file = %path.display(), identity = %identity.id(), mac = %identity.mac(), "client identity");
    if let Some(why) = saved.unsaved() {
        warn!("the identity is not saved, so the next run will be another machine to the LAN; trying again: {why}");
    }
    Ok((identity, saved))
}
