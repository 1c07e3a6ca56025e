//! The history of a flow in letters, and the state it ended in, as Zeek's conn.log has them.
//!
//! Capital letters stand for what the originator sent: `S` SYN, `H` SYN-ACK, `A` pure ACK, `D` data,
//! `F` FIN, `R` RST, `C` bad checksum, `G` a gap in the data, `T` data sent again, `W` a window of
//! zero, `Q` SYN with FIN or RST, `I` FIN with RST. A letter stands where its kind was first seen;
//! `T`, `W`, `C` and `G` stand again with their 10th, 100th … occurrence.
//!
//! Does not: know windows or ranges.

use crate::segment::{Flags, HeaderFault, Segment};

/// What a letter stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Letter {
    Syn = 0,
    SynAck,
    Ack,
    Data,
    Fin,
    Rst,
    Checksum,
    Gap,
    Again,
    ZeroWindow,
    MultiFlag,
    Inconsistent,
}

const LETTERS: [char; 12] = ['s', 'h', 'a', 'd', 'f', 'r', 'c', 'g', 't', 'w', 'q', 'i'];

impl Letter {
    /// Returns the bit of the letter in the marks of a side.
    #[inline]
    pub(super) const fn mark(self) -> u16 {
        1 << self as u8
    }
}

/// The letters in the order in which they came: five bits each, 12 at most, the first lowest.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct History(u64);

/// Letters that a history holds; those beyond are not kept, which a `+` at the end tells.
const MAX_LETTERS: u32 = 12;
/// The five bits hold the letter plus one; this bit stands for the way from high to low.
const HIGH_TO_LOW: u64 = 1 << 4;
/// Set when a letter found no room.
const FULL: u64 = 1 << 63;

impl History {
    /// No letter.
    pub(super) const EMPTY: Self = Self(0);

    /// Appends a letter.
    pub(super) fn push(&mut self, letter: Letter, from_high: bool) {
        self.push_code(letter as u32 + 1, from_high);
    }

    #[inline]
    fn push_code(&mut self, code: u32, from_high: bool) {
        // The highest bit is one of the last letter: none is 0.
        let count = (self.0 & !FULL).checked_ilog2().map_or(0, |highest| highest / 5 + 1);
        if count >= MAX_LETTERS {
            self.0 |= FULL;
            return;
        }
        let side = if from_high { HIGH_TO_LOW } else { 0 };
        self.0 |= (u64::from(code) | side) << (5 * count);
    }

    /// Appends the letters of these marks in the order of the marks, in which they stand in a segment.
    #[inline]
    pub(super) fn push_marks(&mut self, marks: u16, from_high: bool) {
        if marks == 0 {
            return;
        }
        self.push_code(marks.trailing_zeros() + 1, from_high);
        let rest = marks & (marks - 1);
        if rest != 0 {
            self.push_rest(rest, from_high);
        }
    }

    /// Appends what a segment has beside its first letter, if anything.
    #[inline(never)]
    fn push_rest(&mut self, mut marks: u16, from_high: bool) {
        while marks != 0 {
            self.push_code(marks.trailing_zeros() + 1, from_high);
            marks &= marks - 1;
        }
    }

    /// Returns whether a side shows one of these letters before another one.
    pub(super) fn begins(self, from_high: bool, letters: &[Letter], before: Letter) -> bool {
        let mut rest = self.0 & !FULL;
        while rest != 0 {
            let (code, high) = (rest & 0x0f, rest & HIGH_TO_LOW != 0);
            let is = |letter: Letter| high == from_high && code == letter as u64 + 1;
            if is(before) {
                return false;
            }
            if letters.iter().any(|letter| is(*letter)) {
                return true;
            }
            rest >>= 5;
        }
        false
    }

    /// Writes the history; `original_is_high` says which side's letters are capitals.
    pub(super) fn text(self, original_is_high: bool) -> String {
        let mut text = String::new();
        let mut rest = self.0 & !FULL;
        while rest != 0 {
            let code = rest & 0x0f;
            let from_high = rest & HIGH_TO_LOW != 0;
            let letter = usize::try_from(code.saturating_sub(1)).ok().and_then(|i| LETTERS.get(i));
            if let Some(letter) = letter {
                let from_original = from_high == original_is_high;
                text.push(if from_original { letter.to_ascii_uppercase() } else { *letter });
            }
            rest >>= 5;
        }
        if self.0 & FULL != 0 {
            text.push('+');
        }
        text
    }
}

