//! A busy DNS server behind a firewall whose connection table is too small.

use std::fmt::Write as _;

use super::traffic::{Connection, End, MILLIS, Timed, in_order, pcap, udp};

/// When the capture begins: 2023-11-14T22:13:20Z.
pub const BEGIN_NS: u64 = 1_700_000_000_000_000_000;

/// The name of the capture's folder.
pub const NAME: &str = "dns_fills_the_table";

const SERVER: [u8; 4] = [192, 0, 2, 53];
const WEB: [u8; 4] = [192, 0, 2, 80];
/// Queries, one in 25 ms.
const QUERIES: u16 = 880;
/// Connections to the web server beside them.
const CONNECTIONS: u16 = 24;

/// Returns the packets: each query comes from a port of its own, as a resolver's do.
fn packets() -> Vec<Timed> {
    let mut packets = Vec::new();
    for n in 0..QUERIES {
        let at = u64::from(n) * 25 * MILLIS;
        let resolver = (resolver(n), 20_000 + n * 37 % 40_000);
        packets.push((at, udp(resolver, (SERVER, 53), 33)));
        // One query in forty is never answered.
        if n % 40 != 7 {
            packets.push((at + 2 * MILLIS, udp((SERVER, 53), resolver, 49)));
        }
    }
    for n in 0..CONNECTIONS {
        let browser: End = ([198, 51, 100, (10 + n).to_le_bytes()[0]], 40_000 + n);
        let mut connection =
            Connection::new(browser, (WEB, 443), u64::from(n) * 700 * MILLIS + 11 * MILLIS);
        connection.handshake().exchange();
        // Two in three are closed at once and then only wait.
        if n % 3 != 0 {
            connection.close();
        }
        packets.append(&mut connection.packets);
    }
    in_order(packets)
}

/// Most queries come from the resolvers of one network.
fn resolver(n: u16) -> [u8; 4] {
    let host = 1 + (n * 7 % 200).to_le_bytes()[0];
    if n.is_multiple_of(5) { [198, 51, 100, host] } else { [203, 0, 113, host] }
}

/// Returns the capture file and its README.md.
pub fn make() -> (Vec<u8>, String) {
    let packets = packets();
    let mut readme = String::new();
    writeln!(
        readme,
        "# {NAME}\n\n\
         A busy DNS server behind a firewall whose connection table is too small.\n\n\
         {QUERIES} queries in 22 s, each from a port of its own, and {CONNECTIONS} connections to a \
         web server. Every query leaves\nan entry that waits for 30 s, answered or not: the table \
         grows by 40 entries a second and would hold 1200 in the\nlong run. `table.txt` and \
         `table.json` are the reports of a firewall with `nf_conntrack_max=500`: the kernel gives\n\
         up entries that are not assured, and drops what is new when it finds none. Leaving port 53 \
         untracked leaves\n{CONNECTIONS} entries.\n\n\
         Origin: invented; {} packets made by `tests/suite/table/dns.rs`, without link layer.\n\
         `UPDATE_EXPECT=1 cargo test --test suite table` makes the files again, byte for byte.",
        packets.len(),
    )
    .unwrap();
    (pcap(BEGIN_NS, &packets), readme)
}
