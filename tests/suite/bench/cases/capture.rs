//! Captures that do not hold what passed.

use super::{bench, download, upload};
use crate::bench::device::{Choice, Link, some};
use crate::bench::judge::Expected;
use crate::bench::path::Way;
use crate::bench::scene::DROP_INVALID;

#[test]
#[ignore = "between real kernels; takes seconds"]
fn frames_lost_while_capturing_blame_nobody() {
    let expected = [Expected::named("mirror", "capture_loss")];
    bench("capture_loss", 6, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let mut loses = some(30, 21);
        let tap = scene.tap_of("mirror", Box::new(move |way, packet| !loses(way, packet)));
        scene.before_clients(vec![Link::of(10, 11), tap]);
        scene.flows([download(150_000), upload(100_000), download(60_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_gap_in_the_capture_blames_nobody() {
    let expected = [Expected::named("mirror", "capture_loss")];
    bench("capture_gap", 6, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let mut seen = 0;
        let gap: Choice = Box::new(move |_, _| {
            seen += 1;
            !(120..240).contains(&seen)
        });
        let tap = scene.tap_of("mirror", gap);
        scene.before_clients(vec![Link::of(10, 11), tap]);
        scene.flows([download(150_000), upload(150_000), download(60_000), download(30_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_capture_of_one_direction_cannot_be_judged() {
    let expected = [Expected::none("mirror")];
    bench("one_direction", 6, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let tap = scene.tap_of("mirror", Box::new(|way, _| way == Way::Home));
        scene.before_clients(vec![Link::of(10, 11), tap]);
        scene.flows([download(50_000), upload(50_000), download(20_000)]);
        Ok(())
    });
}