/// Returns the marks of the letters of a segment without fault whose flags go together: the letters of
/// [`letters_of`], which come in the order of their marks. Without branches: few could be foretold.
#[inline]
pub(super) fn plain_marks(segment: &Segment) -> Option<u16> {
    let flag = |flag: Flags| u16::from(segment.has(flag));
    let (syn, fin, rst) = (flag(Flags::SYN), flag(Flags::FIN), flag(Flags::RST));
    if syn + fin + rst > 1 || segment.fault.is_some() {
        return None;
    }
    let ack = flag(Flags::ACK);
    let data = u16::from(segment.len > 0) & !rst;
    let is_bare = ack & !(data | syn | fin | rst);
    Some(
        (Letter::Syn.mark() * (syn & !ack))
            | (Letter::SynAck.mark() * (syn & ack))
            | (Letter::Ack.mark() * is_bare)
            | (Letter::Data.mark() * data)
            | (Letter::Fin.mark() * fin)
            | (Letter::Rst.mark() * rst),
    )
}

/// Returns the letters that a segment gives by its flags and length.
pub(super) fn letters_of(segment: &Segment) -> impl Iterator<Item = Letter> {
    let has = |flag| segment.has(flag);
    let (syn, fin, rst) = (has(Flags::SYN), has(Flags::FIN), has(Flags::RST));
    let ack = has(Flags::ACK);
    let candidates = [
        (syn && (fin || rst), Letter::MultiFlag),
        (fin && rst, Letter::Inconsistent),
        (syn && !ack, Letter::Syn),
        (syn && ack, Letter::SynAck),
        (segment.len > 0 && !rst, Letter::Data),
        (fin, Letter::Fin),
        (rst, Letter::Rst),
        (ack && segment.len == 0 && !syn && !fin && !rst, Letter::Ack),
        (segment.fault == Some(HeaderFault::BadChecksum), Letter::Checksum),
    ];
    candidates.into_iter().filter_map(|(holds, letter)| holds.then_some(letter))
}

/// Returns whether a repeated letter stands again with this occurrence: 1, 10, 100 …
pub(super) const fn is_round(count: u32) -> bool {
    let mut power = 1;
    while power < count {
        if power > u32::MAX / 10 {
            return false;
        }
        power *= 10;
    }
    power == count
}

/// How a flow ended, in the words of Zeek's `conn_state`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum ConnState {
    /// A SYN without an answer.
    S0,
    /// Established, not ended.
    S1,
    /// Established, the originator wanted to close, the responder did not answer that.
    S2,
    /// Established, the responder wanted to close, the originator did not answer that.
    S3,
    /// Established and closed by both.
    Sf,
    /// A SYN answered by a RST.
    Rej,
    /// Established, reset by the originator.
    Rsto,
    /// Reset by the responder.
    Rstr,
    /// A SYN, then a RST of the originator, no SYN-ACK in between.
    RstoS0,
    /// A SYN-ACK, then a RST of the responder, no SYN seen.
    Rstrh,
    /// A SYN, then a FIN of the originator, no SYN-ACK in between.
    Sh,
    /// A SYN-ACK, then a FIN of the responder, no SYN seen.
    Shr,
    /// No SYN seen: the capture begins in the middle.
    Oth,
}

