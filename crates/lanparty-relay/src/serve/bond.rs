//! Connections that are paths of one link.

use std::sync::Arc;

use lanparty_node::{BondPathUp, ControlReader, ControlWriter, Link};
use lanparty_proto::{Attach, Control, IdentityId, Refusal};
use tracing::{debug, info};

use super::{REFUSAL_LINGER, settle};
use crate::hub::Hub;

/// The link of a connection whose first message this is: when further connections are announced, one that they can join.
pub(super) fn over(
    first: &Control,
    link: Link,
    control: (ControlReader, ControlWriter),
    hub: &Hub,
) -> (Link, ControlReader, ControlWriter) {
    match first {
        Control::Hello(hello) if hello.run != 0 => match hello.bond {
            Some(bond) => BondPathUp { bond, name: name_of(&link), link, control, heard: 0, pair: None }.into_bond(hub.bond_tests()),
            None => (link, control.0, control.1),
        },
        _ => (link, control.0, control.1),
    }
}

/// Lets a connection become a path of its member's link, or says why it may not.
pub(super) async fn attach(
    wanted: Attach,
    link: Link,
    identity: IdentityId,
    (control_in, mut control_out): (ControlReader, ControlWriter),
    hub: &Arc<Hub>,
) {
    let bonded = match hub.attach(identity, &wanted) {
        Ok(bonded) => bonded,
        Err((code, message)) => {
            debug!(name = %name_of(&link), ?code, "no path: {message}");
            return refuse(&link, &mut control_out, code, message).await;
        }
    };
    settle(&link, wanted.budget).await;
    let Some(bond) = bonded.bond() else { return link.close("this member is on one path") };
    if control_out.send(&Control::Attached { heard: bond.heard() }).await.is_err() {
        return;
    }
    let name = name_of(&link);
    let path = BondPathUp {
        bond: wanted.bond,
        name: name.clone(),
        link: link.clone(),
        control: (control_in, control_out),
        heard: wanted.heard,
        pair: None,
    };
    match bond.attach(path) {
        Ok(()) => {
            bond.tell_where_seen();
            info!(room = %wanted.room, path = wanted.bond.path, remote = %name, "a member has another path");
        }
        Err(ended) => link.close(&ended.reason),
    }
}

async fn refuse(link: &Link, control_out: &mut ControlWriter, code: Refusal, message: String) {
    let reason = message.clone();
    if control_out.send(&Control::Refused { code, message }).await.is_ok() {
        control_out.finish();
        // The member closes when it has read the refusal.
        let _ = tokio::time::timeout(REFUSAL_LINGER, link.ended()).await;
    }
    link.close(&reason);
}

fn name_of(link: &Link) -> String {
    link.remote_address().map_or_else(|| "?".to_owned(), |address| address.to_string())
}
