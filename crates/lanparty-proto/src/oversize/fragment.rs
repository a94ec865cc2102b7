//! IPv4 fragmentation (RFC 791 §3.2), and what needs none: a packet with bytes behind its end.

use super::packet_len;
use crate::packet::{Ipv4Packet, be16, ethertype};
use crate::{Checksum, DropReason, ETHERNET_HEADER_LEN, Frame, LanMtu};

const HEADER_LEN_MIN: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
const FLAGS: u16 = 0xe000;
/// Fragments start at multiples of this.
const OFFSET_UNIT: usize = 8;
/// What the total length of a packet can say (RFC 791 §3.1); put together from fragments, it is no longer either.
const PACKET_LEN_MAX: usize = 65_535;
/// The bit of an option's type that says that every fragment carries it (RFC 791 §3.1).
const COPIED: u8 = 0x80;

/// The frame without what stands behind its packet, when that is all that makes it larger than `limit` allows.
#[must_use]
pub fn trim<'a>(frame: &Frame<'a>, limit: LanMtu) -> Option<&'a [u8]> {
    let packet_len = packet_len(frame).filter(|len| *len <= usize::from(limit.bytes()))?;
    frame.bytes().get(..ETHERNET_HEADER_LEN + packet_len)
}

/// The frame as several, in order, each within `limit`.
///
/// A packet that is a fragment already is cut up further. The first piece keeps all options of the header, the others
/// those that are to be copied. Whether the sender allows it is for the caller to ask.
///
/// # Errors
/// [`DropReason::Malformed`] when the frame carries no IPv4 packet, one whose options cannot be read, or a fragment that
/// reaches beyond the largest packet: its pieces would be a lie that no receiver could tell from the truth.
pub fn fragment_ipv4(frame: &Frame<'_>, limit: LanMtu) -> Result<Vec<Vec<u8>>, DropReason> {
    if frame.ethertype() != ethertype::IPV4 {
        return Err(DropReason::Malformed);
    }
    cut_up(frame, &Ipv4Packet::read(frame.payload())?, limit).ok_or(DropReason::Malformed)
}

fn cut_up(frame: &Frame<'_>, packet: &Ipv4Packet<'_>, limit: LanMtu) -> Option<Vec<Vec<u8>>> {
    let header_len = packet_len(frame)?.checked_sub(packet.payload.len())?;
    let (mut header, mut rest) = (frame.payload().get(..header_len)?.to_vec(), packet.payload);
    if usize::from(packet.fragment_offset) * OFFSET_UNIT + header_len + rest.len() > PACKET_LEN_MAX {
        return None;
    }
    let later_header = copied_header(&header)?;
    let mut offset = packet.fragment_offset;
    let mut pieces = vec![];
    while !rest.is_empty() {
        let room = usize::from(limit.bytes()).checked_sub(header.len())?;
        let len = if rest.len() <= room { rest.len() } else { room / OFFSET_UNIT * OFFSET_UNIT };
        // A LAN MTU holds the longest header and eight bytes more, so this ends.
        let (data, behind) = rest.split_at_checked(len).filter(|_| len > 0)?;
        let more = !behind.is_empty() || packet.more_fragments;
        pieces.push(piece(frame, &header, data, offset, more)?);
        offset += u16::try_from(len / OFFSET_UNIT).ok()?;
        rest = behind;
        header.clone_from(&later_header);
    }
    Some(pieces)
}

fn piece(frame: &Frame<'_>, header: &[u8], data: &[u8], offset: u16, more: bool) -> Option<Vec<u8>> {
    let ethernet = frame.bytes().get(..ETHERNET_HEADER_LEN)?;
    let mut bytes = [ethernet, header, data].concat();
    let packet = bytes.get_mut(ETHERNET_HEADER_LEN..)?;
    let flags = be16(packet, 6)? & FLAGS & !MORE_FRAGMENTS;
    let fields = flags | if more { MORE_FRAGMENTS } else { 0 } | offset;
    *packet.get_mut(2..)?.first_chunk_mut()? = u16::try_from(header.len() + data.len()).ok()?.to_be_bytes();
    *packet.get_mut(6..)?.first_chunk_mut()? = fields.to_be_bytes();
    *packet.get_mut(10..)?.first_chunk_mut()? = [0, 0];
    let sum = Checksum::default().with(packet.get(..header.len())?).field();
    *packet.get_mut(10..)?.first_chunk_mut()? = sum;
    Some(bytes)
}

/// The header as later fragments have it: only with the options that are to be copied. Nothing when they cannot be read.
fn copied_header(header: &[u8]) -> Option<Vec<u8>> {
    let (fixed, mut options) = header.split_at_checked(HEADER_LEN_MIN)?;
    let mut copied = fixed.to_vec();
    while let Some(kind) = options.first().filter(|kind| **kind != 0) {
        let len = if *kind == 1 { 1 } else { usize::from(*options.get(1)?).max(2) };
        let (option, behind) = options.split_at_checked(len)?;
        if kind & COPIED != 0 {
            copied.extend_from_slice(option);
        }
        options = behind;
    }
    copied.resize(copied.len().next_multiple_of(4), 0);
    let words = u8::try_from(copied.len() / 4).ok()?;
    *copied.first_mut()? = 0x40 | words;
    Some(copied)
}

#[cfg(test)]
mod tests {
    use etherparse::Ipv4HeaderSlice;
    use proptest::prelude::*;