impl ConnState {
    /// Returns the name in Zeek's spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::S0 => "S0",
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::Sf => "SF",
            Self::Rej => "REJ",
            Self::Rsto => "RSTO",
            Self::Rstr => "RSTR",
            Self::RstoS0 => "RSTOS0",
            Self::Rstrh => "RSTRH",
            Self::Sh => "SH",
            Self::Shr => "SHR",
            Self::Oth => "OTH",
        }
    }

    /// Reads the state from the marks of originator and responder.
    #[inline]
    pub(super) const fn of(original: u16, reply: u16) -> Self {
        const fn has(marks: u16, letter: Letter) -> bool {
            marks & letter.mark() != 0
        }
        let (syn, syn_ack) = (has(original, Letter::Syn), has(reply, Letter::SynAck));
        let resets = (has(original, Letter::Rst), has(reply, Letter::Rst));
        let fins = (has(original, Letter::Fin), has(reply, Letter::Fin));
        match (syn, syn_ack) {
            (true, true) => match (resets, fins) {
                ((true, _), _) => Self::Rsto,
                ((_, true), _) => Self::Rstr,
                (_, (true, true)) => Self::Sf,
                (_, (true, false)) => Self::S2,
                (_, (false, true)) => Self::S3,
                (_, (false, false)) => Self::S1,
            },
            (true, false) => match (resets, fins) {
                ((_, true), _) => Self::Rej,
                ((true, _), _) => Self::RstoS0,
                (_, (true, _)) => Self::Sh,
                _ => Self::S0,
            },
            (false, true) => match (resets, fins) {
                ((_, true), _) => Self::Rstrh,
                (_, (_, true)) => Self::Shr,
                _ => Self::Oth,
            },
            (false, false) => Self::Oth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_in_their_order_and_capitals_are_the_originators() {
        let mut history = History::default();
        history.push(Letter::Syn, true);
        history.push(Letter::SynAck, false);
        history.push(Letter::Ack, true);
        history.push(Letter::Data, true);
        assert_eq!(history.text(true), "ShAD");
        assert_eq!(history.text(false), "sHad");
    }

    #[test]
    fn what_a_side_did_first_is_known() {
        let mut history = History::default();
        for (letter, from_high) in [(Letter::Syn, true), (Letter::Rst, false), (Letter::Ack, true)]
        {
            history.push(letter, from_high);
        }
        assert!(history.begins(true, &[Letter::Data, Letter::Ack], Letter::Rst));
        assert!(!history.begins(false, &[Letter::Ack], Letter::Rst));
        assert!(!history.begins(true, &[Letter::Data], Letter::Rst));
    }

    #[test]
    fn the_thirteenth_letter_is_a_plus() {
        let mut history = History::default();
        for _ in 0..12 {
            history.push(Letter::Again, true);
        }
        assert_eq!(history.text(true), "TTTTTTTTTTTT");
        history.push(Letter::Again, true);
        history.push(Letter::Again, true);
        assert_eq!(history.text(true), "TTTTTTTTTTTT+");
    }

    #[test]
    fn plain_marks_are_those_of_the_letters_in_their_order() {
        let mut plain = 0;
        for flags in 0..=255 {
            for len in [0, 1] {
                let segment = Segment { flags: Flags(flags), len, ..Segment::default() };
                if let Some(marks) = plain_marks(&segment) {
                    let letters: Vec<_> = letters_of(&segment).collect();
                    assert_eq!(letters.iter().fold(0, |m, l| m | l.mark()), marks, "{flags:#x}");
                    assert!(letters.is_sorted_by_key(|letter| *letter as u8), "{flags:#x}");
                    plain += 1;
                }
            }
        }
        assert_eq!(plain, 256, "SYN, FIN and RST go without each other in half of all cases");
    }

    #[test]
    fn powers_of_ten_are_round() {
        let round: Vec<u32> = (0..=1001).filter(|count| is_round(*count)).collect();
        assert_eq!(round, [1, 10, 100, 1000]);
        assert!(!is_round(u32::MAX));
    }

    #[test]
    fn each_conn_state_follows_from_the_flags_seen() {
        let marks = |letters: &[Letter]| letters.iter().fold(0, |m, l| m | l.mark());
        let (s, h) = (Letter::Syn, Letter::SynAck);
        let (f, r) = (Letter::Fin, Letter::Rst);
        let cases: [(&[Letter], &[Letter], &str); 14] = [
            (&[s], &[], "S0"),
            (&[s], &[h], "S1"),
            (&[s, f], &[h], "S2"),
            (&[s], &[h, f], "S3"),
            (&[s, f], &[h, f], "SF"),
            (&[s], &[r], "REJ"),
            (&[s, r], &[h], "RSTO"),
            (&[s], &[h, r], "RSTR"),
            (&[s, r], &[], "RSTOS0"),
            (&[], &[h, r], "RSTRH"),
            (&[s, f], &[], "SH"),
            (&[], &[h, f], "SHR"),
            (&[], &[h], "OTH"),
            (&[Letter::Data], &[Letter::Ack], "OTH"),
        ];
        for (original, reply, name) in cases {
            assert_eq!(ConnState::of(marks(original), marks(reply)).name(), name);
        }
    }
}
