//! A TCP end: handshake, options, and the two halves joined.

use tcp_window_audit::segment::{Flags, Options, SackBlock, Segment, TcpTimestamps};
use tcp_window_audit::seq::SeqNum;

use super::MILLISECOND;
use super::receiver::{Due, Receiver};
use super::sender::{Sender, Stretch};

const DELAYED_ACK: i64 = 40 * MILLISECOND;
/// The window of a SYN; it grows by twice what arrives until the whole buffer is offered.
const FIRST_WINDOW: u64 = 64_240;

/// What an end offers in its SYN, and how much it lets arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub mss: u16,
    pub wscale: Option<u8>,
    pub sack: bool,
    pub timestamps: bool,
    pub buffer: u32,
}

impl Offer {
    /// What a Linux host offers on Ethernet.
    pub(crate) const LINUX: Self =
        Self { mss: 1460, wscale: Some(7), sack: true, timestamps: true, buffer: 262_144 };
}

#[derive(Debug)]
pub(super) struct Endpoint {
    isn: u32,
    peer_isn: Option<u32>,
    offer: Offer,
    /// The shift counts of the windows sent and received; 0 until the handshake is done.
    own_shift: u8,
    peer_shift: u8,
    sack: bool,
    timestamps: bool,
    clock_base: u32,
    echo: u32,
    ip_id: u16,
    listening: bool,
    /// Offset of the peer's FIN.
    fin_at: Option<u64>,
    pub sender: Sender,
    pub receiver: Receiver,
    ack_deadline: Option<i64>,
}

impl Endpoint {
    pub(super) fn new(isn: u32, offer: Offer, listening: bool) -> Self {
        Self {
            isn,
            peer_isn: None,
            offer,
            own_shift: 0,
            peer_shift: 0,
            sack: false,
            timestamps: false,
            clock_base: isn.rotate_left(7),
            echo: 0,
            ip_id: u16::try_from(isn >> 16).unwrap(),
            listening,
            fin_at: None,
            sender: Sender::new(),
            receiver: Receiver::new(u64::from(offer.buffer)),
            ack_deadline: None,
        }
    }

    /// Returns the number of payload bytes that have arrived in order.
    pub(super) fn bytes_arrived(&self) -> u64 {
        self.receiver.next.saturating_sub(1 + u64::from(self.fin_arrived()))
    }

    pub(super) fn fin_arrived(&self) -> bool {
        self.fin_at.is_some_and(|at| self.receiver.next > at)
    }

    pub(super) const fn is_open(&self) -> bool {
        self.sender.una > 0 && self.receiver.next > 0
    }

    /// Returns when something is due although nothing arrives.
    pub(super) fn deadline(&self) -> Option<i64> {
        self.sender.deadline.into_iter().chain(self.ack_deadline).min()
    }

    /// Returns what a timer that has run out makes this end send.
    pub(super) fn tick(&mut self, now: i64) -> Vec<Segment> {
        if self.sender.deadline.is_some_and(|deadline| deadline <= now) {
            self.sender.timed_out();
        }
        let ack_is_due = self.ack_deadline.is_some_and(|deadline| deadline <= now);
        self.send(now, ack_is_due)
    }

    /// Sends what may be sent, and an acknowledgement in any case if one is due.
    pub(super) fn send(&mut self, now: i64, ack_is_due: bool) -> Vec<Segment> {
        if self.listening && self.peer_isn.is_none() {
            return Vec::new();
        }
        let stretches = self.sender.transmit(now);
        let mut segments: Vec<Segment> =
            stretches.into_iter().map(|stretch| self.segment(now, stretch)).collect();
        if segments.is_empty() && ack_is_due {
            let at = self.sender.next;
            segments.push(self.segment(now, Stretch { start: at, end: at }));
        }
        segments
    }

    /// Takes a segment and returns what it makes this end send.
    pub(super) fn receive(&mut self, now: i64, segment: &Segment) -> Vec<Segment> {
        if segment.has(Flags::SYN) {
            self.syn(segment);
        }
        let Some(peer_isn) = self.peer_isn else { return Vec::new() };
        let start = offset(segment.seq, peer_isn, self.receiver.next);
        if let Some(timestamps) = segment.options.timestamps
            && start <= self.receiver.next
        {
            self.echo = timestamps.value;
        }
        let due =
            self.arrived(start, start + u64::from(segment.end().0.wrapping_sub(segment.seq.0)));
        if segment.has(Flags::FIN) {
            self.fin_at = Some(start + u64::from(segment.len));
        }
        if segment.has(Flags::ACK) {
            self.acknowledged(now, segment);
        }
        if due == Some(Due::Later) && self.ack_deadline.is_none() {
            self.ack_deadline = Some(now + DELAYED_ACK);
        }
        self.send(now, due == Some(Due::Now))
    }

    fn arrived(&mut self, start: u64, end: u64) -> Option<Due> {
        let handshake = start == 0 && self.receiver.next == 0;
        let due = (start < end).then(|| self.receiver.arrived(start, end));
        // A client answers the SYN-ACK at once, a server sends its SYN-ACK anyway.
        if handshake && !self.listening { Some(Due::Now) } else { due }
    }

