//! The addresses that a gateway gives to machines on its LAN, in words.

use serde_json::Value;

use super::{array, text};

pub(super) fn in_words(dhcp: &Value, out: &mut String) {
    if dhcp.is_null() {
        return;
    }
    let state = match (dhcp["serves"].as_bool(), dhcp["because"].as_str()) {
        (Some(true), _) => "machines on the LAN get addresses of the room's".to_owned(),
        (_, because) => format!("nobody is answered: {}", because.unwrap_or("-")),
    };
    out.push_str(&format!("    DHCP: {state}\n"));
    for lease in array(&dhcp["leases"]) {
        out.push_str(&format!("      {} {} for {} s\n", text(&lease["mac"]), text(&lease["address"]), lease["seconds_left"]));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_has_which_address_is_said_or_why_nobody_gets_one() {
        let mut out = String::new();
        in_words(
            &json!({"serves": true, "leases": [{"mac": "98:b6:e9:00:00:07", "address": "10.128.5.77", "seconds_left": 512}]}),
            &mut out,
        );
        in_words(&json!({"serves": false, "because": "this LAN has a DHCP server already", "leases": []}), &mut out);
        in_words(&Value::Null, &mut out);
        assert_eq!(
            out,
            "    DHCP: machines on the LAN get addresses of the room's\n      98:b6:e9:00:00:07 10.128.5.77 for 512 s\n    DHCP: nobody is answered: this LAN has a DHCP server already\n"
        );
    }
}
