//! Boxes that speak TCP for the ends, and paths that only look so.

use super::{bench, download, exchange, upload};
use crate::bench::app::Exchange;
use crate::bench::device::blocker::Loses;
use crate::bench::device::optimiser::{Optimiser, PROBE, SlowFirst};
use crate::bench::device::options::{Stripping, Strips};
use crate::bench::device::{Choice, Link, put, some_data};
use crate::bench::judge::Expected;
use crate::bench::packet::{Packet, SYN};
use crate::bench::path::{Element, Way};
use crate::bench::scene::{DROP_INVALID, SERVER, around};

/// Requests large and small, each with a short answer: enough of them for the time that answers take
/// not to be that of the handshake any more.
fn requests() -> Vec<Exchange> {
    let more = (0..8).map(|round| exchange(15, 900 + 300 * round, 200));
    [exchange(0, 4000, 500), exchange(30, 800, 3000)].into_iter().chain(more).collect()
}

/// Returns whether a packet is from or to every second client.
fn is_of_second_client(packet: &Packet) -> bool {
    let ends = packet.ends();
    let client = if ends.src.0 == SERVER { ends.dst.0 } else { ends.src.0 };
    client.octets()[3].is_multiple_of(2)
}

/// The far one of a pair: takes the option out again.
fn far_end() -> Element {
    let syns: Choice = Box::new(|_, packet: &Packet| packet.has(SYN));
    put(Strips { kinds: &[PROBE], how: Stripping::Removal, from: syns })
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn an_optimiser_that_does_its_work_is_possible_and_no_more() {
    let expected = [
        Expected::named("client", "C25"),
        Expected::named("between", "C25"),
        Expected::none("server"),
    ];
    bench("optimiser", 6, &expected, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        scene.server.nft(DROP_INVALID)?;
        let elements = vec![
            scene.tap("client"),
            Link::of(1, 1),
            put(Optimiser::of(|_| true)),
            scene.tap("between"),
            Link::of(20, 9),
            far_end(),
            Link::of(1, 1),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        scene.flows([(); 5].map(|()| requests()));
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn an_optimisers_leg_that_passes_the_tracker_by_is_found_there() {
    let expected = [
        Expected::none("client"),
        Expected::probable("router", "C25"),
        Expected::named("router", "C08"),
        Expected::none("server"),
    ];
    bench("optimiser_bypassed", 7, &expected, |scene| {
        let router = vec![scene.tap("router"), scene.router(DROP_INVALID)?];
        // The optimisers send the answers to their clients another way.
        let elsewhere = || -> Choice {
            Box::new(|way, packet: &Packet| way == Way::Home && is_of_second_client(packet))
        };
        let mut elements = vec![scene.tap("client"), Link::of(1, 1)];
        elements.push(put(Optimiser::of(is_of_second_client)));
        elements.extend(around(router, elsewhere));
        elements.extend([Link::of(20, 9), far_end(), Link::of(1, 1), scene.tap("server")]);
        scene.before_clients(elements);
        scene.flows([(); 6].map(|()| requests()));
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn first_packets_that_wait_are_no_optimiser() {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("slow_first_packets", 6, &expected, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        scene.server.nft(DROP_INVALID)?;
        let first = SlowFirst { waits_ms: &[30, 110, 60, 25, 170], seen: Vec::new() };
        let elements = vec![
            scene.tap("client"),
            Link::of(2, 3),
            put(first),
            put(Loses(some_data(10, Way::Home, 8))),
            Link::of(2, 8),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        scene.flows([requests(), requests(), upload(50_000), requests(), download(20_000)]);
        Ok(())
    });
}
