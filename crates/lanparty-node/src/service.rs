//! What a program owes its service manager, and the rights it gives up once its devices are open.

#[cfg(unix)]
use std::time::Duration;

/// The rights that a program needs as long as it runs. All others are given up when it is [`at_work`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    /// To change its interface, its addresses and its routes, and to open new sockets on interfaces.
    Network,
    /// These, and to write files into directories of others.
    NetworkAndFiles,
    /// To read files of others, as a certificate that is replaced.
    Reading,
    /// None.
    None,
}

/// Says that the devices are open and the work has begun: to systemd, with `status` in words (sd_notify(3)); and gives up every right
/// that is not needed from here on (capabilities(7)). Scripts that are started later get what their user has.
#[cfg(unix)]
pub fn at_work(rights: Rights, status: &str) {
    if let Err(e) = give_up_all_but(rights) {
        tracing::warn!("rights that are not needed are kept: {e}");
    }
    // Nobody may be listening.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(status)]);
}

/// On Windows the service is told elsewhere, and runs with the rights of its account.
#[cfg(not(unix))]
pub const fn at_work(_: Rights, _: &str) {}

#[cfg(target_os = "linux")]
fn give_up_all_but(rights: Rights) -> std::io::Result<()> {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    let needed = match rights {
        Rights::Network => CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW,
        Rights::NetworkAndFiles => CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW | CapabilitySet::DAC_OVERRIDE,
        Rights::Reading => CapabilitySet::DAC_READ_SEARCH,
        Rights::None => CapabilitySet::empty(),
    };
    let mut sets = capabilities(None)?;
    let given_up = sets.permitted - needed;
    sets.permitted &= needed;
    sets.effective &= needed;
    sets.inheritable &= needed;
    set_capabilities(None, sets)?;
    tracing::debug!(kept = ?sets.permitted, ?given_up, "rights that are not needed are given up");
    Ok(())
}

#[cfg(all(unix, not(target_os = "linux")))]
fn give_up_all_but(_: Rights) -> std::io::Result<()> {
    Ok(())
}

/// `program`, with the signs of life that systemd asks for (`WatchdogSec=`): they come from the one thread that does the work, so
/// that they end when it hangs.
#[cfg(unix)]
pub(crate) async fn watched<T>(program: impl Future<Output = T>) -> T {
    let Some(limit) = sd_notify::watchdog_enabled() else { return stopping(program.await) };
    let mut signs = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    let mut program = std::pin::pin!(program);
    loop {
        tokio::select! {
            biased;
            outcome = &mut program => return stopping(outcome),
            _ = signs.tick() => {
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    }
}

#[cfg(unix)]
fn stopping<T>(outcome: T) -> T {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    outcome
}

#[cfg(not(unix))]
pub(crate) async fn watched<T>(program: impl Future<Output = T>) -> T {
    program.await
}
