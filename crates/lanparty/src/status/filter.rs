//! A traffic filter in the status: what decided, and how often.

use serde_json::Value;

use super::{array, text};

/// Rules that are shown: those that decided most often.
const RULES_SHOWN: usize = 20;

/// Frames that the filter judged, by what decided: out of the device, and into it.
pub(super) fn in_words(filter: &Value, out: &mut String) {
    if filter.is_null() {
        return;
    }
    let rules = array(&filter["rules"]);
    out.push_str(&format!("      filter: {} rules; default {}: {}", rules.len(), text(&filter["default"]), hits(&filter["default_hits"])));
    for (name, key) in [("ARP and ND", "neighbours"), ("unreadable", "unreadable"), ("fragments without a first", "fragments")] {
        if total(&filter[key]) > 0 {
            out.push_str(&format!("; {name}: {}", hits(&filter[key])));
        }
    }
    out.push('\n');
    let mut used: Vec<_> = (1..).zip(rules).filter(|(_, rule)| total(&rule["hits"]) > 0).collect();
    used.sort_by_key(|(number, rule)| (std::cmp::Reverse(total(&rule["hits"])), *number));
    for (number, rule) in used.iter().take(RULES_SHOWN) {
        let name = rule["name"].as_str().map_or_else(String::new, |name| format!(" ({name})"));
        out.push_str(&format!("        rule {number}{name} {}: {}\n", text(&rule["rule"]), hits(&rule["hits"])));
    }
    let others = used.len().saturating_sub(RULES_SHOWN);
    if others > 0 {
        out.push_str(&format!("        {others} more have decided; --json has them\n"));
    }
}

fn hits(both: &Value) -> String {
    format!("{} out, {} in", both[0], both[1])
}

fn total(both: &Value) -> u64 {
    [&both[0], &both[1]].into_iter().filter_map(Value::as_u64).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_are_told_by_how_often_they_decided() {
        let rule = |name: Option<&str>, hits: [u64; 2]| json!({ "name": name, "rule": "any,any,UDP+", "hits": hits });
        let filter = json!({
            "rules": [rule(None, [0, 0]), rule(Some("game"), [1, 2]), rule(None, [9, 0])],
            "default": "drop", "default_hits": [4, 5], "neighbours": [1, 1], "unreadable": [0, 0], "fragments": [0, 0],
        });
        let mut out = String::new();
        in_words(&filter, &mut out);
        assert_eq!(
            out,
            "      filter: 3 rules; default drop: 4 out, 5 in; ARP and ND: 1 out, 1 in\n        \
             rule 3 any,any,UDP+: 9 out, 0 in\n        rule 2 (game) any,any,UDP+: 1 out, 2 in\n"
        );
        out.clear();
        in_words(&Value::Null, &mut out);
        assert!(out.is_empty(), "without a filter there is no line");
    }
}
