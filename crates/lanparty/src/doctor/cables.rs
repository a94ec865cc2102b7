//! What the cables on this machine say of loops.

use lanparty_node::{Ask, Conversation, cable_sockets};
use serde_json::Value;

/// The interfaces of those that carry nothing; `None` where it cannot be seen which run. One that does not answer says nothing.
pub(super) async fn blocked() -> Option<Vec<String>> {
    let mut blocked = vec![];
    for socket in cable_sockets().ok()? {
        let Ok(mut asked) = Conversation::open(&socket, &Ask::Status).await else { continue };
        let Ok(Some(status)) = asked.next().await else { continue };
        let loops = &status["frames"]["loops"];
        if [&loops["blocked"], &loops["blocked_there"]].contains(&&Value::Bool(true)) {
            blocked.extend(status["interface"].as_str().map(str::to_owned));
        }
    }
    Some(blocked)
}
