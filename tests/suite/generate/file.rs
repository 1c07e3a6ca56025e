//! Capture files, pcap and pcapng, written by hand.

use tcp_window_audit::frame::LinkType;

/// A frame to be written.
#[derive(Debug)]
pub(crate) struct Record {
    /// Nanoseconds since 1970.
    pub time_ns: i64,
    pub bytes: Vec<u8>,
}

/// Returns a pcap file (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html>) with
/// microseconds, little-endian.
pub(crate) fn pcap(link: LinkType, snap_len: u32, records: &[Record]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0]);
    file.extend([0; 8]);
    file.extend(snap_len.to_le_bytes());
    file.extend(u32::from(link.0).to_le_bytes());
    for record in records {
        let micros = record.time_ns / 1000;
        let captured = captured(record, snap_len);
        for word in [micros / 1_000_000, micros % 1_000_000] {
            file.extend(u32::try_from(word).unwrap().to_le_bytes());
        }
        file.extend(len32(captured).to_le_bytes());
        file.extend(len32(&record.bytes).to_le_bytes());
        file.extend(captured);
    }
    file
}

/// Returns a pcapng file (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-05.html>) with
/// one interface and nanoseconds, little-endian.
pub(crate) fn pcapng(link: LinkType, snap_len: u32, records: &[Record]) -> Vec<u8> {
    let records: Vec<_> = records.iter().map(|record| (0, record)).collect();
    pcapng_of(link, snap_len, 1, &records)
}

/// Returns the same with several interfaces, each record with the one that it was captured on.
pub(crate) fn pcapng_of(
    link: LinkType,
    snap_len: u32,
    interfaces: u32,
    records: &[(u32, &Record)],
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut section = Vec::new();
    section.extend(0x1a2b_3c4d_u32.to_le_bytes());
    section.extend([1, 0, 0, 0]);
    section.extend([0xff; 8]);
    block(&mut file, 0x0a0d_0d0a, &section);
    let mut interface = Vec::new();
    interface.extend(link.0.to_le_bytes());
    interface.extend([0, 0]);
    interface.extend(snap_len.to_le_bytes());
    // if_tsresol: 9 decimal digits; then the end of options.
    interface.extend([9, 0, 1, 0, 9, 0, 0, 0]);
    interface.extend([0; 4]);
    for _ in 0..interfaces {
        block(&mut file, 1, &interface);
    }
    for (number, record) in records {
        let captured = captured(record, snap_len);
        let mut packet = number.to_le_bytes().to_vec();
        let time = u64::try_from(record.time_ns).unwrap();
        packet.extend(u32::try_from(time >> 32).unwrap().to_le_bytes());
        packet.extend(u32::try_from(time & 0xffff_ffff).unwrap().to_le_bytes());
        packet.extend(len32(captured).to_le_bytes());
        packet.extend(len32(&record.bytes).to_le_bytes());
        packet.extend(captured);
        packet.resize(packet.len().next_multiple_of(4), 0);
        block(&mut file, 6, &packet);
    }
    file
}

fn block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let len = len32(body) + 12;
    file.extend(kind.to_le_bytes());
    file.extend(len.to_le_bytes());
    file.extend(body);
    file.extend(len.to_le_bytes());
}

fn captured(record: &Record, snap_len: u32) -> &[u8] {
    let most = usize::try_from(snap_len).unwrap();
    record.bytes.get(..most).unwrap_or(&record.bytes)
}

fn len32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}
