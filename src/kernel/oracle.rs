//! One packet in, one verdict out.
//!
//! Does not: know how the namespace is made or how messages are built.

use super::expiry::{Expiries, PARKED, PARKED_LOW};
use super::namespace::Namespace;
use super::netlink::{self, ERROR, Message, Messages};
use super::nflog::{self, Logged};
use super::packet::{Sight, Tuple};
use super::sys::Inbox;
use super::{
    CtState, EntryState, Error, Feature, Guard, KernelVerdict, OracleSettings, TimeMode, ctnetlink,
    ruleset, tap,
};
use crate::segment::Direction;
use crate::time::{CaptureClock, Timestamp};

/// The Linux kernel as judge, with a connection table of its own.
///
/// Dropping it removes the namespace and all that is in it.
#[derive(Debug)]
pub struct Oracle {
    namespace: Namespace,
    time: TimeMode,
    clock: CaptureClock,
    expiries: Expiries,
    /// The number of the last packet fed.
    number: u32,
    request: Messages,
    inbox: Inbox,
}

/// What came back for one packet.
#[derive(Default, Debug)]
struct Answer {
    verdict: Option<(CtState, Option<Direction>)>,
    /// The first bytes that were judged, when they are another datagram than was fed.
    reassembled: Option<Sight>,
    reasons: Vec<String>,
    entry: Option<ctnetlink::Entry>,
    /// Whether the kernel said that there is no entry.
    has_no_entry: bool,
}

impl Oracle {
    /// Makes a namespace of its own and judges a first packet to see that everything works.
    ///
    /// # Errors
    ///
    /// When this process may not, or the kernel lacks something: the error names it.
    pub fn new(settings: &OracleSettings) -> Result<Self, Error> {
        let mut oracle = Self {
            namespace: Namespace::new(settings)?,
            time: settings.time,
            clock: CaptureClock::default(),
            expiries: Expiries::default(),
            number: 0,
            request: Messages::default(),
            inbox: Inbox::default(),
        };
        oracle.prove()?;
        Ok(oracle)
    }

    /// Feeds one IP packet, as it was on the wire from its IP header, and returns what the kernel
    /// said about it.
    ///
    /// The time is the capture's ([`Frame::clock`](crate::frame::Frame)), in nanoseconds since 1970;
    /// it never goes back here, as [`CaptureClock`] says. A packet that is neither IPv4 nor IPv6 is not fed and `Unseen`.
    ///
    /// # Errors
    ///
    /// When the packet could not be fed, the answer could not be read, or does not belong to the
    /// packet; no verdict of the run is then to be trusted.
    pub fn judge(
        &mut self,
        ip_packet: &[u8],
        capture_time_ns: i64,
    ) -> Result<KernelVerdict, Error> {
        let Some(sight) = Sight::of(ip_packet) else {
            return Ok(without_answer(CtState::Unseen));
        };
        self.number = self.number.wrapping_add(1);
        let now = self.clock.advance(Timestamp(capture_time_ns));
        if self.number.is_multiple_of(COUNT_EVERY) {
            self.check_count()?;
        }
        self.prepare(&sight, now)?;
        let fed = self.namespace.tap.feed(self.number, ip_packet, sight.version);
        fed.map_err(|source| Error::Feed { packet: self.number, source })?;
        if let Some(tuple) = &sight.tuple {
            self.ask(tuple)?;
        }
        let mut answer = self.collect(ip_packet, &sight)?;
        let tuple = sight.tuple.or_else(|| answer.reassembled.take()?.tuple);
        if let (None, Some(tuple)) = (&sight.tuple, &tuple) {
            self.ask(tuple)?;
            let late = self.collect(ip_packet, &sight)?;
            (answer.entry, answer.has_no_entry) = (late.entry, late.has_no_entry);
        }
        self.conclude(answer, &sight, tuple, now)
    }

    /// Forgets every connection and the time, as if no packet had been judged.
    ///
    /// Fragments that wait for the rest are not forgotten.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be told.
    pub fn clear(&mut self) -> Result<(), Error> {
        self.request.clear();
        ctnetlink::delete_all(&mut self.request, ORDER);
        self.send()?;
        self.expiries = Expiries::default();
        self.clock = CaptureClock::default();
        Ok(())
    }

