//! What the user's own scripts are told.

use std::path::Path;

use lanparty_proto::{LanMtu, MacAddr, RoomCode};

/// The facts.
#[derive(Clone, Debug)]
pub(crate) struct ScriptFacts {
    pub(crate) interface: String,
    pub(crate) mac: MacAddr,
    pub(crate) lan_mtu: LanMtu,
    pub(crate) room: RoomCode,
}

/// Runs `script`, which must not keep the room waiting. Its failure stops nothing.
pub(crate) async fn run_script(script: &Path, facts: &ScriptFacts) {
    let variables = [
        ("LANPARTY_INTERFACE", facts.interface.clone()),
        ("LANPARTY_MAC", facts.mac.to_string()),
        ("LANPARTY_MTU", facts.lan_mtu.to_string()),
        ("LANPARTY_ROOM", facts.room.to_string()),
    ];
    lanparty_node::run_script(script, &variables).await;
}
