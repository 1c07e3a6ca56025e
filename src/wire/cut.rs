//! How much of a frame is enough.
//!
//! Does not: cut.

use super::fragments::HEAD_LEN;
use super::{Checksums, Decoded, Tunnels, decode_innermost, decode_with, headers, packets, plain};
use crate::frame::Frame;

/// Returns how many of the captured bytes of a frame, at least `least`, say all that the whole frame
/// says to whoever does not judge checksums: what it decodes to, and its headers.
pub fn enough(frame: &Frame<'_>, tunnels: Tunnels, least: usize) -> usize {
    let captured = frame.bytes.len();
    if captured <= least || packets(frame).nth(1).is_some() {
        return captured;
    }
    if let Some(plain) = plain(frame.link, frame.bytes) {
        return plain.headers_len().max(least).min(captured);
    }
    let whole = decoded(frame, tunnels);
    let mut len = match &whole {
        Decoded::Fragment(fragment) => fragment.start as usize + HEAD_LEN,
        _ => headers(frame, tunnels).map_or(0, |range| range.end),
    };
    len = len.max(least);
    while len < captured {
        let cut = Frame { bytes: frame.bytes.get(..len).unwrap_or_default(), ..*frame };
        if decoded(&cut, tunnels) == whole && headers(&cut, tunnels) == headers(frame, tunnels) {
            return len;
        }
        len = len.saturating_mul(2).max(1);
    }
    captured
}

fn decoded(frame: &Frame<'_>, tunnels: Tunnels) -> Decoded {
    match tunnels {
        Tunnels::Closed => decode_with(frame, Checksums::Ignored),
        Tunnels::Opened => decode_innermost(frame, Checksums::Ignored),
    }
}
