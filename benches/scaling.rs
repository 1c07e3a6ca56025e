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
//! Prints how the cost of an audit grows with its input, as Markdown:
//! `cargo bench --bench scaling [-- [--bytes N] [--flows N] [--runs N] [TABLE...]]`.
//!
//! * `size`: time for a packet and the peak of memory while the file doubles and doubles again. In
//!   `b` flows come and go for as long as the file lasts. The tracker holds each for two minutes after
//!   its end, 210 MB of the file, and the table looks for what is over when it has grown by half: the
//!   peak should stay from 500 MB on.
//! * `flows`: time for a packet with 1,000 flows alive and with more, up to `--flows`, by turns. Told
//!   apart are the packets that open flows, those of established flows, and the end of each flow.
//!   Time is CPU time of the one worker. A million flows make a capture of 1 GB.
//! * `threads`: one worker and two, on small packets.
//! * `compressed`: the audit of compressed captures beside the decompressor alone: that of the program
//!   itself with nobody to take what it gives but the record walk, and the tools that people have.
//!
//! Medians of alternating runs.

mod tools;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::Command;

use tcp_window_audit::frame::Batch;
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tools::command::{self, Cost};
use tools::{arguments, audit, capture, limit, median, thread_cpu_ns};

const LIMIT_S: u32 = 600;
/// Bytes of a capture for a flow that is to be alive with all others: some seven packets each after
/// its handshake.
const BYTES_PER_FLOW: u64 = 1000;
/// Bytes of the capture of few flows, so that there is something to measure.
const LEAST_BYTES: u64 = 50_000_000;
/// The flows that others are compared with.
const FEWEST: u64 = 1000;

struct Options {
    bytes: u64,
    flows: u64,
    runs: usize,
    tables: Vec<String>,
}

fn main() {
    let arguments = arguments();
    match arguments.split_first() {
        Some((flag, rest)) if flag == "--measure" => return command::measure(rest),
        Some((flag, rest)) if flag == "--read" => return read(Path::new(&rest[0])),
        _ => {}
    }
    let options = parse(&arguments);
    println!("{}; medians of {} alternating runs.", tools::machine(), options.runs);
    for table in &options.tables {
        match table.as_str() {
            "size" => size(&options),
            "flows" => flows(&options),
            "threads" => threads(&options),
            "compressed" => compressed(&options),
            other => panic!("{other}: size, flows, threads or compressed"),
        }
    }
}

fn parse(arguments: &[String]) -> Options {
    let (bytes, flows, runs) = (1_000_000_000, 1_000_000, 5);
    let mut options = Options { bytes, flows, runs, tables: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || rest.next().and_then(|text| text.parse().ok()).expect("a number");
        match argument.as_str() {
            "--bytes" => options.bytes = number(),
            "--flows" => options.flows = number(),
            "--runs" => options.runs = number() as usize,
            table => options.tables.push(table.to_owned()),
        }
    }
    if options.tables.is_empty() {
        options.tables = ["size", "flows", "threads", "compressed"].map(str::to_owned).to_vec();
    }
    options
}

/// Runs commands by turns, and returns the middle cost of each.
fn by_turns(commands: &[Vec<String>], runs: usize) -> Vec<Cost> {
    let mut costs = vec![Vec::new(); commands.len()];
    for _ in 0..runs {
        for (costs, command) in costs.iter_mut().zip(commands) {
            costs.push(command::run(command, LIMIT_S).expect("the command should succeed"));
        }
    }
    let middle = |costs: &[Cost], of: fn(&Cost) -> f64| median(costs.iter().map(of).collect());
    costs
        .iter()
        .map(|costs| Cost {
            wall_s: middle(costs, |cost| cost.wall_s),
            cpu_s: middle(costs, |cost| cost.cpu_s),
            memory_mb: middle(costs, |cost| cost.memory_mb),
        })
        .collect()
}

fn audit_command(path: &Path, threads: &str) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_tcp-window-audit");
    let options = ["--threads", threads, "--progress", "never", "--table=never"];
    let mut command = vec![program.to_owned()];
    command.extend(options.map(str::to_owned));
    command.push(path.display().to_string());
    command
}

fn size(options: &Options) {
    println!("\n| capture | packets | ns CPU a packet | smallest = 1 | peak MB | smallest = 1 |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for case in ["a", "b", "c"] {
        let paths = [4, 2, 1].map(|part| capture(case, options.bytes / part, None));
        let commands = paths.each_ref().map(|path| audit_command(path, "1"));
        let costs = by_turns(&commands, options.runs);
        let packets = paths.each_ref().map(|path| limit::read(path).0 as f64);
        let of = |at: usize| (costs[at].cpu_s * 1e9 / packets[at], costs[at].memory_mb);
        for (at, part) in [4, 2, 1].into_iter().enumerate() {
            let (time, peak) = of(at);
            println!(
                "| {case}, {} MB | {} | {time:.1} | {:.2} | {peak:.0} | {:.2} |",
                options.bytes / part / 1_000_000,
                packets[at],
                time / of(0).0,
                peak / of(0).1,
            );
        }
    }
}

/// CPU time in nanoseconds for a packet that opens a flow, for one of an established flow, and for
/// the end of a flow.
#[derive(Clone, Copy)]
struct Times {
    opening: f64,
    established: f64,
    end: f64,
}

