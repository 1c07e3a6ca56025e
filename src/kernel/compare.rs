//! The model beside the kernel: every TCP packet is judged by both, and every difference named.
//!
//! Compared are what rules see, the direction, the TCP state afterwards, window scales and flags of
//! both sides, the timeout that was given, and the kernel's own log texts as reason codes. Does
//! not: read files.

use std::collections::BTreeMap;
use std::fmt;

use super::{Error, KernelVerdict, Oracle, OracleSettings, TimeMode, Timeout, replay};
use crate::conntrack::entry::judge;
use crate::conntrack::icmp::judge_error;
use crate::conntrack::sysctl::KEYS;
use crate::conntrack::{
    Arrival, Choices, Entry, ErrorArrival, Feature, Features, Limits, Policy, Reason, Setting,
    Sysctls, Verdict,
};
use crate::frame::Frame;
use crate::segment::Direction;
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::tuple::FlowKey;
use crate::wire::fragments::Reassembler;
use crate::wire::{Checksums, Decoded, IcmpError, Packet, decode_with, ip_packet};

/// What one side said of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opinion {
    /// What rules see, in lower case.
    pub ctstate: String,
    /// Direction in the entry, for packets that are not INVALID.
    pub direction: Option<Direction>,
    /// TCP state of the entry, its two shift counts and its two sets of flags.
    pub entry: Option<(&'static str, [u8; 2], [u8; 2])>,
    /// Seconds that the entry was given, where the kernel told them.
    pub timeout_s: Option<i64>,
    /// Codes of what the kernel logs.
    pub reasons: Vec<&'static str>,
}

impl fmt::Display for Opinion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ctstate)?;
        if let Some(direction) = self.direction {
            write!(f, " {}", direction.name())?;
        }
        match self.entry {
            Some((state, [there, back], [flags, reply_flags])) => {
                write!(f, " {state} scale {there}/{back} flags {flags:#04x}/{reply_flags:#04x}")?;
            }
            None => write!(f, " no entry")?,
        }
        if let Some(seconds) = self.timeout_s {
            write!(f, " {seconds} s")?;
        }
        if !self.reasons.is_empty() {
            write!(f, " [{}]", self.reasons.join(" "))?;
        }
        Ok(())
    }
}

/// What both said of one packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compared {
    /// Frame number.
    pub frame: u64,
    /// What the model said.
    pub model: Opinion,
    /// What the kernel said.
    pub kernel: Opinion,
    /// The kernel's own texts.
    pub texts: Vec<String>,
}

impl Compared {
    /// Returns whether both said the same.
    pub fn agree(&self) -> bool {
        self.model == self.kernel
    }
}

/// The model as one kernel, over all packets of a capture.
pub struct Model {
    features: Features,
    limits: Limits,
    checksums: Checksums,
    entries: BTreeMap<FlowKey, Entry>,
    reassembler: Reassembler,
}

impl Model {
    /// Makes the model of `policy` with an empty table.
    pub fn new(policy: &Policy, sysctls: &Sysctls) -> Self {
        let checksums = match sysctls.checksum {
            Setting::On => Checksums::Enforced,
            Setting::Off => Checksums::Ignored,
        };
        Self {
            features: policy.features(),
            limits: sysctls.limits,
            checksums,
            entries: BTreeMap::new(),
            reassembler: Reassembler::new(checksums),
        }
    }

    /// Judges a frame; none when it holds nothing about TCP.
    pub fn judge(&mut self, frame: &Frame<'_>) -> Option<Judged> {
        let mut decoded = decode_with(frame, self.checksums);
        if let Decoded::Fragment(fragment) = decoded {
            // The kernel's reassembly does not follow the capture's clock: neither side times out.
            match self.reassembler.add(&fragment.read(frame), Timestamp::default()) {
                Some(whole) => decoded = whole,
                None => return Some(Judged::Held),
            }
        }
        match decoded {
            Decoded::Segment(Packet { key, orientation, ref segment }) => {
                let arrival = Arrival { segment, orientation, now: frame.clock };
                let mut slot = self.entries.remove(&key);
                let choices = &mut Choices::new(self.features);
                let verdict = judge(&mut slot, &arrival, &self.limits, choices);
                if let Some(entry) = slot {
                    self.entries.insert(key, entry);
                }
                Some(Judged::Segment(verdict, slot))
            }
            Decoded::TcpError(IcmpError { key, orientation, traits, .. }) => {
                let arrival = ErrorArrival { quoted: orientation, traits, now: frame.clock };
                let entry = self.entries.get(&key).copied();
                let choices = &mut Choices::new(self.features);
                Some(Judged::Error(judge_error(entry.as_ref(), &arrival, choices)))
            }
            Decoded::Other(_) | Decoded::Fragment(_) | Decoded::Undecodable(_) => None,
        }
    }

