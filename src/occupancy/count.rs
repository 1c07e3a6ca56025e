//! The entries of every run, by protocol.
//!
//! Only the beginning and the end of an entry are counted, so that a packet which changes neither
//! costs nothing.
//!
//! Does not: know services, states or limits.

use crate::occupancy::series::Series;
use crate::time::Timestamp;

/// Protocols that are counted apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// TCP.
    Tcp,
    /// UDP and UDP-Lite.
    Udp,
    /// ICMP queries and protocols without a tracker of their own.
    Other,
}

impl Group {
    /// All groups.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Other];

    /// Returns the group of an IP protocol number.
    pub const fn of(protocol: u8) -> Self {
        match protocol {
            6 => Self::Tcp,
            17 | 136 => Self::Udp,
            _ => Self::Other,
        }
    }

    /// Returns the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Other => "other",
        }
    }
}

/// The count of entries made, beside those of [`Group::ALL`].
const MADE: usize = 3;

/// Entries over time.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Occupancy {
    series: Series<4>,
}

/// The entries at the end of one step of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// When the step ends.
    pub at: Timestamp,
    /// Entries at that time, in the order of [`Group::ALL`].
    pub entries: [u64; 3],
    /// Entries made within the step.
    pub made: u64,
}

impl Reading {
    /// Returns all entries.
    pub fn total(&self) -> u64 {
        self.entries.iter().sum()
    }
}

impl Occupancy {
    /// Counts an entry that is made.
    #[inline]
    pub fn open(&mut self, at: Timestamp, group: Group) {
        self.series.add_each(at, [(group as usize, 1), (MADE, 1)]);
    }

    /// Counts an entry that expires or is deleted.
    #[inline]
    pub fn close(&mut self, at: Timestamp, group: Group) {
        self.series.add(at, group as usize, -1);
    }

    /// Counts all times from the second of another.
    pub fn count_from(&mut self, start: Timestamp) {
        self.series.count_from(start);
    }

    /// Adds the counts of another part of the run.
    pub fn merge(&mut self, part: &Self) {
        self.series.merge(&part.series);
    }

    /// Returns the seconds between two readings: 1, or more in a capture of more than 18 hours.
    pub const fn step_seconds(&self) -> i64 {
        self.series.step_seconds()
    }

    /// Returns the entries at the end of each step, from the first entry on.
    pub fn readings(&self) -> impl Iterator<Item = Reading> {
        self.series.steps().map(|step| {
            let count = |number: i64| u64::try_from(number).unwrap_or(0);
            let [tcp, udp, other, _] = step.sums.map(count);
            let [.., made] = step.changes.map(count);
            Reading { at: step.end, entries: [tcp, udp, other], made }
        })
    }

    /// Returns the first of the readings with the most entries.
    pub fn peak(&self) -> Option<Reading> {
        // The last of the greatest is what `max_by_key` returns.
        let readings: Vec<_> = self.readings().collect();
        readings.into_iter().rev().max_by_key(Reading::total)
    }

    /// Returns the most entries that the kernel's own counter could show, if its collector removes
    /// each expired entry only this long after its end.
    pub fn peak_if_collected_after(&self, nanos: i64) -> u64 {
        let readings: Vec<_> = self.readings().collect();
        let mut late = readings.iter().scan(0, |made, reading| {
            *made += reading.made;
            Some((reading.at, *made - reading.total()))
        });
        let (mut ended_by_then, mut next) = (0, late.next());
        let (mut made, mut peak) = (0, 0);
        for reading in &readings {
            made += reading.made;
            while let Some((at, ended)) = next
                && at.plus_nanos(nanos) <= reading.at
            {
                ended_by_then = ended;
                next = late.next();
            }
            peak = peak.max(made - ended_by_then);
        }
        peak
    }

    /// Returns all entries ever made.
    pub fn made(&self) -> u64 {
        self.readings().map(|reading| reading.made).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::NANOS_PER_SEC;

    fn second(n: i64) -> Timestamp {
        Timestamp::from_parts(n, 0)
    }

    #[test]
    fn entries_count_from_their_first_packet_to_their_end() {
        let mut occupancy = Occupancy::default();
        occupancy.open(second(0), Group::Tcp);
        occupancy.open(second(1), Group::Udp);
        occupancy.close(second(3), Group::Udp);
        let totals: Vec<_> = occupancy.readings().map(|reading| reading.total()).collect();
        assert_eq!(totals, [1, 2, 2, 1]);
        let peak = occupancy.peak().unwrap();
        assert_eq!((peak.at, peak.entries, peak.made), (second(2), [1, 1, 0], 1));
        assert_eq!(occupancy.made(), 2);
    }

    #[test]
    fn a_late_collector_leaves_the_counter_higher() {
        let mut occupancy = Occupancy::default();
        for n in 0..100 {
            occupancy.open(second(n), Group::Udp);
            occupancy.close(second(n + 5), Group::Udp);
        }
        assert_eq!(occupancy.peak().unwrap().total(), 5);
        assert_eq!(occupancy.peak_if_collected_after(0), 5);
        assert_eq!(occupancy.peak_if_collected_after(10 * NANOS_PER_SEC), 15);
        assert_eq!(occupancy.peak_if_collected_after(1000 * NANOS_PER_SEC), 100);
    }
}