fn flows(options: &Options) {
    let steps = std::iter::successors(Some(FEWEST), |flows| Some(flows * 10));
    let mut counts: Vec<u64> = steps.take_while(|&flows| flows < options.flows).collect();
    counts.push(options.flows);
    let captures: Vec<PathBuf> = counts
        .iter()
        .map(|&flows| capture("bb", LEAST_BYTES.max(flows * BYTES_PER_FLOW), Some(flows)))
        .collect();
    let mut times = vec![Vec::new(); captures.len()];
    for _ in 0..options.runs {
        for ((times, path), &flows) in times.iter_mut().zip(&captures).zip(&counts) {
            times.push(time_by_phase(path, flows));
        }
    }
    println!(
        "\n| flows alive | ns a packet, established | {FEWEST} flows = 1 | ns a packet, opening | ns for the end of a flow |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let middle = |times: &[Times], of: fn(&Times) -> f64| median(times.iter().map(of).collect());
    let base = middle(&times[0], |times| times.established);
    for (flows, times) in counts.iter().zip(&times) {
        let established = middle(times, |times| times.established);
        println!(
            "| {flows} | {established:.1} | {:.2} | {:.1} | {:.0} |",
            established / base,
            middle(times, |times| times.opening),
            middle(times, |times| times.end),
        );
    }
}

fn time_by_phase(path: &Path, flows: u64) -> Times {
    // Each flow begins with the three packets of its handshake, in as many rounds.
    let opened = flows * 3;
    let (mut phases, mut frames, mut at) = ([(0, 0); 2], 0, thread_cpu_ns());
    let run = audit::step_through(path, |run| {
        let now = thread_cpu_ns();
        let (time, packets) = &mut phases[usize::from(frames >= opened)];
        *time += now - at;
        *packets += run.frames() - frames;
        (frames, at) = (run.frames(), now);
    });
    let begin = thread_cpu_ns();
    let ended = run.finish().totals.flows;
    let end = (thread_cpu_ns() - begin) as f64 / ended as f64;
    let [opening, established] = phases.map(|(time, packets)| time as f64 / packets as f64);
    Times { opening, established, end }
}

fn threads(options: &Options) {
    println!("\n| capture | threads | wall s | one = 1 | CPU s | one = 1 | M packets/s wall |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for case in ["b", "bb", "a"] {
        let path = capture(case, options.bytes, None);
        let packets = limit::read(&path).0 as f64;
        let commands = ["1", "2"].map(|threads| audit_command(&path, threads));
        let costs = by_turns(&commands, options.runs);
        for (at, cost) in costs.iter().enumerate() {
            println!(
                "| {case} | {} | {:.3} | {:.2} | {:.3} | {:.2} | {:.1} |",
                at + 1,
                cost.wall_s,
                cost.wall_s / costs[0].wall_s,
                cost.cpu_s,
                cost.cpu_s / costs[0].cpu_s,
                packets / 1e6 / cost.wall_s,
            );
        }
    }
}

/// Is the helper: reads a capture, compressed or not, and does nothing with it.
fn read(path: &Path) {
    let mut capture = source::open(path, Timeline::default()).expect("a capture");
    let mut batch = Batch::default();
    while capture.fill(&mut batch).expect("the capture should be whole") {
        std::hint::black_box(&batch);
    }
}

fn compressed(options: &Options) {
    println!(
        "\n| capture b | MB | audit, wall s | decompressor alone, wall s | ratio | tool, wall s | ratio |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let plain = capture("b", options.bytes, None);
    let own = std::env::current_exe().expect("this program").display().to_string();
    for (tool, extension) in [("gzip", "gz"), ("zstd", "zst"), ("lz4", "lz4")] {
        if command::find(tool).is_none() {
            println!("| {tool}: skipped, not installed | | | | | | |");
            continue;
        }
        let path = compress(&plain, tool, extension);
        let file = path.display().to_string();
        let commands = [
            audit_command(&path, "1"),
            vec![own.clone(), "--read".to_owned(), file.clone()],
            [tool, "-d", "-q", "-c", &file].map(str::to_owned).to_vec(),
        ];
        let [audit, alone, tools] = by_turns(&commands, options.runs)[..] else { return };
        println!(
            "| {extension} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            std::fs::metadata(&path).map_or(0, |metadata| metadata.len() / 1_000_000),
            audit.wall_s,
            alone.wall_s,
            audit.wall_s / alone.wall_s,
            tools.wall_s,
            audit.wall_s / tools.wall_s,
        );
    }
}

/// Returns a compressed capture, which is made once and kept beside the plain one.
fn compress(plain: &Path, tool: &str, extension: &str) -> PathBuf {
    let path = plain.with_extension(format!("pcap.{extension}"));
    if !path.exists() {
        let unfinished = path.with_extension("part");
        let out = std::fs::File::create(&unfinished).expect("the folder should be writable");
        let status = Command::new(tool).args(["-q", "-c"]).arg(plain).stdout(out).status();
        assert!(status.is_ok_and(|status| status.success()), "{tool} should compress");
        std::fs::rename(&unfinished, &path).expect("the file should keep its place");
    }
    path
}
