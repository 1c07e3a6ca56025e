//! Routers that do not see everything, or see it twice.

use super::{bench, download, exchange, upload};
use crate::bench::device::blocker::Loses;
use crate::bench::device::randomiser::{Randomiser, Sack};
use crate::bench::device::{Choice, Link, put, some_data};
use crate::bench::judge::Expected;
use crate::bench::packet::{FIN, Packet, RST, SYN};
use crate::bench::path::Way;
use crate::bench::scene::{COUNT_INVALID, DROP_INVALID, Network, around};

/// Returns what an offload hides: all of a flow but its beginning and its end.
fn offloaded() -> Choice {
    let mut seen = std::collections::BTreeMap::new();
    Box::new(move |_, packet: &Packet| {
        let seen = seen.entry(packet.ends().flow()).or_insert(0);
        *seen += 1;
        let ends = [SYN, FIN, RST].iter().any(|flag| packet.has(*flag));
        !ends && *seen > 6
    })
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn data_hidden_by_an_offload_is_told_from_capture_loss() {
    let expected =
        [Expected::none("client"), Expected::probable("router", "C07"), Expected::none("server")];
    bench("offload", 7, &expected, |scene| {
        let router = vec![scene.tap("router"), scene.router(DROP_INVALID)?];
        scene.between_taps(around(router, offloaded));
        scene.flows([
            download(200_000),
            upload(200_000),
            download(150_000),
            download(1000),
            upload(150_000),
        ]);
        Ok(())
    });
}

/// What goes one way to or from every second client passes the router by.
fn another_path(name: &str, rules: &'static str, elsewhere: Way, at_router: Expected) {
    let expected = [Expected::none("client"), at_router, Expected::none("server")];
    bench(name, 7, &expected, |scene| {
        let router = vec![scene.tap("router"), scene.router(rules)?];
        let chosen = || -> Choice {
            Box::new(move |way, packet: &Packet| {
                let ends = packet.ends();
                let client = if way == Way::Away { ends.src } else { ends.dst };
                way == elsewhere && client.0.octets()[3].is_multiple_of(2)
            })
        };
        scene.between_taps(around(router, chosen));
        scene.flows([(); 6].map(|()| download(20_000)));
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn answers_on_another_path_are_found_at_the_router() {
    let at_router = Expected::probable("router", "C08");
    another_path("asymmetric_path", DROP_INVALID, Way::Home, at_router);
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn requests_on_another_path_leave_the_tracker_without_a_beginning() {
    let at_router = Expected::named("router", "C08");
    another_path("asymmetric_requests", COUNT_INVALID, Way::Away, at_router);
}

/// Puts the addresses of the router in the place of those of its clients.
const TRANSLATE: &str = "table inet bench {
  chain forward { type filter hook forward priority 0; ct state invalid counter; }
  chain out { type nat hook postrouting priority 100; oifname tun1 masquerade; }
}";

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_randomiser_inside_is_found_beyond_the_translation() {
    let expected = [
        Expected::confirmed("inside", "C01"),
        // The blocks that tell leave under another address.
        Expected::allowed("outside", "C01"),
        // Both sides of the router in one capture.
        Expected::allowed("both", "C01"),
    ];
    bench("nat_leak", 8, &expected, |scene| {
        let elements = vec![
            put(Loses(some_data(25, Way::Home, 14))),
            put(Randomiser::new(Sack::LeftAlone, 5)),
            Link::of(2, 1),
            scene.tap("inside"),
            scene.tap("both"),
            scene.router(TRANSLATE)?,
            scene.tap("both"),
            scene.tap("outside"),
            Link::of(10, 8),
        ];
        scene.network = Network::Private;
        scene.before_clients(elements);
        scene.flows([(); 4].map(|()| download(60_000)));
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn late_ends_that_leave_untranslated_are_found_outside() {
    let expected = [Expected::none("inside"), Expected::named("outside", "C09")];
    bench("nat_leak_fin", 7, &expected, |scene| {
        let elements = vec![
            Link::of(2, 1),
            scene.tap("inside"),
            scene.router(TRANSLATE)?,
            scene.tap("outside"),
            Link::of(10, 8),
        ];
        // The router forgets connections that idle for a second.
        scene.set_routers("net/netfilter/nf_conntrack_tcp_timeout_established", "1")?;
        scene.network = Network::Private;
        scene.before_clients(elements);
        let idle = |pause| vec![exchange(0, 400, 5000), exchange(pause, 0, 0)];
        scene.flows([idle(10), idle(2500), idle(2600), idle(20), idle(2700)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn two_hops_in_one_capture_blame_nobody() {
    let expected = [Expected::none("any")];
    bench("any_interface", 6, &expected, |scene| {
        let elements = vec![
            Link::of(5, 3),
            scene.tap("any"),
            scene.router(COUNT_INVALID)?,
            scene.tap("any"),
            put(Loses(some_data(10, Way::Home, 15))),
            Link::of(5, 8),
        ];
        scene.before_clients(elements);
        scene.flows([download(100_000), upload(60_000), download(20_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn two_hops_around_a_randomiser_show_its_shift() {
    let expected = [Expected::confirmed("any", "C01")];
    bench("any_interface_randomiser", 8, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let elements = vec![
            Link::of(10, 3),
            put(Loses(some_data(25, Way::Home, 16))),
            scene.tap("any"),
            put(Randomiser::new(Sack::LeftAlone, 6)),
            scene.tap("any"),
            Link::of(0, 2),
        ];
        scene.before_clients(elements);
        scene.flows([(); 4].map(|()| download(50_000)));
        Ok(())
    });
}
