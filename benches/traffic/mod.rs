//! Captures of any size, made from a seed: the same bytes in every run and on every machine.
//!
//! | case | what |
//! | --- | --- |
//! | `a` | bulk: 2,000 flows of packets as large as an Ethernet frame |
//! | `b` | small packets: short web-like flows, 64 of them at a time |
//! | `bb` | the same with all flows alive at once |
//! | `c` | 8 fat flows with 1 % loss, retransmissions, reordering and SACK |
//! | `h` | a SYN flood: every packet a new flow |
//! | `i` | one flow in which every packet after the handshake is INVALID |
//!
//! One flow in ten is IPv6, all but the flood have timestamps and window scaling.

mod hostile;
mod lossy;
mod packet;
mod random;
mod short;

use std::io::{self, Write};

use packet::Capture;
pub use random::Random;

/// What is generated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recipe {
    pub case: Case,
    /// Bytes of the file: it ends with the packet that reaches them, or, where all flows are alive at
    /// once, with the last of the flows, a little earlier.
    pub bytes: u64,
    /// Flows, where the case has as many as wanted.
    pub flows: Option<u64>,
    pub seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Bulk,
    Short,
    ShortAllAlive,
    Lossy,
    SynFlood,
    AllInvalid,
}

impl Case {
    pub const ALL: [(&str, Self); 6] = [
        ("a", Self::Bulk),
        ("b", Self::Short),
        ("bb", Self::ShortAllAlive),
        ("c", Self::Lossy),
        ("h", Self::SynFlood),
        ("i", Self::AllInvalid),
    ];

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, case)| *case)
    }
}

/// Writes the capture and returns the number of its packets.
///
/// # Errors
///
/// Whatever the writer says.
pub fn generate(recipe: &Recipe, out: impl Write) -> io::Result<u64> {
    let mut capture = Capture::new(out, recipe.bytes)?;
    let mut random = Random::new(recipe.seed);
    match recipe.case {
        Case::Bulk => short::bulk(&mut capture, &mut random, recipe.flows.unwrap_or(2000))?,
        Case::Short => short::one_after_another(&mut capture, &mut random)?,
        Case::ShortAllAlive => short::all_alive(&mut capture, &mut random, recipe)?,
        Case::Lossy => lossy::fat(&mut capture, &mut random, recipe.flows.unwrap_or(8))?,
        Case::SynFlood => hostile::syn_flood(&mut capture, &mut random)?,
        Case::AllInvalid => hostile::all_invalid(&mut capture, &mut random)?,
    }
    capture.finish()
}
