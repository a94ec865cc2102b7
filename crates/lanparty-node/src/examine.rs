//! Gathers the facts that `lanparty doctor` judges: of this host, and of the way to a relay. Says nothing itself.

mod approach;
mod host;
mod relay;
mod streams;
#[cfg_attr(windows, path = "examine/system_windows.rs")]
mod system;
mod underlay;
mod witness;

pub(crate) use crate::routes::defaults as default_routes;
pub use host::{examine_host, is_wsl2};
pub use relay::RelayExamination;
pub use underlay::UnderlayFix;
pub(crate) use witness::{Witness, names};

/// The interfaces that have a default route, the preferred first, each once.
///
/// # Errors
/// When the system does not say.
pub(crate) async fn default_interfaces() -> Result<Vec<String>, String> {
    let mut names: Vec<String> = vec![];
    for route in default_routes().await? {
        if !names.contains(&route.interface) {
            names.push(route.interface);
        }
    }
    Ok(names)
}
