//! Paths that lose, damage or delay.

use std::time::Duration;

use super::{bench, download, exchange, upload};
use crate::bench::app::Exchange;
use crate::bench::device::blocker::{BlackHole, Loses};
use crate::bench::device::copier::{Copies, Damages, OldTranslator};
use crate::bench::device::{Choice, Link, put, some, some_data};
use crate::bench::judge::{Expected, WHOLE};
use crate::bench::packet::Packet;
use crate::bench::path::Way;
use crate::bench::scene::{DROP_INVALID, SERVER};

#[test]
#[ignore = "between real kernels; takes seconds"]
fn packets_above_a_size_that_vanish_are_a_fault_of_the_path() {
    let expected = [Expected::probable("client", "C17"), Expected::named("server", "C17")];
    bench("size_threshold_993", 7, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        scene.between_taps(vec![put(BlackHole { most: 992 })]);
        scene.pings(&[84, 500, 800, 960, 992, 993, 1000, 1200, 1500]);
        let sized = |up, down| vec![exchange(0, 300, 500), exchange(20, up, down)];
        // 52 bytes of headers: 940 are the most that pass.
        scene.flows([
            sized(900, 940),
            sized(940, 800),
            sized(941, 400),
            sized(400, 1300),
            sized(2000, 300),
            sized(300, 5000),
        ]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_black_hole_for_full_segments_is_found() {
    // The client sees nothing of what is too large.
    let expected = [Expected::none("client"), Expected::probable("server", "C17")];
    bench("mtu_black_hole", 7, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        scene.between_taps(vec![put(BlackHole { most: 1400 })]);
        let grows = |down| vec![exchange(0, 300, 700), exchange(20, 300, down)];
        scene.flows([download(1000), grows(8_000), grows(12_000), download(1200)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_black_hole_for_full_segments_of_clients_is_found_beside_them() {
    let expected = [Expected::probable("client", "C17"), Expected::none("server")];
    bench("mtu_black_hole_upload", 7, &expected, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        scene.between_taps(vec![put(BlackHole { most: 1400 })]);
        let grows = |up| vec![exchange(0, 300, 700), exchange(20, up, 300)];
        scene.flows([upload(1000), grows(8_000), grows(12_000), upload(1200)]);
        Ok(())
    });
}

/// Copies of the data that goes one way come seconds late, to a tracker at its receiver.
fn stale_copies(name: &str, way: Way, round: Exchange) {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench(name, 8, &expected, |scene| {
        let receiver = if way == Way::Away { &scene.server } else { &scene.clients };
        receiver.nft(DROP_INVALID)?;
        let stale = Copies { chosen: some_data(8, way, 4), after: Duration::from_millis(900) };
        let elements = vec![
            scene.tap("client"),
            Link::of(20, 3),
            put(stale),
            Link::of(5, 8),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        scene.flows([vec![round; 8]]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn copies_of_uploads_that_come_seconds_late_harm_no_new_kernel() {
    stale_copies("stale_copies_upload", Way::Away, exchange(150, 60_000, 300));
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn copies_that_come_seconds_late_harm_no_new_kernel() {
    stale_copies("stale_copies", Way::Home, exchange(150, 300, 60_000));
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_stale_packet_that_draws_a_reset_is_found() {
    let old = &["--kernel", "5.10.262"];
    let expected = [
        Expected { options: old, ..Expected::probable("translator", "C06") },
        Expected { options: old, ..Expected::unsure("server") },
    ];
    bench("stale_reset", 6, &expected, |scene| {
        let nth = |nth: u32| -> Choice {
            let mut seen = 0;
            Box::new(move |way, packet: &Packet| {
                seen += u32::from(way == Way::Home && packet.payload_len() > 1000);
                way == Way::Home && packet.payload_len() > 1000 && seen == nth
            })
        };
        let elements = vec![
            put(OldTranslator::default()),
            scene.tap("translator"),
            Link::of(10, 3),
            put(Copies { chosen: nth(12), after: Duration::from_millis(90) }),
            put(Copies { chosen: nth(160), after: Duration::from_millis(90) }),
            Link::of(5, 8),
            scene.tap("server"),
        ];
        // Windows of 64 kB, so that what is late is soon below them.
        scene.clients.set("net/ipv4/tcp_rmem", "4096 65536 65536")?;
        scene.before_clients(elements);
        scene.flows([download(300_000)]);
        scene.flow(20, SERVER, download(300_000));
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn damaged_packets_are_a_fault_of_the_path() {
    let expected = [
        Expected::none("client"),
        Expected {
            snap_len: WHOLE,
            options: &["--sysctl", "nf_conntrack_checksum=1"],
            ..Expected::named("server", "C18")
        },
    ];
    bench("damage", 8, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        scene.between_taps(vec![put(Damages(some_data(60, Way::Away, 12)))]);
        scene.flows([upload(40_000), upload(40_000), upload(3000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_path_that_loses_much_is_not_the_firewall() {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("very_lossy", 8, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        scene.between_taps(vec![put(Loses(some(100, 31)))]);
        scene.flows([upload(60_000), download(60_000), upload(60_000), download(60_000)]);
        Ok(())
    });
}
