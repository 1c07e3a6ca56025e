//! Ends that are gone, come back, read slowly, or began before the capture.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{bench, download, exchange, upload};
use crate::bench::app::Exchange;
use crate::bench::device::ending::{Dies, HoldsEnds};
use crate::bench::device::{Choice, Link, put};
use crate::bench::judge::Expected;
use crate::bench::packet::Packet;
use crate::bench::scene::{DROP_INVALID, SERVER, Scene};

#[test]
#[ignore = "between real kernels; takes seconds"]
fn resets_with_old_numbers_are_refused_and_found() {
    let expected = [Expected::probable("client", "C10"), Expected::none("server")];
    bench("old_resets", 5, &expected, |scene| {
        scene.between_firewalls(vec![put(Dies::after(2, 1500))])?;
        let talks = || [(); 4].map(|()| exchange(20, 500, 3000)).to_vec();
        scene.flows([talks(), talks(), talks(), download(2000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn resets_with_the_right_numbers_are_not_refused() {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("right_resets", 5, &expected, |scene| {
        scene.between_firewalls(vec![put(Dies::after(2, 0))])?;
        let talks = || [(); 4].map(|()| exchange(20, 500, 3000)).to_vec();
        scene.flows([talks(), talks(), talks(), download(2000)]);
        Ok(())
    });
}

/// Has three clients die without a word, and come back with the ports they had.
fn come_back(scene: &mut Scene) {
    for number in [0, 1, 2] {
        scene.flow_twice(number, Duration::from_millis(500), exchange(0, 300, 2000));
    }
    scene.flow(5, SERVER, download(2000));
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_port_whose_challenge_is_not_heard_is_found() {
    let expected = [Expected::none("client"), Expected::probable("server", "C13")];
    bench("challenge_unheard", 8, &expected, |scene| {
        scene.between_firewalls(vec![put(HoldsEnds::with_challenges(true))])?;
        come_back(scene);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_port_whose_challenge_is_answered_opens_a_second_later() {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("challenge_answered", 5, &expected, |scene| {
        scene.between_firewalls(vec![put(HoldsEnds::with_challenges(false))])?;
        come_back(scene);
        Ok(())
    });
}

/// Chooses all packets of a connection but its first ones.
fn late() -> Choice {
    let mut seen = BTreeMap::new();
    Box::new(move |_, packet: &Packet| {
        let seen = seen.entry(packet.ends().flow()).or_insert(0);
        *seen += 1;
        *seen > 8
    })
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_capture_that_begins_late_is_told_so() {
    let expected = [Expected::named("late", "C20"), Expected::none("server")];
    bench("begun_before", 5, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let elements = vec![scene.tap_of("late", late()), Link::of(10, 11), scene.tap("server")];
        scene.before_clients(elements);
        scene.flows([download(60_000), upload(60_000), download(30_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_reader_that_rests_is_not_the_firewall() {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("slow_reader", 7, &expected, |scene| {
        scene.clients.set("net/ipv4/tcp_rmem", "4096 65536 65536")?;
        scene.between_firewalls(vec![Link::of(0, 1)])?;
        let rests =
            |rest| Exchange { rest: Duration::from_millis(rest), ..exchange(0, 400, 300_000) };
        scene.flows([vec![rests(1500)], vec![rests(2500)], download(20_000)]);
        Ok(())
    });
}
