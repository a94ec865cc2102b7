//! AF_PACKET (packet(7)): messages with a virtio-net header and auxiliary data, many per call.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::socket::{OptionValue, option, set_option};
use super::{checked, socket};

/// `struct tpacket_auxdata` (linux/if_packet.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Auxdata {
    pub(crate) status: u32,
    len: u32,
    snaplen: u32,
    mac: u16,
    net: u16,
    pub(crate) vlan_tci: u16,
    pub(crate) vlan_tpid: u16,
}

/// `struct packet_mreq` (linux/if_packet.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct Membership {
    index: libc::c_int,
    kind: libc::c_ushort,
    address_len: libc::c_ushort,
    address: [u8; 8],
}
// SAFETY: `repr(C)`, 4 + 2 + 2 + 8 bytes without padding, integers only.
unsafe impl OptionValue for Membership {}

/// `struct tpacket_stats` (linux/if_packet.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Statistics {
    packets: u32,
    drops: u32,
}
// SAFETY: `repr(C)`, two integers of 4 bytes.
unsafe impl OptionValue for Statistics {}

/// Bytes of ancillary data asked for with each message: one [`Auxdata`] and its header.
const CONTROL_LEN: usize = 64;

/// A socket that receives nothing yet: protocol 0, so that no frame of another interface gets in before [`bind`].
pub(crate) fn open() -> io::Result<OwnedFd> {
    socket(libc::AF_PACKET, libc::SOCK_RAW)
}

/// Puts the virtio-net header in front of every message, and auxiliary data beside it; sees frames for any address.
pub(crate) fn configure(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    set_option(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1)?;
    set_option(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
    let promiscuous = Membership { index: index.cast_signed(), kind: libc::PACKET_MR_PROMISC as u16, address_len: 0, address: [0; 8] };
    set_option(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)
}

/// Starts receiving every protocol from one interface.
pub(crate) fn bind(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` is plain data, for which all zeros is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: `address` is readable for `len` bytes, and the kernel keeps no pointer to it.
    checked(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) }).map(drop)
}

/// Frames that found the receive buffer full since the last call.
pub(crate) fn take_drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    option(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, Statistics::default()).map(|s| s.drops)
}

/// One received message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    /// Bytes, or `None` when the buffer was too small for it.
    pub(crate) len: Option<usize>,
    pub(crate) auxdata: Auxdata,
    /// On its way out of this host: sent by the host itself, or by a raw socket on it.
    pub(crate) is_outgoing: bool,
}

/// Receives up to `N` messages, each into its own buffer, without waiting.
pub(crate) fn receive<const N: usize>(
    fd: BorrowedFd<'_>,
    buffers: &mut [Box<[u8]>; N],
    out: &mut [Option<Received>; N],
) -> io::Result<usize> {
    // Aligned like `cmsghdr`, whose first field is a machine word.
    let mut controls = [[0u64; CONTROL_LEN / 8]; N];
    // SAFETY: `sockaddr_ll` is plain data, for which all zeros is a value.
    let mut addresses: [libc::sockaddr_ll; N] = unsafe { std::mem::zeroed() };
    let mut iovecs = buffers.each_mut().map(|b| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() });
    let mut messages: [libc::mmsghdr; N] = std::array::from_fn(|i| {
        let mut message = message(&raw mut iovecs[i], 1);
        message.msg_hdr.msg_control = (&raw mut controls[i]).cast();
        message.msg_hdr.msg_controllen = CONTROL_LEN as _;
        message.msg_hdr.msg_name = (&raw mut addresses[i]).cast();
        message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as _;
        message
    });
    let flags = libc::MSG_DONTWAIT as _;
    // SAFETY: `messages` has N entries; each points to one `iovec` over a buffer this function borrows exclusively, to
    // an address and to ancillary space of the lengths given. All live until the call returns.
    let count = checked(unsafe { libc::recvmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), N as _, flags, std::ptr::null_mut()) })?;
    let count = count.cast_unsigned() as usize;
    for ((slot, message), address) in out.iter_mut().zip(&messages).zip(&addresses).take(count) {
        let whole = message.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
        // SAFETY: the kernel filled this header, and `controls` lives until the end of the function.
        let auxdata = unsafe { auxdata_of(&message.msg_hdr) };
        let is_outgoing = address.sll_pkttype == libc::PACKET_OUTGOING;
        *slot = Some(Received { len: whole.then_some(message.msg_len as usize), auxdata, is_outgoing });
    }
    Ok(count)
}

/// Sends messages, each the concatenation of its parts, and returns how many were sent; an error is about the first.
pub(crate) fn send(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>], part_counts: &[usize], scratch: &mut Scratch) -> io::Result<usize> {
    assert_eq!(part_counts.iter().sum::<usize>(), parts.len(), "INVARIANT: every part belongs to a message");
    scratch.0.clear();
    let mut rest = parts;
    for count in part_counts {
        let (of_message, after) = rest.split_at(*count);
        rest = after;
        // `IoSlice` has the layout of `iovec` (std guarantees it); the kernel only reads through it.
        scratch.0.push(message(of_message.as_ptr().cast_mut().cast(), *count));
    }
    let (messages, count) = (scratch.0.as_mut_ptr(), scratch.0.len());
    // SAFETY: `messages` has `count` entries; each points to part of `parts`, which is borrowed, as are the bytes behind it.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), messages, count as _, (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _) };
    scratch.0.clear();
    checked(sent).map(|n| n.cast_unsigned() as usize)
}

/// Memory for message headers, kept between calls and empty between them.
#[derive(Default)]
pub(crate) struct Scratch(Vec<libc::mmsghdr>);

// SAFETY: what makes it not `Send` are pointers inside entries, and there are none between calls: `send` clears it.
unsafe impl Send for Scratch {}

fn message(parts: *mut libc::iovec, count: usize) -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is plain data, for which all zeros is a value.
    let mut message: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_hdr.msg_iov = parts;
    message.msg_hdr.msg_iovlen = count as _;
    message
}

/// The auxiliary data beside a message, zeros when there is none.
///
/// # Safety
/// `header` was filled by the kernel, and its ancillary space is still alive.
unsafe fn auxdata_of(header: &libc::msghdr) -> Auxdata {
    // SAFETY: the ancillary space is alive, as the caller promises.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: not null, so it points to a whole header within the ancillary space.
        let (level, kind, len) = unsafe { ((*control).cmsg_level, (*control).cmsg_type, (*control).cmsg_len as usize) };
        // SAFETY: computes a length.
        let needed = unsafe { libc::CMSG_LEN(size_of::<Auxdata>() as _) } as usize;
        if (level, kind) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) && len >= needed {
            // SAFETY: the message is long enough for `Auxdata`, which is valid with any content.
            return unsafe { libc::CMSG_DATA(control).cast::<Auxdata>().read_unaligned() };
        }
        // SAFETY: `control` came from this header.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    Auxdata::default()
}