    /// Puts what the model said into the form in which the kernel's answer is put; the timeout only
    /// where the kernel told one.
    pub fn opinion(&self, judged: &Judged, timeout: TimeoutTold, now: Timestamp) -> Opinion {
        let (verdict, entry) = match judged {
            Judged::Held => return Opinion::held(),
            Judged::Segment(verdict, entry) => (verdict, entry.as_ref()),
            Judged::Error(verdict) => (verdict, None),
        };
        Opinion {
            ctstate: verdict.ctstate.name().to_lowercase(),
            direction: verdict.direction.filter(|_| !verdict.is_invalid()),
            entry: entry.map(|entry| {
                let sides = Direction::BOTH.map(|direction| entry.sides[direction]);
                let flags = sides.map(|side| side.flags.0);
                (entry.state.name(), sides.map(|side| side.scale), flags)
            }),
            timeout_s: entry
                .filter(|_| timeout == TimeoutTold::Yes)
                .map(|entry| entry.expires.nanos_since(now) / NANOS_PER_SEC),
            reasons: self.logged(verdict),
        }
    }

    /// Returns the codes of what this kernel logs of a packet.
    fn logged(&self, verdict: &Verdict) -> Vec<&'static str> {
        let is_silent = |reason: &Reason| match reason {
            Reason::PickupDisabled | Reason::NotTrackable | Reason::IcmpUnknown => true,
            Reason::InvalidNew => !self.features.contains(Feature::LogInvalidNew),
            Reason::TcpShort => !self.features.contains(Feature::HeaderCheckBeforeLookup),
            _ => false,
        };
        let reason = verdict.reason.filter(|reason| !is_silent(reason)).map(Reason::code);
        reason.into_iter().chain(verdict.timeout_lowered.then_some(TIMEOUT_LOWERED)).collect()
    }
}

/// Whether the kernel told the timeout that a packet gave its entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutTold {
    /// It did.
    Yes,
    /// It did not, because the packet gave none.
    No,
}

/// The model and the kernel, side by side.
pub struct Comparison {
    oracle: Oracle,
    model: Model,
    buffer: Vec<u8>,
    repaired: Vec<u8>,
}

impl Comparison {
    /// Sets the kernel up in a namespace of its own, and the model as `policy`.
    ///
    /// # Errors
    ///
    /// What keeps this machine's kernel from being asked.
    pub fn new(policy: &Policy, sysctls: &Sysctls) -> Result<Self, Error> {
        let oracle = Oracle::new(&settings(sysctls))?;
        let model = Model::new(policy, sysctls);
        Ok(Self { oracle, model, buffer: Vec::new(), repaired: Vec::new() })
    }

    /// Lets both judge a frame.
    ///
    /// Returns none for frames that hold nothing about TCP; these are not fed to the kernel.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked, or must not be believed.
    pub fn judge(&mut self, frame: &Frame<'_>) -> Result<Option<Compared>, Error> {
        let Some(mut judged) = self.model.judge(frame) else { return Ok(None) };
        let answer = self.ask_kernel(frame)?;
        if answer.entry.is_none() && is_ipv6_fragment(frame) {
            // Its tuple cannot be read off the packet, so that the kernel was not asked for it.
            judged.forget_entry();
        }
        let kernel = Opinion::of_kernel(&answer, &judged);
        let told = if kernel.timeout_s.is_some() { TimeoutTold::Yes } else { TimeoutTold::No };
        let model = self.model.opinion(&judged, told, frame.clock);
        Ok(Some(Compared { frame: frame.number, model, kernel, texts: answer.reasons }))
    }

    fn ask_kernel(&mut self, frame: &Frame<'_>) -> Result<KernelVerdict, Error> {
        let (captured, wire_len) = ip_packet(frame).unwrap_or_default();
        let believed = self.model.checksums == Checksums::Ignored;
        let wire_len = if believed { wire_len.max(ip_len(captured)) } else { wire_len };
        let prepared = replay::prepare(captured, wire_len, &mut self.buffer);
        let bytes = if believed {
            replay::repair_header(prepared.bytes, &mut self.repaired)
        } else {
            prepared.bytes
        };
        self.oracle.judge(bytes, frame.clock.0)
    }
}

impl Opinion {
    /// Returns what is said of a fragment whose datagram is not complete.
    fn held() -> Self {
        Self {
            ctstate: super::CtState::FragmentHeld.name().to_owned(),
            direction: None,
            entry: None,
            timeout_s: None,
            reasons: Vec::new(),
        }
    }

