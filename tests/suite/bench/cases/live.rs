//! A device that spoils connections, met by a capture that goes on.

use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;

use super::{Scene, download};
use crate::bench::device::blocker::Loses;
use crate::bench::device::randomiser::{Randomiser, Sack};
use crate::bench::device::{Link, put, some_data};
use crate::bench::path::Way;
use crate::bench::scene::DROP_INVALID;
use crate::live::{Capture, Folder, as_judged};
use crate::program::{PROGRAM, run, text};

/// How long the connections that the device spoils may try.
const LASTING: Duration = Duration::from_secs(3);

/// Sets up a server behind a firewall of its own and a randomiser that forgets SACK.
fn spoiled() -> std::io::Result<Scene> {
    let mut scene = Scene::new()?;
    scene.server.nft(DROP_INVALID)?;
    scene.before_clients(vec![
        Link::of(10, 11),
        put(Loses(some_data(40, Way::Home, 7))),
        put(Randomiser::new(Sack::LeftAlone, 1)),
    ]);
    scene.flows([(); 6].map(|()| download(100_000)));
    Ok(scene)
}

#[test]
fn a_randomiser_is_found_live_and_as_the_kernel_counts() {
    let mut scene = match spoiled() {
        Ok(scene) => scene,
        Err(error) => return println!("skipped: no hosts of the bench's own: {error}"),
    };
    let folder = Folder::new();
    let (kept, verdicts) = (folder.path("kept.pcap"), folder.path("live.ndjson"));
    let mut command = Command::new(PROGRAM);
    command.args(["-i", "tun0", "-w", &kept, "--verdicts", &verdicts, "tcp"]);
    let report = folder.path("report.json");
    let Some(capture) = scene.server.run(move || Capture::of(command, &report)) else {
        return;
    };
    let (told, end) = channel();
    scene.at_end = Some(Box::new(move || told.send(capture.end()).unwrap()));
    let seen = scene.run(LASTING);
    let (code, _, errors) = end.recv().unwrap();
    assert_eq!(code, 1, "{errors}");
    let report = folder.report();
    assert!(is_found(&report), "{}", report["verdict"]);
    let (predicted, counted) = invalid(&report);
    assert!(predicted > 20, "{predicted}");
    assert_eq!((Some(predicted), Some(counted)), (seen.counted_at("server"), Some(predicted)));
    // The same packets from the file.
    let judged = as_judged(&report);
    let judged: Vec<_> = judged.iter().map(String::as_str).collect();
    let again = run(&folder.0, &[&judged[..], &["--verdicts", "-", &kept]].concat());
    assert!(text(&again.stdout) == folder.read("live.ndjson"), "the verdicts differ");
    let again = run(&folder.0, &[&judged[..], &["--format", "json", &kept]].concat());
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["verdict"]["invalid"], report["verdict"]["invalid"]);
    assert!(is_found(&again), "{}", again["verdict"]);
}

fn is_found(report: &Value) -> bool {
    report["verdict"]["level"] == "confirmed" && report["verdict"]["cause"] == "C01"
}

/// Returns the INVALID packets that were predicted, and those that the kernel counted.
fn invalid(report: &Value) -> (u64, u64) {
    let number = |pointer| report.pointer(pointer).and_then(Value::as_u64).unwrap();
    (number("/verdict/invalid/packets"), number("/capture/host/invalid_counted"))
}
