//! Lengths and checksums of a frame, read by a parser that is not ours.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// Panics unless every checksum of an IP frame holds and its lengths are those of the frame.
#[track_caller]
pub(crate) fn assert_checksums(frame: &[u8]) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    match (packet.net.unwrap(), packet.transport.unwrap()) {
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            let header = ip.header().to_header();
            assert_eq!(header.calc_header_checksum(), header.header_checksum);
            assert_eq!(tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap(), tcp.checksum());
        }
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let header = ip.header().to_header();
            assert_eq!(header.calc_header_checksum(), header.header_checksum);
            assert_eq!(udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap(), udp.checksum());
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            let header = ip.header().to_header();
            assert_eq!(tcp.to_header().calc_checksum_ipv6(&header, tcp.payload()).unwrap(), tcp.checksum());
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let header = ip.header().to_header();
            assert_eq!(udp.to_header().calc_checksum_ipv6(&header, udp.payload()).unwrap(), udp.checksum());
        }
        _ => panic!("neither TCP nor UDP"),
    }
}
