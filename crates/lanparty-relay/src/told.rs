//! What happens in rooms, as those hear it who listen (docs/management.md).

use lanparty_core::RelayEvent;
use lanparty_node::Event;
use lanparty_proto::MemberInfo;

/// What listeners hear of this; nothing where the log alone is the place for it.
pub(crate) fn told(event: &RelayEvent) -> Option<Event> {
    Some(match event {
        RelayEvent::Accepted { room, member, role, mac, remote, description, .. } => {
            let description = Some(description.clone()).filter(|said| !said.is_empty());
            let info = MemberInfo { id: *member, role: *role, mac: *mac, lan_up: true, path_mtu: None, description };
            Event::MemberJoined { room: room.to_string(), member: info, remote: Some(remote.clone()) }
        }
        RelayEvent::Left { room, member, mac, reason, .. } => {
            Event::MemberLeft { room: room.to_string(), id: *member, mac: Some(*mac), reason: reason.clone() }
        }
        RelayEvent::Refused { room, role, mac, remote, message, .. } => {
            Event::MemberRefused { room: room.to_string(), role: *role, mac: *mac, remote: remote.clone(), reason: message.clone() }
        }
        RelayEvent::Moved { room, member, remote, .. } => {
            Event::MemberMoved { room: room.to_string(), id: *member, remote: remote.clone() }
        }
        RelayEvent::LanMtu { room, mtu, .. } => Event::LanMtu { room: Some(room.to_string()), lan_mtu: *mtu },
        RelayEvent::LanState { room, member, up } => Event::LanState { room: room.to_string(), id: Some(*member), up: *up },
        _ => return None,
    })
}
