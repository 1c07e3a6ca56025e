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
//! What each stage of an audit costs, what it allocates, and what a flow takes:
//! `cargo bench --bench stages [-- [--bytes N] [--turns N] [CASE...]]`.
//!
//! *Stages.* The capture goes through the first stage, the first two, and so on, by turns; a stage's
//! cost is what it adds, in CPU time of one worker, medians. So each finds in the cache what it would
//! find there in an audit. *Read*: blocks from the page cache, and where the frames lie in them.
//! *Decode*: bytes to segments. *Route*: the hash of the flow and the worker that owns it. *Track*:
//! the flow found and the verdict under every kernel and setting. *Analyse*: what the flow showed.
//! *Count and settle*: all that a whole audit does beside: totals, censuses, other protocols, the end
//! of each flow. *Report*: the causes, and the text for a terminal. The last two lines are measured
//! as a whole; small differences are noise, and negative ones are shown as such.
//!
//! *Allocations.* An audit goes on batch by batch and every call of the allocator is counted, in a
//! stretch in which no flow begins or ends: a quarter of the capture, after each has sent some hundred
//! packets. In captures `a` (bulk flows of half a megabyte, as 2,000 in 1 GB) and `bb` (flows of small
//! packets) there must be none, or this fails. In `b` flows come and go all the time, and what is told
//! is what their tables grow; in `c` and `i`, what troubles are kept.
//!
//! *Memory.* A live flow: what is resident with all flows of `bb` alive, and what the allocator has
//! given, which reserves in large pieces. A finished flow: what the audits of two captures `b` of
//! different length differ by, once all flows have ended.

mod passes;
mod tools;
mod traffic;

use std::path::Path;
use std::process::ExitCode;

use tcp_window_audit::report::{self, Colours, Detail, Format, Look};
use tools::audit::{all_policies, step_through, whole};
use tools::{arguments, capture, cpu_ns, limit, median, memory};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Bytes of a capture for a flow whose packets must cost no allocation.
const BYTES_PER_ESTABLISHED: u64 = 500_000;
/// Bytes of a capture for a flow that is to be alive with all others.
const BYTES_PER_FLOW: u64 = 1000;
/// Allocations a packet in `b` above which flows that come and go cost more than the growth of tables.
const GROWTH: f64 = 0.001;

/// A stage, and the work up to its end.
struct Stage {
    name: &'static str,
    up_to: fn(&Path) -> u64,
}

/// The limit reader, and then the stages in their order.
const STAGES: [Stage; 7] = [
    Stage { name: "limit reader", up_to: |path| limit::read(path).1 },
    Stage { name: "read", up_to: passes::through::<{ passes::READ }> },
    Stage { name: "decode", up_to: passes::through::<{ passes::DECODE }> },
    Stage { name: "route", up_to: passes::through::<{ passes::ROUTE }> },
    Stage { name: "track", up_to: passes::through::<{ passes::TRACK }> },
    Stage { name: "analyse", up_to: passes::through::<{ passes::ANALYSE }> },
    Stage { name: "count and settle", up_to: |path| whole(path, all_policies()).totals.flows },
];

struct Options {
    bytes: u64,
    turns: usize,
    cases: Vec<String>,
}

