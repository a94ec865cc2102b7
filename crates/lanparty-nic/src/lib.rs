//! Ethernet devices: everything that takes frames from this host and gives frames to it.
//!
//! The only crate with `unsafe`, all of it under [`sys`](self), behind functions that are safe to call. It knows no
//! runtime: a [`Device`] never blocks and has a file descriptor; who waits for it, and how, is the caller's business.
//! Frames are bytes here; what they mean and whether they may pass is decided elsewhere.

mod checksum;
mod device;
mod facts;
mod memory;
mod offload;
mod packet;
mod pcap;
pub mod realtime;
mod sys;
mod tap;
mod udp;

pub use device::{Device, DeviceFault, DeviceStats};
pub use facts::{
    FactsError, InterfaceFacts, UnfitInterface, check_lan_interface, interface_facts, interface_facts_in, interface_name, lan_candidates,
    list_interfaces, list_interfaces_in, set_interface_mtu,
};
pub use memory::{MemoryDevice, memory_pair};
pub use packet::{LinkState, PacketError, PacketSocket};
pub use pcap::PcapTee;
pub use tap::{Tap, TapConfig, TapError};
pub use udp::{Fragmentation, route_mtu, set_fragmentation};
