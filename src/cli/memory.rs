//! Sizes of memory on the command line.

use tcp_window_audit::pipeline::Budget;

/// Reads a size of memory: bytes, or kibi-, mebi-, gibi- or tebibytes with K, M, G or T.
pub(super) fn budget(text: &str) -> Result<Budget, String> {
    let unit = |suffix| match suffix {
        'K' | 'k' => Some(10),
        'M' | 'm' => Some(20),
        'G' | 'g' => Some(30),
        'T' | 't' => Some(40),
        _ => None,
    };
    let shift = text.chars().last().and_then(unit);
    let digits = if shift.is_some() { text.get(..text.len() - 1) } else { Some(text) };
    let number: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    let bytes = number.and_then(|number| number.checked_mul(1 << shift.unwrap_or(0)));
    match bytes {
        Some(bytes) if bytes >= Budget::LEAST_BYTES => Ok(Budget::of(bytes)),
        Some(_) => Err(format!("at least {}M are needed", Budget::LEAST_BYTES >> 20)),
        None => Err("a size is a number with K, M, G or T behind it, such as 512M".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_and_is_not_too_small() {
        let bytes = |text: &str| budget(text).unwrap().bytes();
        assert_eq!(bytes("512M"), 512 << 20);
        assert_eq!(bytes("8g"), 8 << 30);
        assert_eq!(bytes("100000000"), 100_000_000);
        assert_eq!(budget("5G"), Ok(Budget::DEFAULT));
        for text in ["1K", "63M", "", "G", "-1", "1.5G", "99999999T", "5é", "5X"] {
            assert!(budget(text).is_err(), "{text}");
        }
    }
}
