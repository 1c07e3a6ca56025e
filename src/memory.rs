//! Asks the operating system to back large allocations by large pages, and the processor to bring
//! lines of the cache before they are needed.
//!
//! Where each packet meets another of hundreds of thousands of flows, most of the time goes into
//! finding the pages that they lie in, and waiting for what lies there. With pages of 2 MiB the processor
//! remembers where all are; what it is asked for early it brings while it works on something else.
//!
//! Does not: allocate, or change what memory holds.

use std::ops::Range;

/// The size of a line of the cache.
pub(crate) const LINE: usize = 64;

/// The size of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// Asks for large pages for what a vector has room for, beyond the first large page: what is small
/// stays in small pages. It is a wish: where it is not granted, nothing is different but the speed.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "advice on memory has no face in the standard library")]
pub(crate) fn prefer_large_pages<T>(vector: &Vec<T>) {
    let begin = vector.as_ptr().addr();
    let end = begin.saturating_add(vector.capacity().saturating_mul(size_of::<T>()));
    let first = begin.saturating_add(LARGE_PAGE).next_multiple_of(LARGE_PAGE);
    let last = end / LARGE_PAGE * LARGE_PAGE;
    let Some(len) = last.checked_sub(first).filter(|len| *len > 0) else { return };
    let start = vector.as_ptr().wrapping_byte_add(first - begin).cast_mut().cast();
    // SAFETY: the range lies within one allocation of our own, and this advice neither changes what
    // it holds nor makes any of it unusable.
    unsafe { libc::madvise(start, len, libc::MADV_HUGEPAGE) };
}

/// Does nothing where such a wish is not known.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn prefer_large_pages<T>(_: &Vec<T>) {}

/// Asks for lines of the cache that an element lies in, by their numbers from its beginning. Unlike a
/// read, that waits for nothing; lines beyond the element are left out. One that does not begin where a line
/// does may reach into one more.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the lines are constants")]
pub(crate) fn bring<T>(element: &T, lines: Range<usize>) {
    for line in lines {
        if line * LINE < size_of::<T>() {
            bring_line(std::ptr::from_ref(element).wrapping_byte_add(line * LINE).cast());
        }
    }
}

/// Asks for the line of the cache with this address.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "30 % less time on `bb` than by reads: CONTRIBUTING.md")]
fn bring_line(line: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction changes nothing that a program can see, and takes any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
}

/// Asks for the line of the cache with this address.
#[cfg(target_arch = "aarch64")]
#[inline]
#[expect(unsafe_code, reason = "as on x86-64; the standard library has no stable name for it")]
fn bring_line(line: *const i8) {
    // SAFETY: the instruction changes nothing that a program can see, and takes any address.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{}]",
            in(reg) line,
            options(nostack, preserves_flags, readonly)
        );
    };
}

/// Does nothing where the instruction is not known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const fn bring_line(_: *const i8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vector_holds_stays_and_its_room_can_be_used() {
        let mut vector: Vec<u64> = Vec::with_capacity(LARGE_PAGE);
        vector.extend(0..1000);
        prefer_large_pages(&vector);
        vector.extend(1000..LARGE_PAGE as u64);
        assert!(vector.iter().copied().eq(0..LARGE_PAGE as u64));
        prefer_large_pages(&Vec::<u64>::new());
        prefer_large_pages(&vec![0_u8; 100]);
    }

    #[test]
    fn what_is_asked_for_stays_as_it_is_and_lines_beyond_it_do_no_harm() {
        let element = [7_u8; 3 * LINE];
        bring(&element, 0..100);
        bring(&(), 0..1);
        assert_eq!(element, [7; 3 * LINE]);
    }
}
