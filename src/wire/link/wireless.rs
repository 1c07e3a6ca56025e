//! IEEE 802.11, bare or behind the pseudo-headers that say how it was received.

use super::{Network, byte, ethernet};
use crate::wire::Undecodable;
use crate::wire::bytes::{be32, le16, le32};

/// Finds the IP packet of an 802.11 frame at `at`, `LINKTYPE_IEEE802_11`: a data frame that is
/// neither encrypted nor a fragment.
pub(super) fn frame(bytes: &[u8], at: usize, padding: Padding) -> Result<Network, Undecodable> {
    let (control, flags) = (byte(bytes, at)?, byte(bytes, at + 1)?);
    data(bytes, at, Head { control, flags, sequence_at: SEQUENCE_AT }, padding)
}

/// Where the sequence control stands, whose lower half comes first.
const SEQUENCE_AT: usize = 22;

/// The bytes of a frame's header that say what it is.
#[derive(Clone, Copy, Debug)]
struct Head {
    control: u8,
    flags: u8,
    /// Where the lower half of the sequence control stands, which has the fragment number.
    sequence_at: usize,
}

/// The same for a frame that an access point forwards: many exchange the halves of its
/// numbers.
pub(super) fn forwarded(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    const VERSION_AND_TYPE: u8 = 0x0f;
    const DATA: u8 = 0x08;
    let (first, second) = (byte(bytes, at)?, byte(bytes, at + 1)?);
    let is_plain = first & VERSION_AND_TYPE == DATA;
    if is_plain {
        return frame(bytes, at, Padding::None);
    }
    let head = Head { control: second, flags: first, sequence_at: SEQUENCE_AT + 1 };
    data(bytes, at, head, Padding::None)
}

/// Finds the IP packet of a frame that begins with this frame control.
fn data(
    bytes: &[u8],
    at: usize,
    Head { control, flags, sequence_at }: Head,
    padding: Padding,
) -> Result<Network, Undecodable> {
    const DATA: u8 = 0x08;
    const TYPE_MASK: u8 = 0x0c;
    const NO_DATA: u8 = 0x40;
    const QOS: u8 = 0x80;
    const BOTH_WAYS: u8 = 0x03;
    const MORE_FRAGMENTS: u8 = 0x04;
    const PROTECTED: u8 = 0x40;
    const ORDER: u8 = 0x80;
    // Control frames are shorter, and have no sequence control.
    let has_data = control & TYPE_MASK == DATA && control & NO_DATA == 0;
    if !has_data || flags & PROTECTED != 0 {
        return Err(Undecodable::NotIp);
    }
    let sequence = byte(bytes, at + sequence_at)?;
    if flags & MORE_FRAGMENTS != 0 || sequence & 0x0f != 0 {
        return Err(Undecodable::NotIp);
    }
    let mut len = 24;
    if flags & BOTH_WAYS == BOTH_WAYS {
        len += 6;
    }
    let mut is_aggregate = false;
    if control & QOS != 0 {
        is_aggregate = byte(bytes, at + len)? & 0x80 != 0;
        len += 2;
        if flags & ORDER != 0 {
            len += 4;
        }
    }
    if padding == Padding::ToFourBytes {
        len = len.next_multiple_of(4);
    }
    // Of an aggregate, the first subframe is read: two addresses, a length, LLC.
    ethernet::llc(bytes, at + len + if is_aggregate { 14 } else { 0 })
}

/// Whether the driver padded the 802.11 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Padding {
    None,
    ToFourBytes,
}

/// Finds the IP packet behind a radiotap header, `LINKTYPE_IEEE802_11_RADIOTAP`
/// (<https://www.radiotap.org>).
pub(super) fn radiotap(bytes: &[u8]) -> Result<Network, Undecodable> {
    let len = le16(bytes, 2).ok_or(Undecodable::LinkHeaderCut)?;
    frame(bytes, usize::from(len), radiotap_padding(bytes)?)
}

/// Reads the flags of a radiotap header, which stand behind the presence words and a timestamp.
fn radiotap_padding(bytes: &[u8]) -> Result<Padding, Undecodable> {
    const HAS_TIMESTAMP: u32 = 1;
    const HAS_FLAGS: u32 = 2;
    const HAS_MORE: u32 = 1 << 31;
    const DATA_PAD: u8 = 0x20;
    let word = |at| le32(bytes, at).ok_or(Undecodable::LinkHeaderCut);
    let present = word(4)?;
    if present & HAS_FLAGS == 0 {
        return Ok(Padding::None);
    }
    let mut at = 4;
    while word(at)? & HAS_MORE != 0 {
        at += 4;
    }
    at += 4;
    if present & HAS_TIMESTAMP != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    Ok(if byte(bytes, at)? & DATA_PAD == 0 { Padding::None } else { Padding::ToFourBytes })
}

/// Finds the IP packet behind a Prism header, `LINKTYPE_IEEE802_11_PRISM`, whose length stands in
/// the byte order of the capturing host; an AVS header can stand in its place.
pub(super) fn prism(bytes: &[u8]) -> Result<Network, Undecodable> {
    const AVS_MAGIC: u32 = 0x8021_1001;
    const AVS_MAGIC_MASK: u32 = 0xffff_fff0;
    let magic = be32(bytes, 0).ok_or(Undecodable::LinkHeaderCut)?;
    if magic & AVS_MAGIC_MASK == AVS_MAGIC & AVS_MAGIC_MASK {
        return avs(bytes);
    }
    let little = le32(bytes, 4).ok_or(Undecodable::LinkHeaderCut)?;
    let len = little.min(little.swap_bytes());
    frame(bytes, len as usize, Padding::None)
}

/// Finds the IP packet behind an AVS header, `LINKTYPE_IEEE802_11_AVS`.
pub(super) fn avs(bytes: &[u8]) -> Result<Network, Undecodable> {
    let len = be32(bytes, 4).ok_or(Undecodable::LinkHeaderCut)?;
    frame(bytes, len as usize, Padding::None)
}