fn main() -> ExitCode {
    let options = parse(&arguments());
    // What is resident is looked at first, while nothing has been freed yet.
    memory_of_flows(options.bytes);
    let is_free = allocations(options.bytes);
    for case in &options.cases {
        stages(case, &options);
    }
    if is_free { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(arguments: &[String]) -> Options {
    let mut options = Options { bytes: 100_000_000, turns: 7, cases: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || rest.next().and_then(|text| text.parse().ok()).expect("a number");
        match argument.as_str() {
            "--bytes" => options.bytes = number(),
            "--turns" => options.turns = number() as usize,
            case => options.cases.push(case.to_owned()),
        }
    }
    if options.cases.is_empty() {
        options.cases = ["a", "b", "bb", "c"].map(str::to_owned).to_vec();
    }
    options
}

fn stages(case: &str, options: &Options) {
    let path = capture(case, options.bytes, None);
    let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len()) as f64;
    let packets = limit::read(&path).0 as f64;
    let mut times = vec![Vec::new(); STAGES.len()];
    for _ in 0..options.turns {
        for (times, stage) in times.iter_mut().zip(&STAGES) {
            times.push(time(|| (stage.up_to)(&path)));
        }
    }
    let times: Vec<f64> = times.into_iter().map(median).collect();
    println!("\n{case}: {packets} packets, {size} bytes, {} turns\n", options.turns);
    println!("| stage | ns a packet | M packets/s | MB/s | limit reader = 1 |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let print = |name: &str, ns: f64| {
        let (per_packet, ratio) = (ns / packets, ns / times[0]);
        // Less than nothing is noise, and has no rate.
        let rate = |amount: f64| if ns > 0.0 { amount / ns * 1e3 } else { f64::NAN };
        let (packet_rate, byte_rate) = (rate(packets), rate(size));
        println!("| {name} | {per_packet:.1} | {packet_rate:.1} | {byte_rate:.0} | {ratio:.2} |");
    };
    print("limit reader", times[0]);
    let mut before = 0.0;
    for (time, stage) in times.iter().zip(&STAGES).skip(1) {
        print(stage.name, time - before);
        before = *time;
    }
    let report = report_ns(&path, options.turns);
    print("report", report);
    print("all", before + report);
}

fn report_ns(path: &Path, turns: usize) -> f64 {
    let audit = whole(path, all_policies());
    let look = Look { detail: Detail::Normal, colours: Colours::None };
    let write = || report::write(&audit, Format::Text, look, &mut std::io::sink()).unwrap();
    median((0..turns).map(|_| time(write)).collect())
}

fn time<T>(work: impl FnOnce() -> T) -> f64 {
    let begin = cpu_ns();
    std::hint::black_box(work());
    (cpu_ns() - begin) as f64
}

/// Prints what packets of established flows allocate; returns whether that is nothing.
fn allocations(bytes: u64) -> bool {
    println!("\n| capture | packets | allocations | a packet |\n| --- | ---: | ---: | ---: |");
    let mut is_good = true;
    for case in ["a", "bb", "b", "c", "i"] {
        let flows = (bytes / BYTES_PER_ESTABLISHED).max(1);
        let flows = ["a", "bb"].contains(&case).then_some(flows);
        let path = capture(case, bytes, flows);
        let all = limit::read(&path).0;
        let mut seen: Vec<(u64, u64, usize)> = Vec::with_capacity(all as usize);
        step_through(&path, |run| {
            seen.push((run.frames(), memory::allocations(), run.flows_alive()));
        });
        // From the half of the capture to three quarters, where flows of `bb` have not ended yet.
        let within = |(frames, ..): &&(u64, u64, usize)| (all / 2..=all / 4 * 3).contains(frames);
        let stretch: Vec<_> = seen.iter().filter(within).collect();
        let (first, last) = (stretch[0], stretch[stretch.len() - 1]);
        let (packets, calls) = (last.0 - first.0, last.1 - first.1);
        let per_packet = calls as f64 / packets as f64;
        println!("| {case} | {packets} | {calls} | {per_packet:.6} |");
        match case {
            "a" | "bb" => {
                assert_eq!(first.2, last.2, "flows should neither begin nor end");
                is_good &= calls == 0;
            }
            "b" => is_good &= per_packet < GROWTH,
            _ => {}
        }
    }
    if !is_good {
        println!("\nfailed: packets of established flows should cost no allocation");
    }
    is_good
}

/// Prints what flows take while they are alive, and what is left of them.
fn memory_of_flows(bytes: u64) {
    let path = capture("bb", bytes, Some(bytes / BYTES_PER_FLOW));
    let (resident, allocated) = (memory::resident(), memory::allocated());
    let run = step_through(&path, |_| {});
    let alive = run.flows_alive() as f64;
    let resident = memory::resident().saturating_sub(resident) as f64;
    let allocated = memory::allocated().saturating_sub(allocated) as f64;
    println!(
        "live flow, {alive} alive at once: {:.0} bytes resident, {:.0} allocated",
        resident / alive,
        allocated / alive,
    );
    drop(run);
    let [(less, few), (more, many)] = [bytes / 2, bytes].map(|bytes| {
        let path = capture("b", bytes, None);
        let before = memory::allocated();
        let audit = whole(&path, all_policies());
        ((memory::allocated() - before) as f64, audit.totals.flows as f64)
    });
    println!(
        "finished flow, {many} flows in all: {:.1} bytes allocated; an audit with {few}: {less}",
        (more - less) / (many - few),
    );
}
