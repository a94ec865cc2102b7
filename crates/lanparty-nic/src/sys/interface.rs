//! Interfaces by name (netdevice(7)).

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};

use lanparty_proto::MacAddr;

use super::{checked, socket};

/// Longest interface name in bytes, without the terminating zero.
pub(crate) const NAME_LEN_MAX: usize = libc::IFNAMSIZ - 1;

/// What can be an interface's name (`dev_valid_name` of the kernel).
pub(crate) fn is_valid_name(name: &str) -> bool {
    let legal = |b: u8| b != b'/' && b != b':' && b != 0 && !b.is_ascii_whitespace();
    !name.is_empty() && name.len() <= NAME_LEN_MAX && name != "." && name != ".." && name.bytes().all(legal)
}

/// A request about one interface, empty but for its name.
pub(super) fn request(name: &str) -> io::Result<libc::ifreq> {
    if !is_valid_name(name) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: `ifreq` is plain data, for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    Ok(request)
}

/// The name inside a request the kernel has answered.
pub(super) fn name_in(request: &libc::ifreq) -> String {
    // SAFETY: a request starts out zeroed and the kernel terminates names with zero within `IFNAMSIZ`.
    unsafe { CStr::from_ptr(request.ifr_name.as_ptr()) }.to_string_lossy().into_owned()
}

/// A window on the interfaces of one network namespace: that of the thread that opened it, for ever.
#[derive(Debug)]
pub(crate) struct Interfaces {
    socket: OwnedFd,
    /// The table of counters; absent where /proc is not mounted.
    table: Option<File>,
}

/// Column of `/proc/net/dev`, after the name: frames dropped on their way out (`tx_dropped`).
const TX_DROPPED: usize = 11;

impl Interfaces {
    pub(crate) fn open() -> io::Result<Self> {
        // Any family will do; this one is always there, IP may be switched off.
        let socket = socket(libc::AF_UNIX, libc::SOCK_DGRAM)?;
        Ok(Self { socket, table: File::open("/proc/thread-self/net/dev").ok() })
    }

    /// Frames that the interface dropped on their way out; for a TAP, those nobody read in time.
    pub(crate) fn tx_dropped(&self, name: &str) -> Option<u64> {
        let mut table = self.table.as_ref()?;
        let mut text = String::new();
        table.seek(SeekFrom::Start(0)).and_then(|_| table.read_to_string(&mut text)).ok()?;
        let counters = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
        counters.split_ascii_whitespace().nth(TX_DROPPED)?.parse().ok()
    }

    pub(crate) fn index(&self, name: &str) -> io::Result<u32> {
        let answer = self.ask(libc::SIOCGIFINDEX, request(name)?)?;
        // SAFETY: the kernel answered SIOCGIFINDEX, which fills this member.
        Ok(unsafe { answer.ifr_ifru.ifru_ifindex }.cast_unsigned())
    }

    pub(crate) fn name(&self, index: u32) -> io::Result<String> {
        // SAFETY: `ifreq` is plain data, for which all zeros is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_ifru.ifru_ifindex = index.cast_signed();
        self.ask(libc::SIOCGIFNAME, request).map(|answer| name_in(&answer))
    }

    /// In bytes, of IP.
    pub(crate) fn mtu(&self, name: &str) -> io::Result<u32> {
        let answer = self.ask(libc::SIOCGIFMTU, request(name)?)?;
        // SAFETY: the kernel answered SIOCGIFMTU, which fills this member.
        Ok(unsafe { answer.ifr_ifru.ifru_mtu }.cast_unsigned())
    }

    pub(crate) fn set_mtu(&self, name: &str, mtu: u16) -> io::Result<()> {
        let mut request = request(name)?;
        request.ifr_ifru.ifru_mtu = mtu.into();
        self.ask(libc::SIOCSIFMTU, request).map(drop)
    }

    /// `IFF_UP` and its like.
    pub(crate) fn flags(&self, name: &str) -> io::Result<libc::c_int> {
        let answer = self.ask(libc::SIOCGIFFLAGS, request(name)?)?;
        // SAFETY: the kernel answered SIOCGIFFLAGS, which fills this member.
        Ok(unsafe { answer.ifr_ifru.ifru_flags }.into())
    }

    pub(crate) fn set_up(&self, name: &str, up: bool) -> io::Result<()> {
        let before = self.flags(name)?;
        let flags = if up { before | libc::IFF_UP } else { before & !libc::IFF_UP };
        if flags == before {
            // Who may not change it need not, then.
            return Ok(());
        }
        let mut request = request(name)?;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        self.ask(libc::SIOCSIFFLAGS, request).map(drop)
    }

    pub(crate) fn mac(&self, name: &str) -> io::Result<MacAddr> {
        let answer = self.ask(libc::SIOCGIFHWADDR, request(name)?)?;
        // SAFETY: the kernel answered SIOCGIFHWADDR, which fills this member.
        let octets = unsafe { answer.ifr_ifru.ifru_hwaddr }.sa_data;
        Ok(MacAddr(std::array::from_fn(|i| octets[i].cast_unsigned())))
    }

    pub(crate) fn set_mac(&self, name: &str, mac: MacAddr) -> io::Result<()> {
        // SAFETY: `sockaddr` is plain data, for which all zeros is a value.
        let mut address: libc::sockaddr = unsafe { std::mem::zeroed() };
        address.sa_family = libc::ARPHRD_ETHER;
        for (slot, octet) in address.sa_data.iter_mut().zip(mac.0) {
            *slot = octet as libc::c_char;
        }
        let mut request = request(name)?;
        request.ifr_ifru.ifru_hwaddr = address;
        self.ask(libc::SIOCSIFHWADDR, request).map(drop)
    }

    fn ask(&self, what: libc::c_ulong, mut request: libc::ifreq) -> io::Result<libc::ifreq> {
        // SAFETY: every request used above reads and writes one `ifreq`, and keeps no pointer to it.
        checked(unsafe { libc::ioctl(self.socket.as_raw_fd(), what as libc::Ioctl, &raw mut request) })?;
        Ok(request)
    }
}