    /// Turns what came back into a verdict, and notes when the entry ends.
    fn conclude(
        &mut self,
        answer: Answer,
        sight: &Sight,
        tuple: Option<Tuple>,
        now: Timestamp,
    ) -> Result<KernelVerdict, Error> {
        if tuple.is_some() && answer.entry.is_none() && !answer.has_no_entry {
            return Err(self.distrust(Guard::Refused));
        }
        let entry = answer.entry.map(|entry| EntryState {
            tcp: entry.tcp,
            status: entry.status,
            timeout_s: self.namespace.codes.decode(entry.remaining_s, entry.tcp.as_ref()),
        });
        if let (TimeMode::Virtual, Some(tuple)) = (self.time, tuple) {
            match entry {
                Some(EntryState { timeout_s: Some(seconds), .. }) => {
                    self.expiries.set(tuple.canonical(), now, seconds);
                }
                Some(_) => {}
                None => self.expiries.remove(&tuple.canonical()),
            }
        }
        let Some((state, direction)) = answer.verdict else {
            let state = if sight.is_fragment { CtState::FragmentHeld } else { CtState::Unseen };
            return Ok(KernelVerdict { reasons: answer.reasons, ..without_answer(state) });
        };
        let entry = entry.filter(|_| state != CtState::Untracked);
        Ok(KernelVerdict { state, direction, entry, reasons: answer.reasons })
    }

    /// Brings the table to the state it would have at this time, before the packet is fed.
    fn prepare(&mut self, sight: &Sight, now: Timestamp) -> Result<(), Error> {
        if self.time == TimeMode::Fast {
            return Ok(());
        }
        self.request.clear();
        while let Some(ended) = self.expiries.pop_ended(now) {
            ctnetlink::delete(&mut self.request, ORDER, &ended);
            if self.request.as_bytes().len() > ENOUGH {
                self.send()?;
            }
        }
        if let Some(tuple) = sight.tuple.filter(|_| sight.is_closing) {
            let limit = self.namespace.unacknowledged_s;
            if self.expiries.ends_soon(&tuple.canonical(), now, limit) {
                ctnetlink::set_timeout(&mut self.request, ORDER, &tuple, PARKED_LOW);
            }
        }
        if self.request.is_empty() { Ok(()) } else { self.send() }
    }

    /// Asks for the entry of the tuple and, where entries are parked, parks it.
    fn ask(&mut self, tuple: &Tuple) -> Result<(), Error> {
        self.request.clear();
        ctnetlink::ask(&mut self.request, QUESTION, tuple);
        if self.time == TimeMode::Virtual {
            ctnetlink::set_timeout(&mut self.request, PARKING, tuple, PARKED);
        }
        self.send()
    }

    fn send(&mut self) -> Result<(), Error> {
        let sent = self.namespace.netlink.send(self.request.as_bytes());
        self.request.clear();
        sent.map_err(|source| Error::Answer { packet: self.number, source })
    }

    /// Reads all that has arrived: it is about this packet, or the run is not to be trusted.
    fn collect(&mut self, ip_packet: &[u8], sight: &Sight) -> Result<Answer, Error> {
        let mut answer = Answer::default();
        loop {
            let more = self.inbox.receive(&self.namespace.netlink);
            let more = more.map_err(|source| Error::Answer { packet: self.number, source })?;
            for message in self.inbox.datagrams().flat_map(netlink::messages) {
                let read = self.read(&message, ip_packet, sight, &mut answer);
                read.map_err(|guard| self.distrust(guard))?;
            }
            if !more {
                return Ok(answer);
            }
        }
    }

    fn read(
        &self,
        message: &Message<'_>,
        ip_packet: &[u8],
        sight: &Sight,
        answer: &mut Answer,
    ) -> Result<(), Guard> {
        match (message.kind, message.seq) {
            (nflog::PACKET, _) => {
                let logged = Logged::read(message);
                check_bytes(&logged, ip_packet, sight)?;
                if message.resource() == Some(nflog::TEXTS) {
                    answer.reasons.push(String::from_utf8_lossy(logged.text).into_owned());
                    return Ok(());
                }
                self.check_number(&logged, sight)?;
                let mark = logged.mark.ok_or(Guard::Unmarked)?;
                let verdict = ruleset::verdict_in(mark).ok_or(Guard::Unmarked)?;
                if answer.verdict.replace(verdict).is_some() {
                    return Err(Guard::TwoVerdicts);
                }
                if sight.is_fragment {
                    answer.reassembled = Sight::of(logged.bytes);
                }
                Ok(())
            }
            (ctnetlink::ENTRY, QUESTION) => {
                answer.entry = ctnetlink::Entry::read(message);
                Ok(())
            }
            (ERROR, QUESTION) => {
                answer.has_no_entry = true;
                Ok(())
            }
            (ERROR, PARKING) if answer.has_no_entry => Ok(()),
            (ERROR, ORDER | PARKING) => Err(Guard::Refused),
            _ => Err(Guard::Unasked),
        }
    }

    /// Compares the number in the link header; a reassembled datagram has that of a fragment.
    fn check_number(&self, logged: &Logged<'_>, sight: &Sight) -> Result<(), Guard> {
        let got = logged.link_header.and_then(tap::number_in).ok_or(Guard::Unmarked)?;
        let is_of_this = if sight.is_fragment { got <= self.number } else { got == self.number };
        if is_of_this { Ok(()) } else { Err(Guard::OtherNumber { got }) }
    }