    fn of_kernel(said: &KernelVerdict, judged: &Judged) -> Self {
        let compares_entry = matches!(judged, Judged::Segment(..));
        let tcp = said.entry.and_then(|entry| entry.tcp).filter(|_| compares_entry);
        let timeout_s = said.entry.and_then(|entry| entry.timeout_s);
        Self {
            ctstate: said.state.name().to_owned(),
            direction: said.direction,
            entry: tcp.map(|tcp| {
                let scales = [tcp.wscale.original, tcp.wscale.reply];
                (tcp.state.name(), scales, [tcp.flags.original, tcp.flags.reply])
            }),
            timeout_s: tcp.and(timeout_s).map(i64::from),
            reasons: said.reasons.iter().filter_map(|text| reason_code(text)).collect(),
        }
    }
}

/// What the model made of a frame.
#[derive(Clone, Copy, Debug)]
pub enum Judged {
    /// A fragment that waits.
    Held,
    /// A segment, and the entry afterwards.
    Segment(Verdict, Option<Entry>),
    /// An ICMP error about TCP.
    Error(Verdict),
}

impl Judged {
    const fn forget_entry(&mut self) {
        if let Self::Segment(_, entry) = self {
            *entry = None;
        }
    }
}

/// Returns whether a fragment header follows the IPv6 header at once.
fn is_ipv6_fragment(frame: &Frame<'_>) -> bool {
    const FRAGMENT: u8 = 44;
    let (packet, _) = ip_packet(frame).unwrap_or_default();
    packet.first().is_some_and(|byte| byte >> 4 == 6) && packet.get(6) == Some(&FRAGMENT)
}

/// Hands the settings to the kernel.
fn settings(sysctls: &Sysctls) -> OracleSettings {
    let is_on = |setting| setting == Setting::On;
    let timeouts = KEYS.iter().filter_map(|key| {
        let seconds = u32::try_from(sysctls.timeout(key)? / NANOS_PER_SEC).ok()?;
        Some(Timeout { sysctl: (*key).to_owned(), seconds })
    });
    OracleSettings {
        be_liberal: is_on(sysctls.be_liberal),
        loose: is_on(sysctls.loose),
        max_retrans: sysctls.limits.max_retrans,
        ignore_invalid_rst: is_on(sysctls.ignore_invalid_rst),
        checksum: is_on(sysctls.checksum),
        timeouts: timeouts.collect(),
        time: TimeMode::Virtual,
    }
}

/// Returns the length that an IP header gives, 0 when it gives none.
fn ip_len(packet: &[u8]) -> usize {
    let word = |at: usize| {
        let bytes = packet.get(at..).and_then(<[u8]>::first_chunk::<2>);
        bytes.map_or(0, |bytes| usize::from(u16::from_be_bytes(*bytes)))
    };
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => word(2),
        Some(6) if word(4) > 0 => 40 + word(4),
        _ => 0,
    }
}

/// The code of the text that says that a timeout was shortened.
const TIMEOUT_LOWERED: &str = "timeout_lowered";

/// Finds the reason code of a text of `nf_conntrack_log_invalid`, of any kernel since 4.18; none for
/// texts about other protocols than TCP. A text about TCP that is not known is `unknown`.
pub fn reason_code(text: &str) -> Option<&'static str> {
    const CODES: [(&str, &str); 19] = [
        ("SEQ is over", "seq_over"),
        ("bytes more than expected", "seq_overshoot"),
        ("ACK is over", "ack_over"),
        ("SEQ is under", "seq_under"),
        ("ACK is under", "ack_under"),
        ("ACK under lower bound", "ack_under"),
        ("lower timeout", TIMEOUT_LOWERED),
        ("lowered timeout", TIMEOUT_LOWERED),
        ("invalid new", "invalid_new"),
        ("invalid rst", "rst_invalid"),
        ("challenge-ack ignored", "challenge_ack_ignored"),
        ("invalid packet ignored", "state_ignored"),
        (" ignored, state", "state_ignored"),
        ("invalid state", "state_invalid"),
        (" invalid, state", "state_invalid"),
        ("bad checksum", "tcp_bad_csum"),
        ("truncated packet", "tcp_truncated"),
        ("invalid tcp flag combination", "tcp_bad_flags"),
        ("short packet", "tcp_short"),
    ];
    if text.starts_with("nf_ct_proto_1: outer daddr") || text.starts_with("nf_ct_proto_58: outer") {
        return Some("icmp_outer_mismatch");
    }
    let words = text.strip_prefix("nf_ct_proto_6: ")?;
    let known = CODES.iter().find(|(mark, _)| words.contains(mark));
    Some(known.map_or("unknown", |(_, code)| code))
}
