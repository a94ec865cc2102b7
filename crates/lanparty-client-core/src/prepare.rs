//! Before the relay hears of us: identity and TAP, so that what is wrong with this machine is said first.

use lanparty_nic::{Tap, TapConfig};
use lanparty_node::{ExitCode, Fault, Identity, StateDir, StateFile};
use lanparty_proto::MacAddr;
use tracing::{info, warn};

use crate::ClientArgs;

const IDENTITY_FILE: &str = "lanparty-client-identity.json";

/// Loads or makes the identity.
pub(crate) fn identity(args: &ClientArgs) -> Result<(Identity, StateFile), Fault> {
    let path = args.identity.clone().unwrap_or_else(|| StateDir::locate(args.member.state_dir.clone()).file(IDENTITY_FILE));
    let (identity, saved) = Identity::load_or_create(path.clone(), args.new_identity)?;
    info!(file = %path.display(), identity = %identity.id(), mac = %identity.mac(), "client identity");
    if let Some(why) = saved.unsaved() {
        warn!("the identity is not saved, so the next run will be another machine to the LAN; trying again: {why}");
    }
    Ok((identity, saved))
}

/// Creates the TAP with its cable unplugged: nothing on this host may use it before there is a LAN behind it.
pub(crate) fn tap(args: &ClientArgs, mac: MacAddr) -> Result<Tap, Fault> {
    let config = TapConfig { name: args.tap_name.clone(), mac: Some(mac), mtu: None };
    let tap = Tap::create(&config)?;
    tap.set_carrier(false).map_err(|e| Fault::new(ExitCode::Unexpected, format!("cannot unplug {}: {e}", args.tap_name), ""))?;
    info!(interface = %args.tap_name, %mac, "prepared TAP adapter {}: MAC {mac} configured and media disconnected before relay connect", args.tap_name);
    Ok(tap)
}