    /// Looks whether the table has room for the packets until the next look.
    fn check_count(&mut self) -> Result<(), Error> {
        let limit = self.namespace.limit;
        if limit == 0 {
            return Ok(());
        }
        self.request.clear();
        ctnetlink::ask_count(&mut self.request, QUESTION, 0);
        self.send()?;
        let received = self.inbox.receive(&self.namespace.netlink);
        received.map_err(|source| Error::Answer { packet: self.number, source })?;
        let messages = self.inbox.datagrams().flat_map(netlink::messages);
        let mut counts = messages.filter(|message| message.kind == ctnetlink::COUNT);
        let Some(entries) = counts.find_map(|message| ctnetlink::read_count(&message)) else {
            return Err(self.distrust(Guard::Refused));
        };
        if entries.saturating_add(COUNT_EVERY) > limit {
            return Err(Error::TableFull { packet: self.number, entries, limit });
        }
        Ok(())
    }

    /// Judges a SYN between documentation addresses until an answer comes, and removes its entry.
    ///
    /// The bridge begins to forward some milliseconds after its devices are switched on.
    fn prove(&mut self) -> Result<(), Error> {
        for _ in 0..PROOF_TRIES {
            let verdict = self.judge(&PROOF, 0)?;
            let is_tracked = verdict.state == CtState::New && verdict.entry.is_some();
            if is_tracked {
                self.clear()?;
                self.number = 0;
                return Ok(());
            }
            let waited = self.namespace.netlink.wait(PROOF_WAIT_MS);
            waited.map_err(|source| Error::Missing(Feature::Path, source))?;
        }
        Err(Error::Missing(Feature::Path, std::io::ErrorKind::TimedOut.into()))
    }

    fn distrust(&self, guard: Guard) -> Error {
        Error::Guard { packet: self.number, guard }
    }
}

/// A packet that no rule saw.
const fn without_answer(state: CtState) -> KernelVerdict {
    KernelVerdict { state, direction: None, entry: None, reasons: Vec::new() }
}

/// Compares the first bytes that were judged with those that were fed; of what is reassembled, the
/// addresses.
fn check_bytes(logged: &Logged<'_>, fed: &[u8], sight: &Sight) -> Result<(), Guard> {
    let compared = match (sight.may_be_rewritten, sight.version) {
        (false, _) => 0..COMPARED.min(fed.len()).min(logged.bytes.len()),
        (true, tap::IpVersion::V4) => 12..20,
        (true, tap::IpVersion::V6) => 8..40,
    };
    let is_same =
        !logged.bytes.is_empty() && logged.bytes.get(compared.clone()) == fed.get(compared);
    if is_same { Ok(()) } else { Err(Guard::OtherBytes) }
}

/// The numbers of what is asked, by kind.
const QUESTION: u32 = 1;
const PARKING: u32 = 2;
const ORDER: u32 = 3;
/// Packets between two looks at the number of entries.
const COUNT_EVERY: u32 = 8192;
/// Bytes of orders that are sent at once.
const ENOUGH: usize = 16_384;
/// Bytes that are compared: IPv4 and TCP header, or an IPv6 header.
const COMPARED: usize = 40;
const PROOF_TRIES: u32 = 400;
const PROOF_WAIT_MS: i32 = 5;

/// A SYN from 192.0.2.1:1 to 192.0.2.2:1 with right checksums.
const PROOF: [u8; 40] = [
    0x45, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00, 0x00, 0x40, 0x06, 0xf6, 0xcc, 192, 0, 2, 1, 192, 0,
    2, 2, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x50, 0x02, 0x10,
    0x00, 0x1b, 0xdd, 0x00, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet slips in that nobody asked about: its answer must not pass for that of the next.
    #[test]
    fn an_answer_about_another_packet_ends_the_run() {
        let mut oracle = match Oracle::new(&OracleSettings::default()) {
            Ok(oracle) => oracle,
            Err(error) => return println!("skipped: {error}"),
        };
        oracle.judge(&PROOF, 0).unwrap();
        oracle.namespace.tap.feed(7777, &PROOF, tap::IpVersion::V4).unwrap();
        let error = oracle.judge(&PROOF, 0).unwrap_err();
        assert!(matches!(error, Error::Guard { guard: Guard::OtherNumber { got: 7777 }, .. }));
        assert!(error.to_string().ends_with("do not trust this run"), "{error}");
    }

    #[test]
    fn an_answer_about_other_bytes_ends_the_run() {
        let mut oracle = match Oracle::new(&OracleSettings::default()) {
            Ok(oracle) => oracle,
            Err(error) => return println!("skipped: {error}"),
        };
        let mut other = PROOF;
        other[21] = 2;
        oracle.namespace.tap.feed(oracle.number + 1, &other, tap::IpVersion::V4).unwrap();
        let error = oracle.judge(&PROOF, 0).unwrap_err();
        assert!(matches!(error, Error::Guard { guard: Guard::OtherBytes, .. }), "{error}");
    }
}
