//! What it costs to capture with several threads.
//!
//! ```text
//! cargo test --release --test suite -- --ignored --nocapture fanout_costs
//! ```
#![expect(unsafe_code, reason = "the time that a child took has no face in the standard library")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::flood::flood;
use super::net::Net;
use super::soak::cpu_seconds;
use super::{Capture, Folder};

/// How long packets are gathered while the capture stands still.
const GATHERED: Duration = Duration::from_secs(4);

#[test]
#[ignore = "measures; takes half a minute"]
fn fanout_costs() {
    for threads in ["1", "2", "4", "1", "2", "4"] {
        let Some(net) = Net::new() else { return };
        let folder = Folder::new();
        let arguments = ["-B", "400000", "--fanout", threads, "tcp"];
        let Some(capture) = Capture::begin(&net, &folder, &arguments) else { return };
        capture.signal("-STOP");
        let stop = Arc::new(AtomicBool::new(false));
        let sender = flood(&net, &stop);
        std::thread::sleep(GATHERED);
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap();
        // What it took to begin does not count.
        let before = children_seconds() + cpu_seconds(capture.child.id());
        let begun = Instant::now();
        capture.signal("-CONT");
        // What the kernel has gathered until now is audited before the end.
        let (_, _, errors) = capture.end();
        let (lasted, cpu) = (begun.elapsed().as_secs_f64(), children_seconds() - before);
        let report = folder.report();
        let frames = report["capture"]["frames"].as_u64().unwrap();
        let lost = &report["capture"]["files"][0]["interfaces"][0]["drops_os"];
        let each = cpu * 1e9 / frames as f64;
        println!(
            "{threads} threads: {frames} packets, {lost} lost; {lasted:.2} s, {cpu:.2} s of CPU, \
             {each:.0} ns each"
        );
        assert!(frames > 0, "{errors}");
    }
}

/// Returns how much time of processors the children that have ended took.
fn children_seconds() -> f64 {
    // SAFETY: all-zero is a valid place for the answer.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the place is valid for writes.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) }, 0);
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
