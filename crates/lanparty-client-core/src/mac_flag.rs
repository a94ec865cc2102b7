//! A virtual MAC address of the user's own choice.

use lanparty_node::{ExitCode, Fault};
use lanparty_proto::MacAddr;

/// The chosen address, when it may be a machine's: a manufacturer's only when the user insists.
///
/// # Errors
/// Why not.
pub(crate) fn check_mac(mac: MacAddr, allow_global: bool) -> Result<MacAddr, Fault> {
    let wrong = |cause: String, advice: String| Err(Fault::new(ExitCode::Configuration, cause, advice));
    if !mac.is_valid_source() {
        let what = if mac.is_group() { "a group of machines" } else { "nobody" };
        return wrong(format!("--mac {mac} stands for {what}, not for one machine"), "choose one such as 02:12:34:56:78:9a".to_owned());
    }
    if !mac.is_locally_administered() && !allow_global {
        let local = MacAddr::locally_administered(mac.0);
        let advice = format!("take {local}, or say --allow-global-mac when that machine is this one");
        return wrong(format!("--mac {mac} is of a manufacturer's range, so another machine may have it"), advice);
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_address_is_one_machines_and_of_no_manufacturer() {
        let check = |text: &str, allow| check_mac(text.parse().unwrap(), allow).map_err(|fault| fault.to_string());
        assert!(check("02:12:34:56:78:9a", false).is_ok() && check("00:12:34:56:78:9a", true).is_ok());
        for (text, allow, why) in [
            ("ff:ff:ff:ff:ff:ff", true, "a group of machines"),
            ("01:00:5e:00:00:fb", true, "a group of machines"),
            ("00:00:00:00:00:00", true, "stands for nobody"),
            ("00:12:34:56:78:9a", false, "take 02:12:34:56:78:9a, or say --allow-global-mac"),
        ] {
            assert!(check(text, allow).is_err_and(|error| error.contains(why)), "{text}");
        }
    }
}
