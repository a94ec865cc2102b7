//! TAP-Windows6 adapters as the registry has them, and which of them is meant.

use lanparty_node::{ExitCode, Fault};
use serde::Serialize;

/// Where Windows keeps the settings of network adapters, one key each below it.
pub const NETWORK_CLASS: &str = r"SYSTEM\CurrentControlSet\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}";
/// Names that the driver's installers give it (ComponentId). OpenVPN's own has the longer one.
const COMPONENT_IDS: [&str; 2] = ["tap0901", r"root\tap0901"];

/// A TAP-Windows6 adapter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TapAdapter {
    /// `{GUID}`: what `--tap-instance-id` takes.
    pub instance_id: String,
    /// As the user sees it in Windows.
    pub name: String,
    /// Its key below [`NETWORK_CLASS`]: `0007`.
    pub class_key: String,
    /// As its installer named it.
    pub component_id: String,
    /// The MAC address that the driver takes when it starts next, as it is written there.
    pub network_address: Option<String>,
}

/// Whether an adapter with this ComponentId is one of ours.
#[must_use]
pub fn is_tap(component_id: &str) -> bool {
    COMPONENT_IDS.iter().any(|known| component_id.eq_ignore_ascii_case(known))
}

/// How the user names an adapter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// By its GUID, which stays.
    Id(String),
    /// As Windows shows it (`tap-name`).
    Name(String),
}

impl Wanted {
    fn is_meant(&self, adapter: &TapAdapter) -> bool {
        let id = |text: &str| text.trim_matches(['{', '}']).to_ascii_uppercase();
        match self {
            Self::Id(wanted) => id(&adapter.instance_id) == id(wanted),
            Self::Name(wanted) => adapter.name.eq_ignore_ascii_case(wanted),
        }
    }
}

/// The adapter that is meant: the only one, or the one asked for.
///
/// # Errors
/// When there is none, or more than one and nobody said which.
pub fn choose(mut adapters: Vec<TapAdapter>, wanted: Option<&Wanted>) -> Result<TapAdapter, Fault> {
    if adapters.is_empty() {
        return Err(Fault::new(
            ExitCode::Permission,
            "this machine has no TAP-Windows6 adapter",
            "install TAP-Windows6 (OpenVPN's installer has it as an option), then start again",
        ));
    }
    if let Some(wanted) = wanted {
        let found = adapters.iter().position(|adapter| wanted.is_meant(adapter));
        return found.map(|at| adapters.swap_remove(at)).ok_or_else(|| {
            let cause = match wanted {
                Wanted::Id(id) => format!("no TAP-Windows6 adapter has the instance id {id}"),
                Wanted::Name(name) => format!("no TAP-Windows6 adapter is called `{name}`"),
            };
            Fault::new(ExitCode::Configuration, cause, "--list-tap-adapters shows those that there are")
        });
    }
    if adapters.len() > 1 {
        let cause = format!("this machine has {} TAP-Windows6 adapters, and one has to be chosen", adapters.len());
        return Err(Fault::new(
            ExitCode::Configuration,
            cause,
            "choose with --tap-name or --tap-instance-id; --list-tap-adapters shows them",
        ));
    }
    Ok(adapters.swap_remove(0))
}

/// What `--list-tap-adapters` prints.
#[must_use]
pub fn listing(adapters: &[TapAdapter]) -> String {
    if adapters.is_empty() {
        return "no TAP-Windows6 adapters\n".to_owned();
    }
    let line = |adapter: &TapAdapter| {
        let TapAdapter { instance_id, name, class_key, component_id, network_address } = adapter;
        let mac = network_address.as_deref().unwrap_or("not set");
        format!("{instance_id}  {name}  driver={component_id} key={class_key} NetworkAddress={mac}\n")
    };
    adapters.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(n: u8) -> TapAdapter {
        TapAdapter {
            instance_id: format!("{{0000000{n}-AAAA-0000-0000-4E6574446576}}"),
            name: format!("TAP {n}"),
            class_key: format!("000{n}"),
            component_id: "tap0901".into(),
            network_address: None,
        }
    }

    #[test]
    fn both_names_of_the_driver_are_known_in_any_case_and_no_other() {
        assert!(["tap0901", r"root\tap0901", r"ROOT\TAP0901", "TAP0901"].into_iter().all(is_tap));
        assert!(!["tap0801", "wintun", r"root\tap0901x", r"pci\ven_8086", ""].into_iter().any(is_tap));
    }

    #[test]
    fn the_only_adapter_is_meant_and_of_several_the_one_that_was_named() {
        assert_eq!(choose(vec![adapter(1)], None).unwrap(), adapter(1));
        let fault = choose(vec![adapter(1), adapter(2)], None).unwrap_err();
        assert!(fault.code == ExitCode::Configuration && fault.advice.contains("--tap-name"), "{fault}");
        for named in ["{00000002-AAAA-0000-0000-4E6574446576}", "00000002-aaaa-0000-0000-4e6574446576"] {
            assert_eq!(choose(vec![adapter(1), adapter(2)], Some(&Wanted::Id(named.into()))).unwrap(), adapter(2));
        }
        assert_eq!(choose(vec![adapter(1), adapter(2)], Some(&Wanted::Name("tap 2".into()))).unwrap(), adapter(2));
        assert!(choose(vec![adapter(1)], Some(&Wanted::Name("TAP 9".into()))).unwrap_err().cause.contains("`TAP 9`"));
        assert_eq!(choose(vec![adapter(1)], Some(&Wanted::Id("{other}".into()))).unwrap_err().code, ExitCode::Configuration);
        assert_eq!(choose(vec![], None).unwrap_err().code, ExitCode::Permission);
    }

    #[test]
    fn a_listing_has_a_line_for_each_and_says_when_there_is_none() {
        assert_eq!(listing(&[]), "no TAP-Windows6 adapters\n");
        let text = listing(&[adapter(1), TapAdapter { network_address: Some("02AABBCCDDEE".into()), ..adapter(2) }]);
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().nth(1).unwrap().ends_with("key=0002 NetworkAddress=02AABBCCDDEE"), "{text}");
    }
}
