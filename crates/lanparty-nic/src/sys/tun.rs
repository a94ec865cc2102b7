//! The TUN/TAP driver (Documentation/networking/tuntap.rst).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::checked;
use super::interface::{name_in, request};

const ATTACH_FLAGS: libc::c_int = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;

/// Attaches an open `/dev/net/tun` to the TAP `name`, creating it where there is none, and gives back its name.
pub(crate) fn attach_tap(fd: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = ATTACH_FLAGS as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, and keeps no pointer to it.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    Ok(name_in(&request))
}

/// Whether the attached interface stays when nobody holds it.
pub(crate) fn is_persistent(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut answer = request("x")?;
    // SAFETY: TUNGETIFF writes one `ifreq`, and keeps no pointer to it.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF, &raw mut answer) })?;
    // SAFETY: the kernel answered TUNGETIFF, which fills this member.
    Ok(libc::c_int::from(unsafe { answer.ifr_ifru.ifru_flags }) & libc::IFF_PERSIST != 0)
}

/// Bytes of the virtio-net header in front of every frame.
pub(crate) fn set_vnet_hdr_len(fd: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    set_int(fd, libc::TUNSETVNETHDRSZ, len as libc::c_int)
}

/// Which super-frames the kernel may hand over (`TUN_F_*`).
pub(crate) fn set_offloads(fd: BorrowedFd<'_>, offloads: libc::c_uint) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) }).map(drop)
}

/// Whether the interface reports a carrier, as if its cable were plugged in.
pub(crate) fn set_carrier(fd: BorrowedFd<'_>, carrier: bool) -> io::Result<()> {
    set_int(fd, libc::TUNSETCARRIER, carrier.into())
}

fn set_int(fd: BorrowedFd<'_>, what: libc::Ioctl, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the requests passed here read one `int`, and keep no pointer to it.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), what, &raw const value) }).map(drop)
}
