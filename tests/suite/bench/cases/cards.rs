//! Cards that join what a router has to forward.

use super::{bench, download, exchange, upload};
use crate::bench::device::blocker::{BlackHole, Loses};
use crate::bench::device::card::{Splits, card};
use crate::bench::device::{Link, put, some_data};
use crate::bench::judge::Expected;
use crate::bench::path::{Element, Way};
use crate::bench::scene::{DROP_INVALID, Scene};

/// The most payload of a segment with timestamps.
const SEGMENT: usize = 1448;
/// The most bytes of a packet.
const MTU: usize = 1500;

/// Puts a router between the ends whose card joins the segments of servers, and what it does with them.
///
/// Captured where they come in, where they go out, and at both places in one.
fn router(scene: &mut Scene, forwards: Vec<Element>) -> std::io::Result<()> {
    scene.clients.nft(DROP_INVALID)?;
    scene.server.nft(DROP_INVALID)?;
    let mut elements =
        vec![scene.tap("client"), Link::of(5, 3), scene.tap("out"), scene.tap("both")];
    elements.push(Link::of(0, 1));
    elements.extend(forwards);
    elements.extend([scene.tap("both"), scene.tap("in")]);
    elements.extend(card(Way::Home));
    elements.extend([Link::of(5, 8), scene.tap("server")]);
    scene.before_clients(elements);
    Ok(())
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_card_that_joins_what_its_router_cannot_split_is_found() {
    let expected = [
        Expected::none("client"),
        Expected::none("out"),
        Expected::confirmed("both", "C23"),
        Expected::probable("in", "C23"),
        Expected::none("server"),
    ];
    bench("lro_on_a_router", 8, &expected, |scene| {
        router(scene, vec![put(BlackHole { most: MTU })])?;
        scene.flows([download(20_000), download(30_000), download(1000), upload(20_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_card_whose_router_splits_what_it_joined_harms_nobody() {
    let taps = ["client", "out", "both", "in", "server"];
    bench("gro_on_a_router", 6, &taps.map(Expected::none), |scene| {
        router(scene, vec![put(Splits { most: SEGMENT })])?;
        scene.flows([download(200_000), download(100_000), download(1000), upload(20_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn joined_packets_on_a_path_that_loses_are_not_the_cards_fault() {
    let taps = ["client", "out", "both", "in", "server"];
    bench("gro_on_a_lossy_path", 8, &taps.map(Expected::none), |scene| {
        let loses = put(Loses(some_data(60, Way::Home, 17)));
        router(scene, vec![loses, put(Splits { most: SEGMENT })])?;
        scene.flows([download(100_000), download(60_000), download(60_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn joined_packets_before_a_black_hole_are_a_fault_of_the_path() {
    let expected = [
        Expected::none("client"),
        Expected::none("out"),
        Expected::probable("both", "C17"),
        Expected::probable("in", "C17"),
        Expected::probable("server", "C17"),
    ];
    bench("gro_before_a_black_hole", 7, &expected, |scene| {
        router(scene, vec![put(BlackHole { most: 1400 }), put(Splits { most: SEGMENT })])?;
        let grows = |down| vec![exchange(0, 300, 700), exchange(20, 300, down)];
        scene.flows([download(1000), grows(8_000), grows(12_000), download(1200)]);
        Ok(())
    });
}
