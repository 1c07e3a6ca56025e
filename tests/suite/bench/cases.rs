//! The cases: a device, traffic, and what is to be said of it on each side.

mod capture;
mod cards;
mod control;
mod ends;
mod forward;
mod live;
mod numbers;
mod optimisers;
mod options;
mod path;
mod proxies;
mod resets;
mod stripping;

use std::io;
use std::time::Duration;

use super::app::Exchange;
use super::judge::{Expected, check};
use super::scene::Scene;

/// Returns a request and its answer, after a pause of so many milliseconds.
const fn exchange(pause_ms: u64, up: u32, down: u32) -> Exchange {
    let pause = Duration::from_millis(pause_ms);
    Exchange { pause, up, down, think: Duration::ZERO, rest: Duration::ZERO }
}

/// Returns a download of so many bytes.
fn download(bytes: u32) -> Vec<Exchange> {
    vec![exchange(0, 400, bytes)]
}

/// Returns an upload of so many bytes.
fn upload(bytes: u32) -> Vec<Exchange> {
    vec![exchange(0, bytes, 200)]
}

/// Sets a case up, runs it for so many seconds at most, and compares what is said of it.
fn bench(
    name: &str,
    seconds: u64,
    expected: &[Expected],
    set_up: impl FnOnce(&mut Scene) -> io::Result<()>,
) {
    let scene = Scene::new().and_then(|mut scene| {
        set_up(&mut scene)?;
        Ok(scene)
    });
    match scene {
        Err(error) => println!("skipped: no hosts of the bench's own: {error}"),
        Ok(scene) => check(name, &scene.run(Duration::from_secs(seconds)), expected),
    }
}
