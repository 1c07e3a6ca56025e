//! Devices that end connections.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{bench, download, exchange, upload};
use crate::bench::app::Exchange;
use crate::bench::device::blocker::{Forgotten, IdleKiller};
use crate::bench::device::injector::{InjectsResets, OddFlags};
use crate::bench::device::{Link, put};
use crate::bench::judge::Expected;
use crate::bench::packet::{FIN, PSH, RST, SYN};
use crate::bench::path::Way;
use crate::bench::scene::DROP_INVALID;

/// Resets are sent once so many packets have gone one way.
fn injected(name: &str, counted: Way, flows: [Vec<Exchange>; 4]) {
    let expected = [Expected::probable("client", "C11"), Expected::probable("server", "C11")];
    bench(name, 5, &expected, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        scene.server.nft(DROP_INVALID)?;
        let seen = BTreeMap::default();
        scene.between_taps(vec![put(InjectsResets { counted, after: 30, ttl: 128, seen })]);
        scene.flows(flows);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn resets_from_between_are_told_from_those_of_the_ends() {
    let flows = [download(150_000), download(150_000), download(20_000), download(30_000)];
    injected("rst_injector", Way::Home, flows);
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn resets_in_the_name_of_a_client_that_uploads_are_told_from_its_own() {
    let flows = [upload(150_000), upload(150_000), upload(20_000), download(30_000)];
    injected("rst_injector_upload", Way::Away, flows);
}

/// Connections that pause for 0.5, 1, 2.1, 4.2, 4.7 and 5.2 s.
fn pausing() -> [Vec<Exchange>; 6] {
    let pauses = [500, 1000, 2100, 4200, 4700, 5200];
    pauses.map(|pause| {
        vec![exchange(0, 400, 2000), exchange(100, 300, 3000), exchange(pause, 500, 2000)]
    })
}

fn idle(name: &str, does: Forgotten) {
    // The server hears nothing more: no side of the device can know from there.
    let expected = [Expected::probable("client", "C12"), Expected::none("server")];
    bench(name, 9, &expected, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        let killer = IdleKiller::new(Duration::from_millis(3200), does);
        scene.between_taps(vec![put(killer)]);
        scene.flows(pausing());
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_device_that_forgets_idle_connections_silently_is_found() {
    idle("idle_killer_drops", Forgotten::Drops);
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_device_that_resets_idle_connections_is_found() {
    idle("idle_killer_resets", Forgotten::Resets);
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_device_that_forgets_servers_which_think_for_long_is_found_beside_them() {
    // The client waits for an answer, as it would for a server that is slow.
    let expected = [Expected::none("client"), Expected::probable("server", "C12")];
    bench("idle_killer_server", 9, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        scene.between_taps(vec![put(IdleKiller::new(
            Duration::from_millis(3200),
            Forgotten::Drops,
        ))]);
        let thinks = |millis| {
            let think = Duration::from_millis(millis);
            vec![exchange(0, 400, 2000), Exchange { think, ..exchange(100, 500, 2000) }]
        };
        scene.flows([500, 1000, 2100, 4200, 4700, 5200].map(thinks));
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn flags_that_no_tcp_sends_are_found() {
    let expected = [Expected::named("server", "C19")];
    bench("odd_flags", 4, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let odd = OddFlags(&[0, FIN, FIN | PSH, SYN | FIN, SYN | RST]);
        let elements = vec![Link::of(10, 11), put(odd), scene.tap("server")];
        scene.before_clients(elements);
        scene.flows([download(5000), download(5000), download(5000)]);
        Ok(())
    });
}
