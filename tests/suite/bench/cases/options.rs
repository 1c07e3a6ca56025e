//! Devices that take options away or change them.

use std::collections::BTreeMap;

use super::{bench, download, exchange, upload};
use crate::bench::device::blocker::{DropsOldClocks, Loses};
use crate::bench::device::options::{Puts, ScalesWindow, SetsClockBack, Stripping, Strips};
use crate::bench::device::{Choice, Link, put, some_data};
use crate::bench::judge::Expected;
use crate::bench::packet::{Packet, SACK_PERMITTED, SYN, TIMESTAMPS, WSCALE};
use crate::bench::path::Way;
use crate::bench::scene::{DROP_INVALID, SERVER};

fn syn_ack() -> Choice {
    Box::new(|_, packet: &Packet| packet.is_syn_ack())
}

fn both_syns() -> Choice {
    Box::new(|_, packet: &Packet| packet.has(SYN))
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn scaling_taken_from_the_syn_ack_makes_uploads_crawl() {
    let expected = [Expected::probable("client", "C03"), Expected::probable("server", "C03")];
    bench("wscale_nop_syn_ack", 6, &expected, |scene| {
        let how = Stripping::Nops;
        scene.between_firewalls(vec![put(Strips { kinds: &[WSCALE], how, from: syn_ack() })])?;
        scene.flows([upload(20_000), upload(18_000), upload(18_000), download(100_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn scaling_removed_from_the_syn_ack_is_found_without_nops() {
    let expected = [Expected::probable("client", "C03"), Expected::probable("server", "C03")];
    bench("wscale_removed_syn_ack", 6, &expected, |scene| {
        let how = Stripping::Removal;
        scene.between_firewalls(vec![put(Strips { kinds: &[WSCALE], how, from: syn_ack() })])?;
        scene.flows([upload(20_000), upload(18_000), upload(18_000), download(100_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn scaling_taken_from_both_syns_harms_nobody() {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("wscale_nop_both", 6, &expected, |scene| {
        let how = Stripping::Nops;
        scene.between_firewalls(vec![put(Strips { kinds: &[WSCALE], how, from: both_syns() })])?;
        scene.flows([upload(150_000), download(150_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn all_options_removed_from_both_syns_harm_nobody() {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("options_removed_both", 6, &expected, |scene| {
        let (kinds, how) = (&[WSCALE, SACK_PERMITTED, TIMESTAMPS], Stripping::Removal);
        let strips = put(Strips { kinds, how, from: both_syns() });
        scene.between_firewalls(vec![strips, put(Loses(some_data(10, Way::Home, 5)))])?;
        scene.flows([upload(100_000), download(200_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn sack_taken_from_one_syn_harms_nobody() {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("sack_nop_syn_ack", 6, &expected, |scene| {
        let strips = Strips { kinds: &[SACK_PERMITTED], how: Stripping::Nops, from: syn_ack() };
        scene.between_firewalls(vec![put(strips), put(Loses(some_data(10, Way::Home, 5)))])?;
        scene.flows([upload(100_000), download(200_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_tracker_that_does_not_see_scaling_is_told_from_the_rest() {
    let expected =
        [Expected::none("client"), Expected::confirmed("router", "C03"), Expected::none("server")];
    bench("wscale_hidden_from_router", 8, &expected, |scene| {
        let how = Stripping::Removal;
        let devices = vec![
            put(Puts::wscale(7, syn_ack())),
            scene.tap("router"),
            scene.router(DROP_INVALID)?,
            put(Strips { kinds: &[WSCALE], how, from: syn_ack() }),
        ];
        scene.between_taps(devices);
        scene.flows([download(700_000), download(40_000), upload(500_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_shift_written_down_makes_the_other_side_crawl() {
    let expected = [Expected::none("client"), Expected::probable("server", "C03")];
    bench("scale_rewriter_down", 6, &expected, |scene| {
        let bare_syn: Choice = Box::new(|_, packet: &Packet| packet.is_bare_syn());
        scene.between_firewalls(vec![put(Puts::wscale(2, bare_syn))])?;
        scene.flows([download(60_000), download(60_000), download(60_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_shift_written_up_harms_nobody_who_needs_less() {
    // Nothing on this path sends more than the true window: there is nothing to see.
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("scale_rewriter_up", 8, &expected, |scene| {
        scene.server.set("net/ipv4/tcp_rmem", "4096 65536 65536")?;
        scene.between_firewalls(vec![put(Puts::wscale(12, syn_ack()))])?;
        scene.flows([upload(400_000), upload(300_000)]);
        Ok(())
    });
}

/// Chooses the 60th to the 100th packet of each client.
fn a_while() -> Choice {
    let mut seen = BTreeMap::new();
    Box::new(move |way, packet: &Packet| {
        let seen = seen.entry(packet.ends()).or_insert(0);
        *seen += 1;
        way == Way::Away && (60..100).contains(seen)
    })
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_sender_told_of_larger_windows_overruns_those_at_the_tracker() {
    // From 6.1 on kernels let pass what goes beyond by less than one window.
    let options = &["--kernel", "5.10.262"];
    let expected = [
        Expected::none("client"),
        Expected { options, ..Expected::probable("router", "C05") },
        Expected::none("server"),
    ];
    bench("window_overrun", 8, &expected, |scene| {
        let elements = vec![
            scene.tap("client"),
            // For a while the client's windows pass the router at a fifth of what the server is told.
            put(ScalesWindow { of: a_while(), by: (1, 5) }),
            Link::of(5, 3),
            scene.router(DROP_INVALID)?,
            scene.tap("router"),
            put(ScalesWindow { of: a_while(), by: (5, 1) }),
            Link::of(5, 8),
            scene.tap("server"),
        ];
        scene.clients.set("net/ipv4/tcp_rmem", "4096 65536 65536")?;
        scene.before_clients(elements);
        scene.flows([download(400_000), download(300_000), download(10_000)]);
        Ok(())
    });
}

/// Chooses the segments of clients after their first 20 with data.
fn late() -> Choice {
    let mut seen = 0;
    Box::new(move |way, packet: &Packet| {
        seen += u32::from(way == Way::Away && packet.payload_len() > 0);
        way == Way::Away && seen > 20
    })
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn timestamps_lost_after_the_handshake_do_not_trouble_linux() {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("timestamps_lost", 4, &expected, |scene| {
        let how = Stripping::Removal;
        scene.between_firewalls(vec![put(Strips { kinds: &[TIMESTAMPS], how, from: late() })])?;
        scene.flows([vec![exchange(0, 20_000, 200), exchange(200, 30_000, 200)]]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_clock_set_back_in_the_timestamps_confirms_nothing() {
    let expected = [Expected::unsure("client"), Expected::unsure("server")];
    bench("timestamps_back", 5, &expected, |scene| {
        scene.between_firewalls(vec![put(SetsClockBack { of: late(), by: 500_000_000 })])?;
        scene.flows([vec![exchange(0, 20_000, 200), exchange(200, 30_000, 200)]]);
        scene.flows([download(3000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn syns_dropped_for_their_clock_are_found() {
    let expected = [Expected::probable("client", "C16"), Expected::probable("server", "C16")];
    bench("clocks_behind_nat", 6, &expected, |scene| {
        // Every second port is that of another host behind the same address.
        scene.clients.set("net/ipv4/tcp_timestamps", "2")?;
        let other: Choice = Box::new(|_, packet: &Packet| {
            let ends = packet.ends();
            (ends.src.1.max(ends.dst.1) / 140).is_multiple_of(2)
        });
        let elements = vec![
            put(SetsClockBack { of: other, by: 90_000 }),
            scene.tap("client"),
            Link::of(5, 3),
            Link::of(5, 8),
            scene.tap("server"),
            put(DropsOldClocks::default()),
        ];
        scene.before_clients(elements);
        for number in 0..8 {
            scene.flow(number * 20, SERVER, download(2000));
        }
        Ok(())
    });
}
