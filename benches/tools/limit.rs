//! The limit reader: what reading a capture costs at least. It reads 256 KiB at a time into one
//! buffer, and touches the first 64 bytes of each packet.

use std::fs::File;
use std::io::Read;
use std::path::Path;

const BLOCK: usize = 256 << 10;
const HEADER: usize = 16;
const TOUCHED: usize = 64;

/// Reads a little-endian pcap file, and returns packets and a sum of what was touched.
pub fn read(path: &Path) -> (u64, u64) {
    let mut file = File::open(path).expect("the capture should be readable");
    let mut buffer = vec![0; 2 * BLOCK];
    let (mut kept, mut packets, mut sum) = (0, 0, 0u64);
    let mut at = 24;
    loop {
        let count = file.read(&mut buffer[kept..kept + BLOCK]).expect("the disk should not fail");
        if count == 0 {
            return (packets, sum);
        }
        let end = kept + count;
        while end - at.min(end) >= HEADER {
            let [.., a, b, c, d, _, _, _, _] = *buffer[at..].first_chunk::<HEADER>().unwrap();
            let next = at + HEADER + u32::from_le_bytes([a, b, c, d]) as usize;
            if next > end {
                break;
            }
            let touched = &buffer[at + HEADER..next.min(at + HEADER + TOUCHED)];
            let words = touched.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
            sum = words.fold(sum, u64::wrapping_add);
            packets += 1;
            at = next;
        }
        buffer.copy_within(at.min(end)..end, 0);
        kept = end - at.min(end);
        at -= end - kept;
    }
}
