//! The short way for the segment that nearly all segments are: data or an acknowledgement within
//! the window of an established connection.
//!
//! It says what [`judge`] says and changes what that changes, or it does nothing at all. Of all
//! features only [`Feature::NoWindowCheck`] decides here; where any other one would, the long way is
//! taken.
//!
//! [`Feature::NoWindowCheck`]: crate::conntrack::Feature::NoWindowCheck
//!
//! Does not: know anything that the long way does not know.

use crate::conntrack::entry::{Arrival, Entry, Last, judge, low_half};
use crate::conntrack::expiry::seconds;
use crate::conntrack::policy::{Choices, Feature, Features, Limits, Timeouts};
use crate::conntrack::repeats::{Repeated, Repeats};
use crate::conntrack::state::{Class, TcpState};
use crate::conntrack::verdict::{CtState, Verdict};
use crate::conntrack::window::{self, Margins, Numbers, SideFlags};
use crate::segment::{Direction, Flags, Segment};

/// An ordinary segment: what it changes in its entry, under every policy that checks windows.
#[derive(Clone, Copy, Debug)]
struct Ordinary {
    direction: Direction,
    numbers: Numbers,
    margins: Margins,
    /// The window in bytes.
    win: u32,
    retrans: Repeats,
}

/// Lets an ordinary segment pass, under every policy that checks windows; returns none, and leaves
/// the entry as it is, when the segment is not ordinary.
#[inline]
pub(super) fn pass(
    entry: &mut Entry,
    arrival: &Arrival<'_>,
    limits: &Limits,
    features: Features,
) -> Option<Verdict> {
    let ordinary = Ordinary::of(entry, arrival, limits, features)?;
    ordinary.apply(entry, arrival, limits);
    Some(ordinary.verdict())
}

/// Judges a segment by the entry in `slot` under one policy alone, and applies the judgement.
#[inline]
pub fn judge_alone(
    slot: &mut Option<Entry>,
    arrival: &Arrival<'_>,
    limits: &Limits,
    features: Features,
) -> Verdict {
    let checks_windows = !features.contains(Feature::NoWindowCheck);
    if let Some(entry) = slot.as_mut().filter(|_| checks_windows)
        && let Some(verdict) = pass(entry, arrival, limits, features)
    {
        return verdict;
    }
    judge(slot, arrival, limits, &mut Choices::new(features))
}

/// Does what [`pass`] does; returns whether the segment was ordinary.
pub(super) fn let_pass(
    entry: &mut Entry,
    arrival: &Arrival<'_>,
    limits: &Limits,
    features: Features,
) -> bool {
    pass(entry, arrival, limits, features).is_some()
}

impl Ordinary {
    /// Returns what a segment changes, if it is ordinary.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    fn of(
        entry: &Entry,
        arrival: &Arrival<'_>,
        limits: &Limits,
        features: Features,
    ) -> Option<Self> {
        let segment = arrival.segment;
        let sees_raw_windows = features.contains(Feature::LastWinUnscaled);
        let is_live = entry.state == TcpState::Established
            && entry.seen_reply
            && arrival.now < entry.sooner();
        if !(is_live & is_plain(segment)) {
            return None;
        }
        let direction = entry.direction_of(arrival.orientation);
        let (sender, receiver) = (&entry.sides[direction], &entry.sides[direction.flip()]);
        let sack_counts = receiver.flags.contains(SideFlags::SACK_PERM);
        let sack = if sack_counts { segment.sack() } else { segment.ack };
        let end = segment.seq.plus(segment.len);
        let numbers = Numbers { seq: segment.seq, end, ack: segment.ack, sack };
        let margins = Margins::measure(sender, receiver, &numbers);
        let is_empty_elsewhere = segment.len == 0 && segment.seq != sender.end;
        let is_start = sender.max_win == 0 || receiver.max_win == 0;
        let win = u32::from(segment.win) << sender.scale;
        let is_closed = segment.win == 0 || low_half(win) == 0 && !sees_raw_windows;
        let is_beyond = end.is_after(sender.max_end);
        if !margins.all_kept() | is_beyond | is_empty_elsewhere | is_start | is_closed {
            return None;
        }
        let Numbers { seq, ack, .. } = numbers;
        let repeated = Repeated::of(&entry.last, direction, (seq, ack, end), (segment.win, win));
        let retrans = entry.retrans.after(repeated);
        let is_tired = |repeats: u8| repeats >= limits.max_retrans;
        if repeated.parts() | (is_tired(retrans.raw) != is_tired(retrans.scaled)) {
            return None;
        }
        Some(Self { direction, numbers, margins, win, retrans })
    }

    /// Applies the changes to the entry that they were found for.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    fn apply(&self, entry: &mut Entry, arrival: &Arrival<'_>, limits: &Limits) {
        let Self { direction, numbers, win, .. } = *self;
        entry.retrans = self.retrans;
        entry.last = Last {
            seq: numbers.seq,
            ack: numbers.ack,
            end: numbers.end,
            win: arrival.segment.win,
            scaled_win: low_half(win),
            direction,
            class: Class::Ack,
            ..entry.last
        };
        window::update(&mut entry.sides, direction, arrival.segment, &numbers, win);
        entry.assured = true;
        let (timeout_ns, sooner_s) = timeout(entry, limits);
        entry.expires = arrival.now.plus_nanos(timeout_ns);
        entry.sooner_s = sooner_s;
    }

    /// Returns the verdict on the segment.
    #[inline]
    const fn verdict(&self) -> Verdict {
        Verdict {
            ctstate: CtState::Established,
            reason: None,
            direction: Some(self.direction),
            state: Some(TcpState::Established),
            margins: Some(self.margins),
            timeout_lowered: false,
            opened: false,
        }
    }
}

