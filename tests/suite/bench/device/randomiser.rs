//! A device that shifts sequence numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pass;
use crate::bench::packet::{ACK, Ends, Packet, SACK};
use crate::bench::path::{Device, Out, Way};
use crate::generate::Random;

/// What becomes of SACK edges.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Sack {
    /// Translated, as they must be.
    Rewritten,
    /// Forgotten, as by Cisco PIX and ASA.
    LeftAlone,
}

/// Adds a constant to the numbers of each flow and direction and translates acknowledgements back.
pub(in crate::bench) struct Randomiser {
    sack: Sack,
    /// What is added to numbers that walk away, and home.
    shifts: BTreeMap<Ends, [u32; 2]>,
    random: Random,
}

impl Randomiser {
    pub(in crate::bench) fn new(sack: Sack, seed: u64) -> Self {
        Self { sack, shifts: BTreeMap::new(), random: Random(seed) }
    }

    /// Returns the shifts of a flow: both up for the first, both down for the second, and so on.
    ///
    /// Far from zero and from half the circle, 2²⁸ to 2³⁰, so that up is up.
    fn shifts(&mut self, flow: Ends) -> [u32; 2] {
        let is_up = self.shifts.len().is_multiple_of(2);
        let random = &mut self.random;
        *self.shifts.entry(flow).or_insert_with(|| {
            [(); 2].map(|()| {
                let shift = (1 << 28) + random.word() % (3 << 28);
                if is_up { shift } else { shift.wrapping_neg() }
            })
        })
    }
}

impl Device for Randomiser {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.is_tcp() {
            let shifts = self.shifts(packet.ends().flow());
            let (own, other) = (shifts[way as usize], shifts[way.flip() as usize]);
            packet.set_seq(packet.seq().wrapping_add(own));
            if packet.has(ACK) {
                packet.set_ack(packet.ack().wrapping_sub(other));
            }
            if self.sack == Sack::Rewritten {
                shift_sack(&mut packet, other.wrapping_neg());
            }
            packet.mend();
        }
        pass(way, packet, out);
    }
}

/// Moves the edges of SACK blocks.
pub(in crate::bench) fn shift_sack(packet: &mut Packet, by: u32) {
    let mut options = packet.options();
    for (_, edges) in options.iter_mut().filter(|(kind, _)| *kind == SACK) {
        for edge in edges.chunks_exact_mut(4) {
            let number = u32::from_be_bytes([edge[0], edge[1], edge[2], edge[3]]);
            edge.copy_from_slice(&number.wrapping_add(by).to_be_bytes());
        }
    }
    packet.set_options(&options);
}
