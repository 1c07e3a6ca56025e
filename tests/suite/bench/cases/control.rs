//! Nothing that harms: no cause may be found.

use std::time::Duration;

use super::{bench, download, upload};
use crate::bench::device::blocker::Loses;
use crate::bench::device::copier::Copies;
use crate::bench::device::randomiser::{Randomiser, Sack};
use crate::bench::device::{Link, put, some, some_data};
use crate::bench::judge::Expected;
use crate::bench::path::Way;
use crate::bench::scene::DROP_INVALID;

const CLEAN: [Expected; 2] = [Expected::none("client"), Expected::none("server")];

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_lossy_path_is_not_the_firewall() {
    bench("lossy", 8, &CLEAN, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let elements = vec![
            scene.tap("client"),
            Link::of(10, 11),
            put(Loses(some_data(30, Way::Home, 7))),
            put(Loses(some_data(30, Way::Away, 8))),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        scene.flows([download(150_000), upload(150_000), download(20_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_randomiser_that_rewrites_sack_harms_nobody() {
    bench("randomiser_with_sack", 8, &CLEAN, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let elements = vec![
            scene.tap("client"),
            Link::of(10, 11),
            put(Loses(some_data(30, Way::Home, 7))),
            put(Randomiser::new(Sack::Rewritten, 1)),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        scene.flows([download(150_000), download(150_000), download(20_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_clean_path_has_no_cause() {
    bench("clean", 6, &CLEAN, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        scene.server.nft(DROP_INVALID)?;
        let elements = vec![scene.tap("client"), Link::of(10, 11), scene.tap("server")];
        scene.before_clients(elements);
        scene.flows([download(150_000), upload(150_000), download(2000), upload(2000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn copies_made_by_the_network_harm_nobody() {
    bench("duplicator", 8, &CLEAN, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let elements = vec![
            scene.tap("client"),
            Link::of(10, 11),
            put(Copies { chosen: some(50, 3), after: Duration::from_micros(300) }),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        scene.flows([download(150_000), upload(150_000), download(20_000)]);
        Ok(())
    });
}
