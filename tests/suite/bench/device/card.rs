//! Cards that join segments on their way into a host, and what splits them again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{pass, put};
use crate::bench::packet::{ACK, Ends, FIN, PSH, Packet, RST, SYN};
use crate::bench::path::{Device, Element, Out, Way};

/// How long a card waits for what follows: as long as one interrupt gathers.
const GATHERING: Duration = Duration::from_micros(400);
/// The most bytes of a joined packet.
const MOST: usize = 60_000;

/// Makes a card that joins the segments of a flow that come this way in a burst, as LRO and GRO do.
///
/// In the order in which the packets walk: what gathers, and what hands over.
pub(in crate::bench) fn card(way: Way) -> [Element; 2] {
    let gathered = Gathered::default();
    let gathers = put(Gathers { way, gathered: Arc::clone(&gathered) });
    let hands_over = put(HandsOver { way, gathered });
    match way {
        Way::Away => [gathers, hands_over],
        Way::Home => [hands_over, gathers],
    }
}

/// The packets that are being joined, one a flow.
type Gathered = Arc<Mutex<BTreeMap<Ends, Packet>>>;

/// Lets the first packet of a burst wait, and joins to it what follows it.
struct Gathers {
    way: Way,
    gathered: Gathered,
}

impl Device for Gathers {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        let is_plain = packet.has(ACK) && ![SYN, FIN, RST].iter().any(|flag| packet.has(*flag));
        let can_join = is_plain && packet.payload_len() > 0;
        let mut gathered = self.gathered.lock().unwrap();
        match gathered.get_mut(&packet.ends()) {
            _ if way != self.way => return pass(way, packet, out),
            Some(first) if can_join && follows(first, &packet) => return join(first, &packet),
            // Nothing overtakes what waits.
            Some(_) => {}
            None if can_join => drop(gathered.insert(packet.ends(), packet.clone())),
            None => return pass(way, packet, out),
        }
        out.push(Out { way, after: GATHERING, packet });
    }
}

fn follows(first: &Packet, next: &Packet) -> bool {
    first.end() == next.seq() && first.bytes.len() + next.payload_len() <= MOST
}

fn join(first: &mut Packet, next: &Packet) {
    first.append_bytes(next.payload());
    if next.has(PSH) {
        first.set_flags(ACK | PSH);
    }
    first.set_ack(next.ack());
    first.set_win(next.win());
    first.mend();
}

/// Hands over what was joined in the place of the packet that waited.
struct HandsOver {
    way: Way,
    gathered: Gathered,
}

impl Device for HandsOver {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        let mut gathered = self.gathered.lock().unwrap();
        let is_first = |first: &Packet| way == self.way && first.seq() == packet.seq();
        if gathered.get(&packet.ends()).is_some_and(is_first)
            && let Some(joined) = gathered.remove(&packet.ends())
        {
            return pass(way, joined, out);
        }
        pass(way, packet, out);
    }
}

/// Cuts what carries more than so many bytes of payload into segments, as GSO does on the way out.
pub(in crate::bench) struct Splits {
    pub most: usize,
}

impl Device for Splits {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.payload_len() <= self.most {
            return pass(way, packet, out);
        }
        let count = packet.payload_len().div_ceil(self.most);
        for (number, payload) in (0..).zip(packet.payload().chunks(self.most)) {
            let mut part = packet.clone();
            let before = u32::try_from(self.most).unwrap() * number;
            part.cut_payload();
            part.append_bytes(payload);
            part.set_seq(packet.seq().wrapping_add(before));
            part.set_id(packet.id().wrapping_add(u16::try_from(number).unwrap()));
            if usize::try_from(number).unwrap() + 1 < count {
                part.set_flags(ACK);
            }
            part.mend();
            pass(way, part, out);
        }
    }
}
