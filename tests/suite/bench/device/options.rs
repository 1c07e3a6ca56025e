//! Devices that change the options of segments, or the window.

use std::time::Duration;

use super::{Choice, pass};
use crate::bench::packet::{NOP, Packet, TIMESTAMPS, TcpOption, WSCALE};
use crate::bench::path::{Device, Out, Way};

/// How an option is taken away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Stripping {
    /// NOPs stand in its place, as nft and TCPOPTSTRIP leave it.
    Nops,
    /// What follows moves up.
    Removal,
}

/// Takes options of these kinds away from what is chosen.
pub(in crate::bench) struct Strips {
    pub kinds: &'static [u8],
    pub how: Stripping,
    pub from: Choice,
}

impl Device for Strips {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.is_tcp() && (self.from)(way, &packet) {
            let strip = |(kind, value): TcpOption| match self.how {
                _ if !self.kinds.contains(&kind) => vec![(kind, value)],
                Stripping::Nops => vec![(NOP, Vec::new()); value.len() + 2],
                Stripping::Removal => Vec::new(),
            };
            let options: Vec<_> = packet.options().into_iter().flat_map(strip).collect();
            packet.set_options(&options);
            packet.mend();
        }
        pass(way, packet, out);
    }
}

/// Puts an option into what is chosen, in the place of one of its kind, or behind all others.
pub(in crate::bench) struct Puts {
    pub option: TcpOption,
    pub into: Choice,
}

impl Puts {
    /// Writes another shift count into what is chosen.
    pub(in crate::bench) fn wscale(shift: u8, into: Choice) -> Self {
        Self { option: (WSCALE, vec![shift]), into }
    }
}

impl Device for Puts {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.is_tcp() && (self.into)(way, &packet) {
            let mut options = packet.options();
            match options.iter_mut().find(|(kind, _)| *kind == self.option.0) {
                Some(there) => *there = self.option.clone(),
                None => options.extend([(NOP, Vec::new()), self.option.clone()]),
            }
            packet.set_options(&options);
            packet.mend();
        }
        pass(way, packet, out);
    }
}

/// Multiplies the windows of what is chosen by a fraction.
pub(in crate::bench) struct ScalesWindow {
    pub of: Choice,
    pub by: (u32, u32),
}

impl Device for ScalesWindow {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.is_tcp() && (self.of)(way, &packet) {
            let win = u32::from(packet.win()) * self.by.0 / self.by.1;
            packet.set_win(u16::try_from(win).unwrap_or(u16::MAX));
            packet.mend();
        }
        pass(way, packet, out);
    }
}

/// Sets the clock back that the timestamps of what is chosen show; echoes of it that are chosen are
/// set forward again.
pub(in crate::bench) struct SetsClockBack {
    pub of: Choice,
    /// Ticks of that clock.
    pub by: u32,
}

impl Device for SetsClockBack {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.is_tcp() && (self.of)(way, &packet) {
            let mut options = packet.options();
            let (at, by) = match way {
                Way::Away => (0..4, self.by.wrapping_neg()),
                Way::Home => (4..8, self.by),
            };
            for (_, value) in options.iter_mut().filter(|(kind, _)| *kind == TIMESTAMPS) {
                let clock = u32::from_be_bytes(value[at.clone()].try_into().unwrap());
                value[at.clone()].copy_from_slice(&clock.wrapping_add(by).to_be_bytes());
            }
            packet.set_options(&options);
            packet.mend();
        }
        pass(way, packet, out);
    }
}
