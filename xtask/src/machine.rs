//! What the lab needs of this machine: installed when we are root, asked for in words when we are not.
//!
//! Without root, a user namespace of our own serves where the kernel allows it: inside, we may make networks, and only there.

use std::process::Command;

use anyhow::Result;
/// Read by whoever runs the products: where they are.
#[cfg(target_os = "linux")]
pub(crate) use lanparty_lab::BIN_DIR_VARIABLE;
#[cfg(target_os = "linux")]
use lanparty_lab::Requirements;

#[cfg(target_os = "linux")]
use crate::report::say;

/// Where there is no lab nobody reads it.
#[cfg(not(target_os = "linux"))]
pub(crate) const BIN_DIR_VARIABLE: &str = "LANPARTY_BIN_DIR";

/// How programs that make networks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// As they are: we are root.
    Own,
    /// In a user namespace. Real-time priority is refused there, so wires may be late.
    UserNamespace,
}

/// Becomes root of an empty network, with a `/run` of its own for the names of the namespaces, and then the program itself.
const ENTER: &str = "mount -t tmpfs tmpfs /run && ip link set dev lo up && exec \"$0\" \"$@\"";
/// Can namespaces and TAPs be made there?
#[cfg(target_os = "linux")]
const TRY: &str = "ip netns add try && ip -n try tuntap add dev t mode tap";

impl Ground {
    /// The same command, on this ground.
    pub(crate) fn enter(self, command: Command) -> Command {
        if self == Self::Own {
            return command;
        }
        let mut entering = Command::new("unshare");
        entering
            .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", ENTER])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => entering.env(key, value),
                None => entering.env_remove(key),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            entering.current_dir(dir);
        }
        entering
    }
}

/// Makes the lab of the tests possible, with everything that any of them asks for.
#[cfg(target_os = "linux")]
pub(crate) fn prepare_lab(task: &str) -> Result<Ground> {
    prepare(&Requirements::everything(), task)
}

/// Makes the LAN party of the demo possible.
#[cfg(target_os = "linux")]
pub(crate) fn prepare_party(task: &str) -> Result<Ground> {
    prepare(&Requirements::party(), task)
}

#[cfg(target_os = "linux")]
fn prepare(requirements: &Requirements, task: &str) -> Result<Ground> {
    let Err(missing) = requirements.ready() else { return Ok(Ground::Own) };
    say(&format!("==> preparing this machine: {missing}"));
    if let Err(error) = requirements.install_missing() {
        anyhow::bail!("{error:#}");
    }
    let Err(missing) = requirements.ready() else { return Ok(Ground::Own) };
    if running_as_root() {
        let needs = "CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_NICE and /dev/net/tun";
        anyhow::bail!("{missing}\n  this root may not make networks: in a container, give it {needs}");
    }
    if user_namespace_serves() {
        say("    not root: a user namespace serves instead; wires may be late in it, as it has no real-time priority");
        return Ok(Ground::UserNamespace);
    }
    anyhow::bail!("{missing}\n  no user namespace serves here either; run: sudo env \"PATH=$PATH\" cargo xtask {task}")
}

#[cfg(target_os = "linux")]
fn user_namespace_serves() -> bool {
    let mut attempt = Command::new("sh");
    attempt.args(["-c", TRY]);
    Ground::UserNamespace.enter(attempt).output().is_ok_and(|output| output.status.success())
}

#[cfg(target_os = "linux")]
fn running_as_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The lab is made of Linux' network namespaces.
#[cfg(not(target_os = "linux"))]
pub(crate) fn prepare_lab(task: &str) -> Result<Ground> {
    anyhow::bail!("`cargo xtask {task}` needs Linux: the lab is made of its network namespaces")
}

/// The demo, too.
#[cfg(not(target_os = "linux"))]
pub(crate) fn prepare_party(task: &str) -> Result<Ground> {
    prepare_lab(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_its_words_variables_and_place() {
        let mut command = Command::new("demo");
        command.args(["--plain", "two words"]).env("KEY", "value").current_dir("/tmp");
        let entering = Ground::UserNamespace.enter(command);
        let args: Vec<_> = entering.get_args().skip(7).collect();
        assert_eq!(args, ["demo", "--plain", "two words"]);
        assert_eq!(entering.get_envs().count(), 1);
        assert_eq!(entering.get_current_dir(), Some(std::path::Path::new("/tmp")));
        assert_eq!(Ground::Own.enter(Command::new("demo")).get_program(), "demo");
    }
}
