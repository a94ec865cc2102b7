//! VLAN tags (IEEE 802.1Q §9.3): how long they are, and how to look beneath them. A tag is not counted into the LAN MTU, as on any
//! Ethernet, but it takes room on the path.

/// Where the first tag stands: behind both addresses.
const TAGS_AT: usize = 12;
const TAG_LEN: usize = 4;
/// Tags that are looked beneath: two, as providers stack them (802.1ad). What is beneath more is carried and not understood.
const TAGS_MAX: usize = 2;

const fn is_tag(kind: [u8; 2]) -> bool {
    matches!(u16::from_be_bytes(kind), 0x8100 | 0x88a8 | 0x9100)
}

fn tag_at(frame: &[u8], at: usize) -> bool {
    frame.get(at..).and_then(|rest| rest.first_chunk()).is_some_and(|kind| is_tag(*kind))
}

/// How many bytes of whole tags a frame has.
pub(super) fn tags_len(frame: &[u8]) -> usize {
    let tags = (0..TAGS_MAX).take_while(|n| tag_at(frame, TAGS_AT + n * TAG_LEN) && frame.len() >= TAGS_AT + (n + 1) * TAG_LEN + 2);
    tags.count() * TAG_LEN
}

/// Whether a frame ends amid a tag, or right behind it.
pub(super) fn is_cut_off(frame: &[u8]) -> bool {
    let len = tags_len(frame);
    len < TAGS_MAX * TAG_LEN && tag_at(frame, TAGS_AT + len)
}

/// Lets `work` have the frame as if it had no tags, and puts them back.
pub(super) fn beneath<T>(frame: &mut [u8], work: impl FnOnce(&mut [u8]) -> T) -> T {
    let len = tags_len(frame);
    let Some(head) = frame.get_mut(..TAGS_AT + len).filter(|_| len > 0) else { return work(frame) };
    head.rotate_right(len);
    let done = work(frame.get_mut(len..).unwrap_or_default());
    if let Some(head) = frame.get_mut(..TAGS_AT + len) {
        head.rotate_left(len);
    }
    done
}

/// `frame`, which has none, with the tags of `tagged`.
pub(super) fn put_on(frame: &[u8], tagged: &[u8]) -> Vec<u8> {
    let tags = tagged.get(TAGS_AT..TAGS_AT + tags_len(tagged)).unwrap_or_default();
    let (addresses, rest) = frame.split_at(TAGS_AT.min(frame.len()));
    [addresses, tags, rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tags: &[u8]) -> Vec<u8> {
        [&[1; 6][..], &[2; 6], tags, &[8, 0, 0x45, 0, 0, 20]].concat()
    }

    #[test]
    fn beneath_its_tags_a_frame_is_what_it_was_without_and_gets_them_back() {
        for tags in [&[][..], &[0x81, 0, 0, 5], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]] {
            let mut tagged = frame(tags);
            assert_eq!((tags_len(&tagged), is_cut_off(&tagged)), (tags.len(), false));
            beneath(&mut tagged, |bare| {
                assert_eq!(bare, frame(&[]));
                bare[14] = 0x46;
            });
            let mut expected = frame(tags);
            expected[14 + tags.len()] = 0x46;
            assert_eq!(tagged, expected);
            assert_eq!(put_on(&frame(&[]), &tagged), frame(tags));
        }
    }

    #[test]
    fn a_third_tag_is_left_where_it_is_and_half_a_tag_is_none() {
        let three = frame(&[0x81, 0, 0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7]);
        assert_eq!((tags_len(&three), is_cut_off(&three)), (8, false));
        let whole = frame(&[0x81, 0, 0, 5]);
        for len in 14..18 {
            assert_eq!((tags_len(&whole[..len]), is_cut_off(&whole[..len])), (0, true), "{len}");
        }
        assert!(!is_cut_off(&whole[..18]) && !is_cut_off(&frame(&[])));
    }
}
