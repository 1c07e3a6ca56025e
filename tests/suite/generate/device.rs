//! What stands between two ends and changes or drops their segments.

use tcp_window_audit::segment::{Direction, Flags, PerDirection, SackBlocks, Segment};
use tcp_window_audit::seq::SeqNum;

/// What becomes of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Passes,
    Dropped,
}

/// A box in the path. The original direction is that of the end which opens the connection.
pub(crate) trait Device {
    fn handle(&mut self, direction: Direction, segment: &mut Segment) -> Fate;
}

/// Adds a constant to the sequence numbers of each direction, as Cisco PIX and ASA do to hide weak
/// initial numbers, corrects the acknowledgements of the other one, and forgets the SACK blocks.
#[derive(Debug)]
pub(crate) struct SequenceRandomiser {
    /// What is added to the numbers of each direction as they pass.
    pub shift: PerDirection<u32>,
}

impl Device for SequenceRandomiser {
    fn handle(&mut self, direction: Direction, segment: &mut Segment) -> Fate {
        segment.seq = segment.seq.plus(self.shift[direction]);
        if segment.has(Flags::ACK) {
            segment.ack = segment.ack.minus(self.shift[direction.flip()]);
        }
        Fate::Passes
    }
}

/// Removes the window scale option from the SYN-ACK, and from nothing else.
#[derive(Debug)]
pub(crate) struct WscaleStripper;

impl Device for WscaleStripper {
    fn handle(&mut self, _: Direction, segment: &mut Segment) -> Fate {
        if segment.has(Flags::SYN.with(Flags::ACK)) {
            segment.options.wscale = None;
        }
        Fate::Passes
    }
}

/// Puts the option back, as the second of a pair of devices does that keep it between them.
#[derive(Debug)]
pub(crate) struct WscaleRestorer(pub u8);

impl Device for WscaleRestorer {
    fn handle(&mut self, _: Direction, segment: &mut Segment) -> Fate {
        if segment.has(Flags::SYN.with(Flags::ACK)) {
            segment.options.wscale = Some(self.0);
        }
        Fate::Passes
    }
}

/// Removes all options but the maximum segment size from both SYNs.
#[derive(Debug)]
pub(crate) struct OptionStripper;

impl Device for OptionStripper {
    fn handle(&mut self, _: Direction, segment: &mut Segment) -> Fate {
        let options = &mut segment.options;
        if segment.flags.contains(Flags::SYN) {
            (options.wscale, options.sack_permitted, options.timestamps) = (None, false, None);
            options.sack = SackBlocks::default();
        }
        Fate::Passes
    }
}

/// Drops what acknowledges, by its number or by a SACK edge, bytes that have not come by: the
/// part of a strict tracker that matters for a sender whose firewall drops INVALID.
#[derive(Default, Debug)]
pub(crate) struct StrictFirewall {
    end: PerDirection<Option<SeqNum>>,
}

impl Device for StrictFirewall {
    fn handle(&mut self, direction: Direction, segment: &mut Segment) -> Fate {
        let unseen = self.end[direction.flip()].is_some_and(|end| segment.sack().is_after(end));
        if segment.has(Flags::ACK) && unseen {
            return Fate::Dropped;
        }
        let end = segment.end();
        self.end[direction] = Some(self.end[direction].map_or(end, |highest| highest.latest(end)));
        Fate::Passes
    }
}
