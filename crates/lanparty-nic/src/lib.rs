//! Ethernet devices: everything that takes frames from this host and gives frames to it.
//!
//! The only crate with `unsafe`, all of it under [`sys`](self), behind functions that are safe to call. It knows no
//! runtime: a [`Device`] never blocks and has a file descriptor; who waits for it, and how, is the caller's business.
//! Frames are bytes here; what they mean and whether they may pass is decided elsewhere.

#[cfg(unix)]
mod checksum;
mod device;
mod facts;
#[cfg(unix)]
mod memory;
#[cfg(unix)]
mod offload;
#[cfg(unix)]
mod packet;
mod pcap;
#[cfg(unix)]
pub mod realtime;
#[cfg(unix)]
mod sys;
#[cfg(unix)]
mod tap;
#[cfg_attr(windows, path = "udp_windows.rs")]
mod udp;
#[cfg(windows)]
pub mod windows;

pub use device::{Device, DeviceFault, DeviceStats, Waitable};
pub use facts::{
    FactsError, InterfaceFacts, UnfitInterface, check_lan_interface, interface_facts, interface_name, lan_candidates, list_interfaces,
    set_interface_mtu,
};
#[cfg(unix)]
pub use facts::{interface_facts_in, list_interfaces_in};
#[cfg(unix)]
pub use memory::{MemoryDevice, memory_pair};
#[cfg(unix)]
pub use packet::{LinkState, PacketError, PacketSocket};
pub use pcap::{Capture, CaptureWay, LinkType, PcapTee};
#[cfg(unix)]
pub use tap::{Tap, TapConfig, TapError};
pub use udp::{Fragmentation, route_mtu, set_fragmentation};
#[cfg(unix)]
pub use udp::{set_buffers, share_port, steer_by_connection_id};