/// Returns whether a segment has ACK of all flags that count, and no fault.
#[inline]
fn is_plain(segment: &Segment) -> bool {
    segment.flags.0 & Flags::DECIDING.0 == Flags::ACK.0 && segment.fault.is_none()
}

/// Returns the timeout of an established connection whose last window was open, in nanoseconds, and
/// how many seconds sooner kernels before 5.3 let it expire.
#[inline]
fn timeout(entry: &Entry, limits: &Limits) -> (i64, u32) {
    let Timeouts { by_state, max_retrans, unacknowledged } = &limits.timeouts;
    let normal = by_state.get(TcpState::Established as usize).copied().unwrap_or(0);
    let flags = entry.sides.original.flags.or(entry.sides.reply.flags);
    if entry.retrans.raw >= limits.max_retrans && normal > *max_retrans {
        (*max_retrans, 0)
    } else if flags.contains(SideFlags::DATA_UNACKNOWLEDGED) && normal > *unacknowledged {
        (*unacknowledged, 0)
    } else if entry.last.scaled_win == 0 && normal > *max_retrans {
        (normal, seconds(normal - *max_retrans))
    } else {
        (normal, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::{Profile, Setting};
    use crate::random::Random;
    use crate::segment::{Options, SackBlock};
    use crate::seq::SeqNum;
    use crate::time::{NANOS_PER_SEC, Timestamp};
    use crate::tuple::Orientation;

    /// How each conversation starts: which way, and with which flags.
    const HANDSHAKE: [(Orientation, u8); 3] =
        [(Orientation::LowToHigh, 2), (Orientation::HighToLow, 18), (Orientation::LowToHigh, 16)];

    /// A segment near the edges of what the entry has seen, more often right than wrong.
    fn segment(entry: Option<&Entry>, direction: Direction, random: &mut Random) -> Segment {
        const RARE_FLAGS: [u8; 5] = [2, 18, 17, 4, 20];
        let sides = entry.map(|entry| entry.sides).unwrap_or_default();
        let near = |edge: SeqNum, random: &mut Random| {
            edge.plus(random.of(&[0, 0, 0, 0, 1, 100, 1460, 90_000]))
                .minus(random.of(&[0, 0, 0, 1, 99]))
        };
        let is_rare = random.below(20) == 0;
        let mut segment = Segment {
            seq: near(sides[direction].end, random),
            ack: near(sides[direction.flip()].end, random),
            len: random.of(&[0, 0, 1, 100, 1460]),
            win: random.of(&[0, 1, 502, 502, 502, 8000, 8000, 65_535]),
            flags: Flags(if is_rare { random.of(&RARE_FLAGS) } else { random.of(&[16, 24]) }),
            header_len: 32,
            options: Options { wscale: Some(7), sack_permitted: true, ..Options::default() },
            ..Segment::default()
        };
        if random.below(4) == 0 {
            let left = near(segment.ack, random);
            segment.options.sack.push(SackBlock { left, right: left.plus(500) });
        }
        segment
    }

    fn compare(features: Features, random: &mut Random) -> u32 {
        let limits = Limits::default();
        let (mut slot, mut now, mut passed) = (None, Timestamp(0), 0);
        let mut handshake = HANDSHAKE.into_iter();
        for _ in 0..60 {
            let opening = handshake.next();
            let orientation = opening.map_or_else(
                || random.of(&[Orientation::LowToHigh, Orientation::HighToLow]),
                |(orientation, _)| orientation,
            );
            let direction =
                slot.as_ref().map_or(Direction::Original, |e: &Entry| e.direction_of(orientation));
            let mut segment = segment(slot.as_ref(), direction, random);
            if let (Some((_, flags)), Some(entry)) = (opening, &slot) {
                let sides = entry.sides;
                let (seq, ack) = (sides[direction].end, sides[direction.flip()].end);
                segment = Segment { seq, ack, flags: Flags(flags), win: 8000, len: 0, ..segment };
            } else if let Some((_, flags)) = opening {
                segment.flags = Flags(flags);
            }
            now = now.plus_nanos(NANOS_PER_SEC * i64::from(random.of(&[0, 1, 1, 10, 400])));
            let arrival = Arrival { segment: &segment, orientation, now };
            let before = slot;
            let mut short = slot;
            let said = short.as_mut().and_then(|entry| pass(entry, &arrival, &limits, features));
            let mut choices = Choices::new(features);
            let verdict = judge(&mut slot, &arrival, &limits, &mut choices);
            if let Some(said) = said {
                passed += 1;
                assert_eq!((said, short), (verdict, slot), "{segment:?} meets {before:?}");
                let only = Features::NONE.with(Feature::NoWindowCheck);
                assert_eq!(choices.consulted().or(only), only);
            } else {
                assert_eq!(short, before);
            }
        }
        passed
    }

    #[test]
    fn the_short_way_says_what_the_long_way_says() {
        let mut random = Random(1);
        for profile in Profile::all() {
            for liberal in [Setting::Off, Setting::On] {
                let loose = profile.features().with(Feature::Loose);
                let features = loose.set(Feature::BeLiberal, liberal);
                let passed: u32 = (0..200).map(|_| compare(features, &mut random)).sum();
                assert!(passed > 1000, "only {passed} segments were ordinary");
            }
        }
    }
}
