//! A rough notion of what a tracker knows of one side, so that packets land near its bounds.

use super::random::Random;

/// One side of a conversation.
#[derive(Clone, Copy, Default, Debug)]
pub struct Side {
    /// The first number.
    pub isn: u32,
    /// The number after the last that was sent.
    pub next: u32,
    /// The number after the last that the other side allows: its acknowledgement plus its window.
    pub edge: u32,
    /// The last acknowledgement sent.
    pub acked: u32,
    /// The raw window field.
    pub win: u16,
    /// The shift count offered; `None` without the option.
    pub wscale: Option<u8>,
    /// The largest window announced, in bytes.
    pub max_win: u32,
    pub has_sack: bool,
    pub has_timestamps: bool,
}

impl Side {
    /// Makes up a side; the numbers of every other one are about to wrap.
    pub fn new(random: &mut Random) -> Self {
        let isn = match random.below(4) {
            0 => 0u32.wrapping_sub(random.below(20_000)),
            1 => random.pick(&[0, 1, u32::MAX, 0x7fff_ffff, 0x8000_0000, 0xffff_0000]),
            _ => random.word() as u32,
        };
        let win = random.pick(&[0, 1, 512, 4096, 5840, 29_200, 32_768, 64_240, 65_535, 65_535]);
        let wscale = match random.below(20) {
            0 => Some(15),
            1 => Some(random.pick(&[16, 31, 128, 255])),
            2..=5 => None,
            _ => Some(random.below(15) as u8),
        };
        Self {
            isn,
            next: isn,
            win,
            wscale,
            has_sack: random.percent(80),
            has_timestamps: random.percent(40),
            ..Self::default()
        }
    }

    /// Returns the shift count in use when the other side offered one too.
    pub fn shift(&self, other: &Self) -> u32 {
        match (self.wscale, other.wscale) {
            (Some(shift), Some(_)) => u32::from(shift.min(14)),
            _ => 0,
        }
    }

    /// Returns the options of a SYN.
    pub fn syn_options(&self, random: &mut Random) -> Vec<u8> {
        let mut options = vec![2, 4, 5, 0xb4];
        if self.has_sack {
            options.extend_from_slice(&[4, 2]);
        }
        if self.has_timestamps {
            options.extend_from_slice(&timestamps(random));
        }
        if let Some(shift) = self.wscale {
            options.extend_from_slice(&[1, 3, 3, shift]);
        }
        options
    }

    /// Returns a sequence number for this side near one of the bounds that a tracker has for it.
    pub fn hostile_seq(&self, other: &Self, random: &mut Random, len: u32) -> u32 {
        let base = match random.below(11) {
            0..=2 => self.edge,
            3 => self.edge.wrapping_sub(len),
            4 => self.edge.wrapping_add(other.max_win).wrapping_sub(len),
            5 => self.next.wrapping_sub(other.max_win).wrapping_sub(len),
            6 => other.acked,
            7 => self.isn,
            8 => random.pick(&[0, random_word(self.next)]),
            9 => self.next.wrapping_add(0x8000_0000),
            _ => self.next,
        };
        base.wrapping_add(near(random))
    }

    /// Returns an acknowledgement by this side near one of the bounds that a tracker has for it.
    pub fn hostile_ack(&self, other: &Self, random: &mut Random) -> u32 {
        let base = match random.below(9) {
            0..=2 => other.next,
            3 => other.next.wrapping_sub(self.max_win.max(66_000)),
            4 => self.acked,
            5 => other.isn,
            6 => random.pick(&[0, other.edge]),
            7 => other.next.wrapping_add(0x8000_0000),
            _ => other.next.wrapping_sub(66_000),
        };
        base.wrapping_add(near(random))
    }
}

/// Returns −2 to +2 most of the time, and a longer way some of it.
fn near(random: &mut Random) -> u32 {
    let step = random.pick(&[0, 0, 1, 1, 2, -1i32, -1, -2, 1448, -1448, 100_000, -100_000]);
    step.cast_unsigned()
}

/// Returns a number that has nothing to do with the one given.
fn random_word(seed: u32) -> u32 {
    Random::new(u64::from(seed)).word() as u32
}

/// Returns the timestamps option behind two NOPs.
pub fn timestamps(random: &mut Random) -> [u8; 12] {
    let mut option = [1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    option[4..12].copy_from_slice(&random.word().to_be_bytes());
    option
}

/// Returns a SACK option with these blocks behind two NOPs.
pub fn sack(blocks: &[(u32, u32)]) -> Vec<u8> {
    let mut option = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
    for (left, right) in blocks {
        option.extend_from_slice(&left.to_be_bytes());
        option.extend_from_slice(&right.to_be_bytes());
    }
    option
}
