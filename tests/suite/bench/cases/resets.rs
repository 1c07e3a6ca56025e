//! Devices that end connections.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{bench, download, exchange};
use crate::bench::app::Exchange;
use crate::bench::device::blocker::{Forgotten, IdleKiller};
use crate::bench::device::injector::{InjectsResets, OddFlags};
use crate::bench::device::{Link, put};
use crate::bench::judge::Expected;
use crate::bench::packet::{FIN, PSH, RST, SYN};
use crate::bench::path::Way;
use crate::bench::scene::DROP_INVALID;

#[test]
#[ignore = "between real kernels; takes seconds"]
fn resets_from_between_are_told_from_those_of_the_ends() {
    let expected = [Expected::probable("client", "C11"), Expected::probable("server", "C11")];
    bench("rst_injector", 5, &expected, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        scene.server.nft(DROP_INVALID)?;
        let seen = BTreeMap::default();
        let elements = vec![
            scene.tap("client"),
            Link::of(5, 3),
            put(InjectsResets { counted: Way::Home, after: 30, ttl: 128, seen }),
            Link::of(5, 8),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        scene.flows([download(150_000), download(150_000), download(20_000), download(30_000)]);
        Ok(())
    });
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
        let elements = vec![
            scene.tap("client"),
            Link::of(5, 3),
            put(killer),
            Link::of(5, 8),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
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
