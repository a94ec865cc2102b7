//! Multicast in the status: what passes, what this host listens to, and which groups did not pass.

use serde_json::Value;

use super::{array, text};

pub(super) fn in_words(multicast: &Value, out: &mut String) {
    if multicast.is_null() {
        return;
    }
    let mut line = format!("    multicast: {}", text(&multicast["policy"]));
    if multicast["own"] != "all" {
        line.push_str(&format!(" (the room's is {})", multicast["room"].as_str().unwrap_or("not known")));
    }
    if let Some(joined) = multicast["joined"].as_array() {
        let all: Vec<_> = joined.iter().map(text).collect();
        line.push_str(&format!("; joined: {}", if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }));
    }
    for (words, key) in [("not sent", "not_sent"), ("not let in", "not_received")] {
        let all: Vec<_> = array(&multicast[key]).iter().map(|one| format!("{} ({} frames)", text(&one["group"]), one["frames"])).collect();
        if !all.is_empty() {
            line.push_str(&format!("; {words}: {}", all.join(", ")));
        }
    }
    out.push_str(&line);
    out.push('\n');
}

/// What a member of the relay listens to.
pub(super) fn groups_in_words(groups: &Value, out: &mut String) {
    let all: Vec<_> = array(groups).iter().map(text).collect();
    if !all.is_empty() {
        out.push_str(&format!("      multicast groups: {}\n", all.join(", ")));
    }
}
