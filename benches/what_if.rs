#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for measuring, in which a panic is a failed measurement"
)]
//! What the panel of all kernels and settings costs on a capture without INVALID packets:
//! CPU time with the run's own policy and its liberal twin, and with the whole panel, by turns.
//!
//! `cargo bench --bench what_if [-- BYTES]`

mod tools;
mod traffic;

use std::path::Path;

use tcp_window_audit::audit::{Inputs, Method, PacketVerdict};
use tcp_window_audit::conntrack::{Policy, Profile, Sysctls, what_if};
use tcp_window_audit::pipeline::{Budget, Observer, Plan, Run, TableView, Wanted, Whole};
use tcp_window_audit::source::rules::Exemptions;
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::tuple::Share;
use tcp_window_audit::wire::{Checksums, Tunnels};

/// Bytes of each capture when nothing is said.
const BYTES: u64 = 100_000_000;
/// Turns of each kind.
const TURNS: usize = 7;

struct Silent;

impl Observer for Silent {
    fn verdicts(&mut self, _: &[PacketVerdict], _: &Inputs) -> std::io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, _: u64, _: &dyn FrameSource) {}
}

/// Audits a capture with one worker; returns CPU time in nanoseconds and INVALID packets.
fn audit(path: &Path, policies: Vec<Policy>) -> (f64, u64) {
    let method = Method { policies, sysctls: Sysctls::default(), notrack: Vec::new() };
    let (checksums, tunnels) = (Checksums::Ignored, Tunnels::Closed);
    let plan = Plan {
        method,
        checksums,
        tunnels,
        exemptions: Exemptions::default(),
        threads: 1,
        share: Share::ALL,
        frames: Whole::Capture,
        inputs: 1,
        wanted: Wanted::Findings,
        flows: Vec::new(),
        table: TableView::Counted,
        memory: Budget::DEFAULT,
    };
    let begin = tools::cpu_ns();
    let mut run = Run::new(&plan);
    let mut capture = source::open(path, Timeline::default()).unwrap();
    run.read(&mut capture, &mut Silent);
    let audit = run.finish();
    ((tools::cpu_ns() - begin) as f64, audit.strict().packets)
}

fn main() {
    let bytes = tools::arguments().first().and_then(|text| text.parse().ok()).unwrap_or(BYTES);
    let own = Policy::new(Profile::DEFAULT, &Sysctls::default());
    println!("case  two policies  whole panel  ratio");
    for case in ["a", "b"] {
        let path = tools::capture(case, bytes, None);
        let (mut few, mut all) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let (time, invalid) = audit(&path, vec![own, own.liberal()]);
            assert_eq!(invalid, 0, "the capture should be clean");
            few.push(time / 1e6);
            all.push(audit(&path, what_if::panel(own)).0 / 1e6);
        }
        let (few, all) = (tools::median(few), tools::median(all));
        println!("{case:<6}{few:>9.1} ms {all:>9.1} ms  {:>6.3}", all / few);
    }
}
