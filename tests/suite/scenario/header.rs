//! A TCP header as a conversation file gives it, and the `Segment` that it should become.
//!
//! The reading of options and faults is written here a second time, independent of the decoder.

use tcp_window_audit::segment::{Flags, HeaderFault, Options, SackBlock, Segment, TcpTimestamps};
use tcp_window_audit::seq::SeqNum;

use super::Settings;

/// The datagram's TCP part.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Packet {
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub win: u16,
    /// The option bytes, padding included.
    pub options: Vec<u8>,
    /// Payload bytes.
    pub len: u32,
    pub bad_checksum: bool,
    /// All bytes of a malformed header; the other fields then say nothing.
    pub raw: Option<Vec<u8>>,
}

impl Packet {
    /// Returns the segment that the tracker gets; the checksum counts only where the sysctl is set.
    pub(crate) fn segment(&self, settings: &Settings) -> Segment {
        if let Some(raw) = &self.raw {
            return malformed(raw);
        }
        let checksum_fault = self.bad_checksum && settings.checksum != 0;
        let fault =
            if checksum_fault { Some(HeaderFault::BadChecksum) } else { flags_fault(self.flags) };
        Segment {
            seq: SeqNum(self.seq),
            ack: SeqNum(self.ack),
            len: self.len,
            win: self.win,
            flags: Flags(self.flags),
            header_len: 20 + u8::try_from(self.options.len()).unwrap(),
            options: parse_options(&self.options),
            fault,
            ..Segment::default()
        }
    }
}

/// Reads what there is of a header, and says what is wrong with it.
fn malformed(raw: &[u8]) -> Segment {
    let word = |at: usize| {
        raw.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().unwrap()))
    };
    let header_len = usize::from(raw.get(12).copied().unwrap_or_default() >> 4) * 4;
    let flags = raw.get(13).copied().unwrap_or_default();
    let win = raw.get(14..16).map_or(0, |bytes| u16::from_be_bytes(bytes.try_into().unwrap()));
    let fault = match raw.len() {
        0..4 => Some(HeaderFault::NotTrackable),
        4..20 => Some(HeaderFault::Short),
        len if header_len < 20 || header_len > len => Some(HeaderFault::Truncated),
        _ => flags_fault(flags),
    };
    Segment {
        seq: SeqNum(word(4)),
        ack: SeqNum(word(8)),
        len: u32::try_from(raw.len().saturating_sub(header_len)).unwrap(),
        win,
        flags: Flags(flags),
        header_len: u8::try_from(header_len).unwrap(),
        options: raw.get(20..header_len).map(parse_options).unwrap_or_default(),
        fault,
        ..Segment::default()
    }
}

/// Checks the flags against the nine valid sets; PSH, ECE and CWR do not count.
fn flags_fault(flags: u8) -> Option<HeaderFault> {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    const URG: u8 = 0x20;
    const VALID: [u8; 9] =
        [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
    let counted = flags & (FIN | SYN | RST | ACK | URG);
    (!VALID.contains(&counted)).then_some(HeaderFault::BadFlags)
}

/// Walks option bytes as the tracker does: a zero byte ends the walk, and so does a bad length.
pub(super) fn parse_options(bytes: &[u8]) -> Options {
    let mut options = Options::default();
    let mut rest = bytes;
    loop {
        match *rest {
            [] | [0, ..] | [_] => return options,
            [1, ..] => rest = &rest[1..],
            [kind, length, ..] => {
                let length = usize::from(length);
                let Some(body) = rest.get(2..length) else { return options };
                read_option(&mut options, kind, body);
                rest = &rest[length..];
            }
        }
    }
}

fn read_option(options: &mut Options, kind: u8, body: &[u8]) {
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    match (kind, body.len()) {
        (2, 2) => options.mss = Some(u16::from_be_bytes(body.try_into().unwrap())),
        (3, 1) => options.wscale = Some(body[0]),
        (4, 0) => options.sack_permitted = true,
        (5, 8 | 16 | 24 | 32) if options.sack.as_slice().is_empty() => {
            for block in body.chunks(8) {
                let (left, right) = block.split_at(4);
                let block = SackBlock { left: SeqNum(word(left)), right: SeqNum(word(right)) };
                options.sack.push(block);
            }
        }
        (8, 8) => {
            let (value, echo) = body.split_at(4);
            options.timestamps = Some(TcpTimestamps { value: word(value), echo: word(echo) });
        }
        _ => {}
    }
}

#[test]
fn options_end_at_a_zero_byte_and_at_a_bad_length() {
    assert_eq!(parse_options(&[3, 3, 7, 0, 3, 3, 5]).wscale, Some(7));
    assert_eq!(parse_options(&[3, 4, 7, 0, 3, 3, 5]).wscale, Some(5));
    assert_eq!(parse_options(&[1, 1, 4, 2, 3, 1, 3, 3, 7]).wscale, None);
    assert!(parse_options(&[1, 1, 4, 2, 3, 9, 5]).sack_permitted);
    assert_eq!(parse_options(&[5, 9, 0, 0, 0, 0, 0, 0, 0]).sack.as_slice().len(), 0);
}

#[test]
fn each_fault_of_a_header_is_found_in_the_kernels_order() {
    let fault = |packet: &Packet| packet.segment(&Settings::default()).fault;
    let raw = |bytes: &[u8]| Packet { raw: Some(bytes.to_vec()), ..Packet::default() };
    assert_eq!(fault(&raw(&[3])), Some(HeaderFault::NotTrackable));
    assert_eq!(fault(&raw(&[0; 19])), Some(HeaderFault::Short));
    assert_eq!(fault(&raw(&[0; 20])), Some(HeaderFault::Truncated));
    let bad = Packet { bad_checksum: true, ..Packet::default() };
    assert_eq!(fault(&bad), Some(HeaderFault::BadChecksum));
    let unchecked = Settings { checksum: 0, ..Settings::default() };
    assert_eq!(bad.segment(&unchecked).fault, Some(HeaderFault::BadFlags));
    assert_eq!(fault(&Packet { flags: 0x02 | 0xc8, ..Packet::default() }), None);
}