    use super::*;

    /// A frame with an IPv4 packet: `fields` are the flags and the offset.
    fn frame(fields: u16, options: &[u8], data: &[u8], trailer: &[u8]) -> Vec<u8> {
        let header_len = 20 + options.len();
        let mut header = vec![0x40 | (header_len / 4) as u8, 0x10];
        header.extend(((header_len + data.len()) as u16).to_be_bytes());
        header.extend([0xab, 0xcd]);
        header.extend(fields.to_be_bytes());
        header.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        header.extend(options);
        let sum = Checksum::default().with(&header).field();
        header[10..12].copy_from_slice(&sum);
        [&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0][..], &header, data, trailer].concat()
    }

    fn try_cut(bytes: &[u8], limit: u16) -> Result<Vec<Vec<u8>>, DropReason> {
        fragment_ipv4(&Frame::parse(bytes).unwrap(), LanMtu::new(limit).unwrap())
    }

    fn cut(bytes: &[u8], limit: u16) -> Vec<Vec<u8>> {
        try_cut(bytes, limit).unwrap()
    }

    /// Puts the pieces together as a receiver does, after asking each what every receiver asks.
    fn reassembled(pieces: &[Vec<u8>], limit: u16, first_offset: usize) -> (Vec<u8>, bool) {
        let (mut data, mut more) = (vec![], true);
        for piece in pieces {
            let ip = Ipv4HeaderSlice::from_slice(&piece[14..]).unwrap().to_header();
            assert!(piece.len() <= usize::from(limit) + 14 && more, "{} bytes", piece.len());
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!((ip.identification, ip.time_to_live, usize::from(ip.total_len)), (0xabcd, 64, piece.len() - 14));
            assert_eq!(usize::from(ip.fragment_offset.value()) * 8, first_offset + data.len());
            data.extend_from_slice(&piece[14 + ip.header_len()..]);
            more = ip.more_fragments;
        }
        (data, more)
    }

    #[test]
    fn options_are_in_the_first_piece_and_in_the_others_when_they_are_to_be_copied() {
        // Record route (not copied), router alert (copied), no operation.
        let options = [7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 1];
        let pieces = cut(&frame(0, &options, &[5; 1400], &[]), 600);
        let of = |piece: &[u8]| Ipv4HeaderSlice::from_slice(&piece[14..]).unwrap().options().to_vec();
        assert_eq!(of(&pieces[0]), options);
        assert!(pieces[1..].iter().all(|p| of(p) == [0x94, 4, 0, 0]) && pieces.len() == 3);
    }

    #[test]
    fn a_fragment_that_reaches_beyond_any_packet_does_not_become_its_beginning() {
        // Its end would be at 65,640 bytes: cut in two, the second piece's offset would spill into "more fragments".
        assert_eq!(try_cut(&frame(0x1f55, &[], &[5; 1480], &[]), 1390), Err(DropReason::Malformed));
        // RFC 791 §3.1: header and data of the whole have 65,535 bytes.
        let last = |len| try_cut(&frame(0x1f55, &[], &vec![5; len], &[]), 600).is_ok();
        assert!(last(65_535 - 20 - 0x1f55 * 8) && !last(65_536 - 20 - 0x1f55 * 8));
    }

    #[test]
    fn what_cannot_be_cut_up_is_not() {
        assert_eq!(try_cut(&frame(0, &[0x94, 40, 0, 0], &[5; 1400], &[]), 600), Err(DropReason::Malformed), "options that lie");
        let mut ipv6 = frame(0, &[], &[5; 1400], &[]);
        ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
        assert_eq!(try_cut(&ipv6, 600), Err(DropReason::Malformed));
    }

    #[test]
    fn a_packet_that_is_small_enough_loses_only_what_is_behind_it() {
        let padded = frame(0, &[], &[5; 500], &[9; 300]);
        let limit = LanMtu::new(576).unwrap();
        assert_eq!(trim(&Frame::parse(&padded).unwrap(), limit), Some(&padded[..14 + 520]));
        let large = frame(0, &[], &[5; 600], &[]);
        assert_eq!(trim(&Frame::parse(&large).unwrap(), limit), None);
    }

    proptest! {
        #[test]
        fn pieces_make_the_packet_again(
            data in prop::collection::vec(any::<u8>(), 600..3000), limit in 576u16..1500, offset in 0u16..0x2000, more: bool,
            options in prop::sample::select(vec![vec![], vec![0x94, 4, 0, 0], vec![1, 1, 1, 0], vec![0x83, 7, 4, 10, 0, 0, 1, 7, 5, 4, 0, 0]]),
        ) {
            let data = if more { &data[..data.len() / 8 * 8] } else { &data[..] };
            let bytes = frame(offset | if more { MORE_FRAGMENTS } else { 0 }, &options, data, &[]);
            let end = usize::from(offset) * 8 + 20 + options.len() + data.len();
            let pieces = try_cut(&bytes, limit);
            if end > 65_535 {
                prop_assert_eq!(pieces, Err(DropReason::Malformed));
                return Ok(());
            }
            let pieces = pieces.unwrap();
            prop_assert!(pieces.len() <= data.len() / 500 + 2);
            let (whole, more_after) = reassembled(&pieces, limit, usize::from(offset) * 8);
            prop_assert_eq!(whole, data);
            prop_assert_eq!(more_after, more);
        }
    }
}
