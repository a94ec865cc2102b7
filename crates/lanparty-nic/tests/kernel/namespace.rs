//! A network namespace of its own for every test, and the few commands that furnish it.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lanparty_nic::{Device, Tap, TapConfig};
use lanparty_proto::FrameBatch;

/// Whether this process may make interfaces; says why not.
pub(crate) fn privileged() -> bool {
    // SAFETY: takes nothing, returns a number.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: not root");
        return false;
    }
    let driver = std::path::Path::new("/dev/net/tun").exists();
    if !driver {
        eprintln!("skipped: /dev/net/tun is missing");
    }
    driver
}

/// Runs `test` in a thread with a network namespace of its own, in which `lo` is up and IPv6 starts without delay.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    if !privileged() {
        return;
    }
    if let Err(panic) = spawn_in_namespace(test).join() {
        std::panic::resume_unwind(panic);
    }
}

/// A thread with a network namespace of its own, in which `lo` is up and IPv6 starts without delay.
pub(crate) fn spawn_in_namespace<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(|| {
        // SAFETY: takes no pointers; only this thread moves.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(unshared, 0, "{}", std::io::Error::last_os_error());
        for (name, value) in [("accept_dad", "0"), ("router_solicitations", "0")] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/default/{name}"), value);
        }
        ip("link set lo up");
        work()
    })
}

/// Gives this thread a `/sys` that shows its network namespace, as `ip netns exec` does.
pub(crate) fn with_own_sysfs() {
    // SAFETY: takes no pointers; only this thread moves.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    assert_eq!(unshared, 0, "{}", std::io::Error::last_os_error());
    run("mount --make-rprivate /");
    run("mount -t sysfs none /sys");
}

/// `ip …` in the namespace of this thread.
#[track_caller]
pub(crate) fn ip(arguments: &str) {
    run(&format!("ip {arguments}"));
}

#[track_caller]
fn run(command: &str) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A TAP that is up and has an address of 10.9.0.0/24.
pub(crate) fn tap(name: &str, address: Ipv4Addr) -> Tap {
    let tap = Tap::create(&TapConfig { name: name.to_owned(), ..TapConfig::default() }).expect("a TAP");
    tap.set_up(true).expect("up");
    ip(&format!("address add {address}/24 dev {name}"));
    tap
}

/// Waits until the device is readable, at most `timeout`.
pub(crate) fn readable(device: &impl AsFd, timeout: Duration) -> bool {
    let mut poll = libc::pollfd { fd: device.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one `pollfd`, as the count says.
    unsafe { libc::poll(&raw mut poll, 1, timeout.as_millis() as libc::c_int) > 0 }
}

/// Frames that arrive within `timeout`, until one satisfies `wanted`, which is returned.
pub(crate) fn wait_for(device: &mut impl Device, timeout: Duration, mut wanted: impl FnMut(&[u8]) -> bool) -> Option<Vec<u8>> {
    let until = Instant::now() + timeout;
    let mut batch = FrameBatch::new();
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if readable(device, left) {
            let _ = device.recv_batch(&mut batch);
        }
        while let Some(frame) = batch.pop() {
            let frame = &frame[FrameBatch::HEADROOM..];
            if wanted(frame) {
                return Some(frame.to_vec());
            }
        }
    }
    None
}
