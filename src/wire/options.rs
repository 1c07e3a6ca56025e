//! The walk over TCP options, as `tcp_options()` and `tcp_sack()` do it
//! (`nf_conntrack_proto_tcp.c`, Linux 6.18).
//!
//! Does not: know the rest of the header.

use super::bytes::be32;
use crate::segment::{Layout, Options, SackBlock, TcpTimestamps};
use crate::seq::SeqNum;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// What nearly every data segment carries: NOP, NOP, and the head of the timestamps option.
const ALIGNED_TIMESTAMPS: [u8; 4] = [NOP, NOP, TIMESTAMPS, 10];

/// How those follow one another.
const ALIGNED_LAYOUT: Layout = Layout { kinds: 0x118, longest_nops: 2 };

/// What the first segments of Linux carry: MSS, SACK-permitted, timestamps, NOP, window scale.
const OF_LINUX: Layout = Layout { kinds: 0x2_4813, longest_nops: 1 };

/// No options: they are written in a few large pieces, where a constant would be written field by
/// field.
static NONE: Options = Options::NONE;

/// The option bytes of a header, all of which were captured.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    /// The numbers of aligned timestamps, and nothing else.
    Timestamps(&'a [u8; 8]),
    /// Any.
    Any(&'a [u8]),
}

impl<'a> Found<'a> {
    /// Returns the aligned timestamps that the bytes begin with.
    #[inline]
    pub(super) fn timestamps(bytes: &'a [u8]) -> Option<Self> {
        let (head, numbers) = bytes.first_chunk::<12>()?.split_first_chunk()?;
        let is_aligned = *head == ALIGNED_TIMESTAMPS;
        Some(Self::Timestamps(numbers.first_chunk().filter(|_| is_aligned)?))
    }

    /// Reads the options into their place: what [`walk`] finds.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "next to nothing where there are only timestamps")]
    pub(super) fn read(self, options: &mut Options) {
        *options = NONE;
        match self {
            Self::Timestamps(numbers) => {
                options.timestamps = timestamps(numbers);
                options.layout = ALIGNED_LAYOUT;
            }
            Self::Any([]) => {}
            Self::Any(bytes) => walk_into(bytes, options),
        }
    }
}

/// Walks the option bytes of a header that were captured.
///
/// Unknown kinds are skipped by their length; a kind without room for a length byte, a length
/// below 2 and one beyond the header end the walk. So does the first option that the snap length
/// cut.
pub(super) fn walk(captured: &[u8]) -> Options {
    let mut options = Options::NONE;
    walk_into(captured, &mut options);
    options
}

/// Walks as [`walk`] does, where no options were noted before.
#[inline(never)]
fn walk_into(captured: &[u8], options: &mut Options) {
    if let Ok(all) = captured.try_into()
        && let Some(first) = of_linux(all)
    {
        *options = first;
        return;
    }
    if let Some(Found::Timestamps(numbers)) = Found::timestamps(captured) {
        options.timestamps = timestamps(numbers);
        walk_on(captured.get(12..).unwrap_or_default(), ALIGNED_LAYOUT, options);
    } else {
        walk_on(captured, Layout::default(), options);
    }
}

/// Walks what follows upon options that are laid out like this, and were read.
#[inline]
fn walk_on(mut rest: &[u8], mut layout: Layout, options: &mut Options) {
    let (mut sack_seen, mut nops) = (false, 0);
    while let Some((&kind, after_kind)) = rest.split_first() {
        if kind == END {
            break;
        }
        if kind == NOP {
            nops += 1;
            layout.push(kind, nops);
            rest = after_kind;
            continue;
        }
        nops = 0;
        let Some(&option_len) = after_kind.first() else { break };
        let option_len = usize::from(option_len);
        let Some((option, after)) = rest.split_at_checked(option_len) else { break };
        if option_len < 2 {
            break;
        }
        layout.push(kind, nops);
        if kind != SACK {
            read_one(options, option);
        } else if !sack_seen && is_sack_len(option_len) {
            sack_seen = true;
            read_sack(options, option);
        }
        rest = after;
    }
    options.layout = layout;
}

/// Reads the options of a first segment of Linux.
#[inline]
fn of_linux(options: &[u8; 20]) -> Option<Options> {
    let [
        MSS,
        4,
        high,
        low,
        SACK_PERMITTED,
        2,
        TIMESTAMPS,
        10,
        numbers @ ..,
        NOP,
        WINDOW_SCALE,
        3,
        shift,
    ] = options
    else {
        return None;
    };
    Some(Options {
        mss: Some(u16::from_be_bytes([*high, *low])),
        wscale: Some(*shift),
        sack_permitted: true,
        timestamps: timestamps(numbers),
        layout: OF_LINUX,
        ..Options::NONE
    })
}

#[inline]
fn timestamps(numbers: &[u8]) -> Option<TcpTimestamps> {
    Some(TcpTimestamps { value: be32(numbers, 0)?, echo: be32(numbers, 4)? })
}

/// Reads one whole option; kinds of a length that they do not have are passed over.
#[inline]
fn read_one(options: &mut Options, option: &[u8]) {
    match *option {
        [MSS, 4, high, low] => options.mss = Some(u16::from_be_bytes([high, low])),
        [WINDOW_SCALE, 3, shift] => options.wscale = Some(shift),
        [SACK_PERMITTED, 2] => options.sack_permitted = true,
        [TIMESTAMPS, 10, ref numbers @ ..] => {
            if let Some(timestamps) = timestamps(numbers) {
                options.timestamps = Some(timestamps);
            }
        }
        _ => {}
    }
}

/// Returns whether a SACK option of this length holds whole blocks, and at least one.
const fn is_sack_len(option_len: usize) -> bool {
    option_len >= 10 && (option_len - 2).is_multiple_of(8)
}

fn read_sack(options: &mut Options, option: &[u8]) {
    let (blocks, _) = option.get(2..).unwrap_or_default().as_chunks::<8>();
    for &[l0, l1, l2, l3, r0, r1, r2, r3] in blocks {
        options.sack.push(SackBlock {
            left: SeqNum(u32::from_be_bytes([l0, l1, l2, l3])),
            right: SeqNum(u32::from_be_bytes([r0, r1, r2, r3])),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sack(kind: u8, len: u8, rights: &[u32]) -> Vec<u8> {
        let mut option = vec![kind, len];
        for right in rights {
            option.extend((right - 1).to_be_bytes());
            option.extend(right.to_be_bytes());
        }
        option
    }

    fn rights(options: &Options) -> Vec<u32> {
        options.sack.as_slice().iter().map(|block| block.right.0).collect()
    }

    #[test]
    fn a_syn_carries_all_its_options() {
        let bytes = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7];
        let options = walk(&bytes);
        assert_eq!((options.mss, options.wscale), (Some(1460), Some(7)));
        assert!(options.sack_permitted);
        assert_eq!(options.timestamps, Some(TcpTimestamps { value: 7, echo: 0 }));
    }

    #[test]
    fn aligned_timestamps_read_the_same_on_both_paths() {
        let bytes = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let timestamps = Some(TcpTimestamps { value: 0x0102_0304, echo: 0x0506_0708 });
        assert_eq!(
            walk(&bytes),
            Options { timestamps, layout: ALIGNED_LAYOUT, ..Options::default() }
        );
        assert!(Found::timestamps(&[1, 1, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8]).is_none());
    }

    #[test]
    fn the_short_cuts_find_what_the_walk_finds_step_by_step() {
        let linux = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7];
        let sack = sack(5, 18, &[300, 400]);
        let timed = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let with_sack = [&timed[..], &[1, 1], &sack].concat();
        for whole in [&linux[..], &timed, &with_sack, &[1, 1, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8], &[]] {
            for cut in 0..=whole.len() {
                for wrong in 0..=cut {
                    let mut bytes = whole[..cut].to_vec();
                    bytes.get_mut(wrong).into_iter().for_each(|byte| *byte ^= 1);
                    let (mut stepped, mut found) = (Options::NONE, Options::default());
                    walk_on(&bytes, Layout::default(), &mut stepped);
                    let only = Found::timestamps(&bytes).filter(|_| bytes.len() == 12);
                    only.unwrap_or(Found::Any(&bytes)).read(&mut found);
                    assert_eq!((walk(&bytes), found), (stepped, stepped), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn the_layout_tells_the_order_and_the_padding() {
        let linux = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(walk(&linux).layout.kinds, 0x24813);
        let stripped = [2, 4, 5, 180, 1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 1, 1, 1];
        let found = walk(&stripped).layout;
        assert_eq!((found.kinds, found.longest_nops), (0x2118_1111, 4));
        assert!(walk(&[2, 4, 5, 180, 76, 4, 0, 0]).layout.has_optimiser());
        assert!(!found.has_optimiser());
    }

    #[test]
    fn unknown_kinds_are_skipped_by_their_length() {
        assert_eq!(walk(&[30, 4, 0, 0, 3, 3, 9]).wscale, Some(9));
        assert_eq!(walk(&[34, 2, 3, 3, 9]).wscale, Some(9));
    }

    #[test]
    fn a_length_below_2_or_beyond_the_header_ends_the_walk() {
        assert_eq!(walk(&[30, 0, 3, 3, 9]), Options::default());
        assert_eq!(walk(&[30, 1, 3, 3, 9]), Options::default());
        assert_eq!(walk(&[3, 4, 9]), Options::default());
        assert_eq!(walk(&[3, 3, 9]).wscale, Some(9));
        assert_eq!(walk(&[3, 3]), Options::default());
    }

    #[test]
    fn a_kind_without_a_length_byte_ends_the_walk() {
        assert_eq!(walk(&[1, 3]), walk(&[1]));
        assert_eq!(walk(&[3, 3, 9, 4]).wscale, Some(9));
    }

    #[test]
    fn the_end_option_hides_what_follows() {
        assert_eq!(walk(&[0, 3, 3, 9]), Options::default());
    }

    #[test]
    fn of_several_window_scales_the_last_wins_and_odd_lengths_do_not_count() {
        assert_eq!(walk(&[3, 3, 2, 3, 3, 9]).wscale, Some(9));
        assert_eq!(walk(&[3, 3, 2, 3, 4, 9, 9]).wscale, Some(2));
        assert_eq!(walk(&[3, 3, 255]).wscale, Some(255));
        assert!(!walk(&[4, 3, 0]).sack_permitted);
    }

    #[test]
    fn only_the_first_sack_option_of_a_valid_length_counts() {
        let mut bytes = sack(5, 10, &[100]);
        bytes.extend(sack(5, 10, &[200]));
        assert_eq!(rights(&walk(&bytes)), [100]);
        let mut bytes = sack(5, 11, &[100]);
        bytes.push(0);
        bytes.extend(sack(5, 10, &[200]));
        assert_eq!(rights(&walk(&bytes)), [200]);
        let mut bytes = vec![5, 2];
        bytes.extend(sack(5, 18, &[300, 400]));
        assert_eq!(rights(&walk(&bytes)), [300, 400]);
    }

    #[test]
    fn four_blocks_fit() {
        assert_eq!(rights(&walk(&sack(5, 34, &[1, 2, 3, 4]))), [1, 2, 3, 4]);
    }

    #[test]
    fn options_before_the_cut_are_read_and_those_across_it_are_not() {
        let bytes = [3, 3, 9, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        for cut in 0..bytes.len() {
            let options = walk(&bytes[..cut]);
            assert_eq!(options.wscale.is_some(), cut >= 3, "{cut}");
            assert_eq!(options.timestamps, None, "{cut}");
        }
    }

    #[test]
    fn an_option_that_the_cut_runs_through_ends_the_walk() {
        assert_eq!(walk(&[3, 3, 9, 5, 10, 1]).wscale, Some(9));
        assert_eq!(walk(&[3, 3]), Options::default());
    }
}
