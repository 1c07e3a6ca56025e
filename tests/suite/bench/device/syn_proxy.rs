//! A SYN proxy: answers the client itself, and opens towards the server once the client is real.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pass;
use super::randomiser::shift_sack;
use crate::bench::packet::{
    ACK, Ends, MSS, NOP, Packet, SACK_PERMITTED, SYN, TIMESTAMPS, TcpOption, WSCALE,
};
use crate::bench::path::{Device, Out, Way};

/// The window of a SYN of Linux.
const SYN_WIN: u16 = 64_240;

/// Answers SYNs with a cookie of its own; later numbers of the server are shifted by a constant.
pub(in crate::bench) struct SynProxy {
    /// The shift count that it tells clients in the name of all servers.
    pub wscale: u8,
    pub flows: BTreeMap<Ends, Flow>,
}

/// A connection on its way through.
pub(in crate::bench) enum Flow {
    /// The client has been answered.
    Answered { options: Vec<TcpOption> },
    /// The server has been asked; what the client sent in the meantime waits.
    Asked { cookie: u32, waiting: Vec<Packet> },
    /// Both are open: what is added to numbers of the server.
    Open { shift: u32 },
}

impl SynProxy {
    pub(in crate::bench) const fn new(wscale: u8) -> Self {
        Self { wscale, flows: BTreeMap::new() }
    }

    fn answer(&mut self, syn: &Packet, out: &mut Vec<Out>) {
        let flow = syn.ends().flow();
        let cookie = syn.seq().wrapping_mul(2_654_435_761) ^ 0x5bd1_e995;
        let mut answer =
            Packet::segment(syn.ends().flip(), SYN | ACK, cookie, syn.seq().wrapping_add(1));
        let nop = || (NOP, Vec::new());
        answer.set_options(&[
            (MSS, 1460u16.to_be_bytes().to_vec()),
            nop(),
            nop(),
            (SACK_PERMITTED, Vec::new()),
            nop(),
            (WSCALE, vec![self.wscale]),
        ]);
        answer.mend();
        let is_known = |kind: u8| kind != TIMESTAMPS && kind != NOP;
        let options = syn.options().into_iter().filter(|(kind, _)| is_known(*kind)).collect();
        self.flows.insert(flow, Flow::Answered { options });
        pass(Way::Home, answer, out);
    }

    fn ask(&mut self, ack: &Packet, options: &[TcpOption], out: &mut Vec<Out>) {
        let mut syn = Packet::segment(ack.ends(), SYN, ack.seq().wrapping_sub(1), 0);
        syn.set_options(options);
        syn.set_win(SYN_WIN);
        syn.mend();
        let cookie = ack.ack().wrapping_sub(1);
        self.flows.insert(ack.ends().flow(), Flow::Asked { cookie, waiting: Vec::new() });
        pass(Way::Away, syn, out);
    }

    fn join(&mut self, syn_ack: &Packet, cookie: u32, waiting: Vec<Packet>, out: &mut Vec<Out>) {
        let shift = cookie.wrapping_sub(syn_ack.seq());
        let flow = syn_ack.ends().flow();
        self.flows.insert(flow, Flow::Open { shift });
        let mut ack = Packet::segment(
            syn_ack.ends().flip(),
            ACK,
            syn_ack.ack(),
            syn_ack.seq().wrapping_add(1),
        );
        ack.set_win(SYN_WIN >> 7);
        ack.mend();
        pass(Way::Away, ack, out);
        let mut update =
            Packet::segment(syn_ack.ends(), ACK, cookie.wrapping_add(1), syn_ack.ack());
        update.set_win(syn_ack.win() >> self.wscale);
        update.mend();
        pass(Way::Home, update, out);
        for packet in waiting {
            pass(Way::Away, translated(packet, Way::Away, shift), out);
        }
    }
}

/// Translates numbers between what the client and what the server knows.
fn translated(mut packet: Packet, way: Way, shift: u32) -> Packet {
    if way == Way::Home {
        packet.set_seq(packet.seq().wrapping_add(shift));
    } else {
        packet.set_ack(packet.ack().wrapping_sub(shift));
        shift_sack(&mut packet, shift.wrapping_neg());
    }
    packet.mend();
    packet
}

impl Device for SynProxy {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if way == Way::Away && packet.is_bare_syn() {
            return self.answer(&packet, out);
        }
        let flow = packet.ends().flow();
        match self.flows.remove(&flow) {
            Some(Flow::Answered { options }) if way == Way::Away => {
                self.ask(&packet, &options, out);
            }
            Some(Flow::Asked { cookie, waiting }) if packet.is_syn_ack() => {
                self.join(&packet, cookie, waiting, out);
            }
            Some(Flow::Asked { cookie, mut waiting }) => {
                if way == Way::Away {
                    waiting.push(packet);
                }
                self.flows.insert(flow, Flow::Asked { cookie, waiting });
            }
            Some(Flow::Open { shift }) => {
                pass(way, translated(packet, way, shift), out);
                self.flows.insert(flow, Flow::Open { shift });
            }
            Some(Flow::Answered { .. }) | None => {}
        }
    }
}
