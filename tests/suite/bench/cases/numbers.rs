//! Devices that change sequence numbers.

use super::{bench, download, upload};
use crate::bench::device::blocker::Loses;
use crate::bench::device::inspector::Inspector;
use crate::bench::device::randomiser::{Randomiser, Sack};
use crate::bench::device::{Link, put, some_data};
use crate::bench::judge::Expected;
use crate::bench::path::Way;
use crate::bench::scene::DROP_INVALID;

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_randomiser_that_forgets_sack_is_found_beside_the_sender() {
    let expected = [Expected::none("client"), Expected::confirmed("server", "C01")];
    bench("randomiser", 8, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let elements = vec![
            scene.tap("client"),
            Link::of(10, 11),
            put(Loses(some_data(40, Way::Home, 7))),
            put(Randomiser::new(Sack::LeftAlone, 1)),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        let lossy = [(); 4].map(|()| download(100_000));
        scene.flows(lossy.into_iter().chain([download(3000), download(4000)]));
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_randomiser_is_found_by_the_client_that_uploads() {
    let expected = [Expected::confirmed("client", "C01"), Expected::none("server")];
    bench("randomiser_upload", 8, &expected, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        let elements = vec![
            scene.tap("client"),
            put(Randomiser::new(Sack::LeftAlone, 2)),
            put(Loses(some_data(40, Way::Away, 9))),
            Link::of(10, 11),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        let lossy = [(); 4].map(|()| upload(100_000));
        scene.flows(lossy.into_iter().chain([upload(3000), upload(4000)]));
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn an_inspection_that_lengthens_payload_is_measured_step_by_step() {
    let expected = [
        Expected::allowed("client", "C02"),
        Expected::none("server"),
        Expected::named("both", "C02"),
    ];
    bench("inspection", 8, &expected, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        let elements = vec![
            scene.tap("client"),
            scene.tap("both"),
            put(Inspector::new(&[(3_000, 7), (30_000, 40), (60_000, 3)])),
            Link::of(1, 1),
            scene.tap("both"),
            put(Loses(some_data(40, Way::Away, 11))),
            Link::of(10, 11),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        scene.flows([(); 4].map(|()| upload(100_000)));
        Ok(())
    });
}
