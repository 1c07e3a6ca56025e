//! The community id of a flow, version 1: the same short text in every tool that knows it.
//!
//! <https://github.com/corelight/community-id-spec>: SHA-1 over seed, addresses, protocol and ports,
//! the lower endpoint first, in base64.

use std::net::IpAddr;

use sha1::{Digest, Sha1};

use crate::tuple::{Endpoint, FlowKey, Orientation};

/// Returns the community id with seed 0.
pub fn community_id(key: &FlowKey) -> String {
    let (low, high) = key.endpoints(Orientation::LowToHigh);
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    for Endpoint { addr, .. } in [low, high] {
        match addr {
            IpAddr::V4(v4) => hash.update(v4.octets()),
            IpAddr::V6(v6) => hash.update(v6.octets()),
        }
    }
    hash.update([key.protocol(), 0]);
    hash.update(low.port.to_be_bytes());
    hash.update(high.port.to_be_bytes());
    format!("1:{}", base64(&hash.finalize()))
}

/// Writes bytes in base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut padded = [0; 3];
        padded.iter_mut().zip(chunk).for_each(|(slot, byte)| *slot = *byte);
        let word = padded.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        for digit in 0..4usize {
            let index = usize::try_from(word >> (18 - 6 * digit) & 63).unwrap_or(0);
            let letter = DIGITS.get(index).copied().unwrap_or(b'=');
            text.push(char::from(if digit <= chunk.len() { letter } else { b'=' }));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::TCP;

    fn id(src: (&str, u16), dst: (&str, u16)) -> String {
        let endpoint = |(addr, port): (&str, u16)| Endpoint { addr: addr.parse().unwrap(), port };
        community_id(&FlowKey::of(TCP, endpoint(src), endpoint(dst)).0)
    }

    #[test]
    fn the_ids_are_those_of_the_specification() {
        // From the baseline of the specification's own test data.
        let expected = "1:LQU9qZlK+B5F3KDmev6m5PMibrg=";
        assert_eq!(id(("128.232.110.120", 34855), ("66.35.250.204", 80)), expected);
        assert_eq!(id(("66.35.250.204", 80), ("128.232.110.120", 34855)), expected);
    }

    #[test]
    fn base64_pads() {
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"fo"), "Zm8=");
        assert_eq!(base64(b"foo"), "Zm9v");
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
    }
}