    fn syn(&mut self, segment: &Segment) {
        self.peer_isn = Some(segment.seq.0);
        let options = &segment.options;
        self.sack = self.offer.sack && options.sack_permitted;
        self.sender.sack = self.sack;
        self.timestamps = self.offer.timestamps && options.timestamps.is_some();
        if let (Some(own), Some(peer)) = (self.offer.wscale, options.wscale) {
            (self.own_shift, self.peer_shift) = (own, peer);
        } else {
            self.receiver.buffer = self.receiver.buffer.min(65_535);
        }
        let mss = u64::from(options.mss.unwrap_or(536).min(self.offer.mss));
        self.sender.open(mss - if self.timestamps { 12 } else { 0 });
    }

    fn acknowledged(&mut self, now: i64, segment: &Segment) {
        let ack = offset(segment.ack, self.isn, self.sender.una);
        if ack > self.sender.next {
            return;
        }
        let shift = if segment.has(Flags::SYN) { 0 } else { self.peer_shift };
        self.sender.window = u64::from(segment.win) << shift;
        // A block outside of what is in flight is not believed (tcp_is_sackblock_valid(), Linux).
        let blocks: Vec<(u64, u64)> = segment
            .options
            .sack
            .as_slice()
            .iter()
            .filter(|_| self.sack)
            .map(|block| {
                let at = |seq| offset(seq, self.isn, self.sender.una);
                (at(block.left), at(block.right))
            })
            .filter(|(l, r)| ack <= *l && l < r && *r <= self.sender.next)
            .collect();
        self.sender.acknowledged(now, ack, &blocks);
    }

    fn segment(&mut self, now: i64, stretch: Stretch) -> Segment {
        self.ip_id = self.ip_id.wrapping_add(1);
        self.ack_deadline = None;
        let mut flags = self.flags(stretch);
        let syn = u64::from(flags.contains(Flags::SYN));
        let fin = u64::from(flags.contains(Flags::FIN));
        let len = u32::try_from(stretch.end - stretch.start - syn - fin).unwrap();
        if len > 0 && stretch.end == self.sender.written {
            flags = flags.with(Flags::PSH);
        }
        let ack = self.peer_isn.map_or(0, |isn| number(isn, self.receiver.next));
        let shift = if syn == 1 { 0 } else { self.own_shift };
        let window = (FIRST_WINDOW + 2 * self.bytes_arrived()).min(self.receiver.buffer);
        let options = if syn == 1 { self.syn_options(now) } else { self.options(now) };
        Segment {
            seq: SeqNum(number(self.isn, stretch.start)),
            ack: SeqNum(ack),
            len,
            win: u16::try_from(window.div_ceil(1 << shift)).unwrap(),
            flags,
            header_len: 20 + super::frame::options_len(&options),
            options,
            ttl: 64,
            ip_id: self.ip_id,
            ..Segment::default()
        }
    }

    fn flags(&self, stretch: Stretch) -> Flags {
        let mut flags = if self.peer_isn.is_some() { Flags::ACK } else { Flags(0) };
        if stretch.start == 0 && stretch.end > 0 {
            flags = flags.with(Flags::SYN);
        }
        if stretch.end > self.sender.written && stretch.end > stretch.start {
            flags = flags.with(Flags::FIN);
        }
        flags
    }

    fn syn_options(&self, now: i64) -> Options {
        let answers = self.listening;
        Options {
            mss: Some(self.offer.mss),
            wscale: self.offer.wscale.filter(|_| !answers || self.own_shift > 0),
            sack_permitted: self.offer.sack && (!answers || self.sack),
            timestamps: (self.offer.timestamps && (!answers || self.timestamps))
                .then(|| self.clock(now)),
            ..Options::default()
        }
    }

    fn options(&mut self, now: i64) -> Options {
        let timestamps = self.timestamps.then(|| self.clock(now));
        let mut options = Options { timestamps, ..Options::default() };
        let blocks = self.receiver.acknowledge(if self.timestamps { 3 } else { 4 });
        let peer_isn = self.peer_isn.unwrap_or_default();
        for (left, right) in blocks.into_iter().filter(|_| self.sack) {
            let at = |offset| SeqNum(number(peer_isn, offset));
            options.sack.push(SackBlock { left: at(left), right: at(right) });
        }
        options
    }

    fn clock(&self, now: i64) -> TcpTimestamps {
        let ticks = u32::try_from(now / MILLISECOND).unwrap();
        TcpTimestamps { value: self.clock_base.wrapping_add(ticks), echo: self.echo }
    }
}

/// Returns the sequence number at an offset from the initial one.
#[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
const fn number(isn: u32, offset: u64) -> u32 {
    isn.wrapping_add(offset as u32)
}

/// Returns the offset of a sequence number that lies within 2³¹ of the offset `near`.
///
/// What would lie before the initial number is far away instead, where nothing is valid.
fn offset(seq: SeqNum, isn: u32, near: u64) -> u64 {
    let distance = seq.offset_from(SeqNum(number(isn, near)));
    near.checked_add_signed(i64::from(distance)).unwrap_or(u64::MAX / 2)
}
