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
//! Prints what a whole audit costs beside what other programs cost on the same files:
//! `cargo bench --bench side_by_side [-- [--bytes N] [--runs N] [--limit SECONDS] [CASE...]]`.
//!
//! The runs alternate, and the median counts; CPU time is user and system time of all threads,
//! which other work on the machine disturbs less than wall time. Programs that are not installed
//! are named and left out.

mod tools;
mod traffic;

use std::path::Path;

use tools::command::{self, Cost};
use tools::{arguments, capture, limit, median};

/// A program with its arguments; `FILE` stands for the capture.
const PEERS: [(&str, &[&str]); 5] = [
    ("capinfos -c", &["capinfos", "-c", "FILE"]),
    ("tcpdump -w /dev/null", &["tcpdump", "-r", "FILE", "-w", "/dev/null"]),
    ("tcptrace -n", &["tcptrace", "-n", "FILE"]),
    ("tshark -q -z expert", &["tshark", "-n", "-r", "FILE", "-q", "-z", "expert"]),
    (
        "tshark -T fields",
        &[
            "tshark",
            "-n",
            "-r",
            "FILE",
            "-T",
            "fields",
            "-e",
            "frame.number",
            "-e",
            "tcp.stream",
            "-e",
            "tcp.analysis.flags",
        ],
    ),
];

struct Options {
    bytes: u64,
    runs: usize,
    limit_s: u32,
    cases: Vec<String>,
}

struct Contender {
    name: String,
    command: Vec<String>,
    costs: Vec<Cost>,
    has_failed: bool,
}

fn main() {
    let arguments = arguments();
    match arguments.split_first() {
        Some((flag, rest)) if flag == "--measure" => return command::measure(rest),
        Some((flag, rest)) if flag == "--limit-reader" => {
            std::hint::black_box(limit::read(Path::new(&rest[0])));
            return;
        }
        _ => {}
    }
    let options = parse(&arguments);
    describe_machine(&options);
    for case in &options.cases {
        compare(case, &options);
    }
}

fn parse(arguments: &[String]) -> Options {
    let mut options = Options { bytes: 1_000_000_000, runs: 5, limit_s: 120, cases: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || rest.next().and_then(|text| text.parse().ok()).expect("a number");
        match argument.as_str() {
            "--bytes" => options.bytes = number(),
            "--runs" => options.runs = number() as usize,
            "--limit" => options.limit_s = number() as u32,
            case => options.cases.push(case.to_owned()),
        }
    }
    if options.cases.is_empty() {
        options.cases = ["a", "b", "bb", "c", "h", "i"].map(str::to_owned).to_vec();
    }
    options
}

fn describe_machine(options: &Options) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    println!(
        "{}, {cores} cores, Linux {}; files in the page cache; medians of {} alternating runs; load {}",
        model.unwrap_or("processor unknown").trim(),
        kernel.trim(),
        options.runs,
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    );
    for (name, command) in PEERS {
        if command::find(command[0]).is_none() {
            println!("skipped, not installed: {name}");
        }
    }
    for program in ["tshark", "tcpdump", "capinfos"] {
        if command::find(program).is_some() {
            println!("{program}: {}", command::version(program));
        }
    }
}

fn contenders(path: &Path) -> Vec<Contender> {
    let audit = env!("CARGO_BIN_EXE_tcp-window-audit").to_owned();
    let own = std::env::current_exe().expect("this program").display().to_string();
    let file = path.display().to_string();
    let mut list =
        vec![("limit reader".to_owned(), vec![own, "--limit-reader".into(), file.clone()])];
    for threads in ["1", "2"] {
        let command =
            [&audit, "--threads", threads, "--progress", "never", &file].map(str::to_owned);
        list.push((format!("audit, --threads {threads}"), command.to_vec()));
    }
    let peers = PEERS.iter().filter(|(_, command)| command::find(command[0]).is_some());
    list.extend(peers.map(|(name, command)| {
        let command = command.iter().map(|word| word.replace("FILE", &file)).collect();
        ((*name).to_owned(), command)
    }));
    let with_costs =
        |(name, command)| Contender { name, command, costs: Vec::new(), has_failed: false };
    list.into_iter().map(with_costs).collect()
}

fn compare(case: &str, options: &Options) {
    let path = capture(case, options.bytes, None);
    let (packets, _) = limit::read(&path);
    let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let mut contenders = contenders(&path);
    for run in 0..options.runs {
        for contender in contenders.iter_mut().filter(|contender| !contender.has_failed) {
            // What takes long is not disturbed by much, and run once.
            let is_slow = contender.costs.first().is_some_and(|cost| cost.wall_s > 10.0);
            if run > 0 && is_slow {
                continue;
            }
            match command::run(&contender.command, options.limit_s) {
                Some(cost) => contender.costs.push(cost),
                None => contender.has_failed = true,
            }
        }
    }
    print(case, (packets, bytes), &contenders, options);
}

fn print(case: &str, (packets, bytes): (u64, u64), contenders: &[Contender], options: &Options) {
    println!("\n{case}: {packets} packets, {bytes} bytes\n");
    println!(
        "| program | wall s | CPU s | M packets/s CPU | MB/s CPU | peak MB | CPU, audit = 1 |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let middle = |contender: &Contender, of: fn(&Cost) -> f64| {
        median(contender.costs.iter().map(of).collect())
    };
    let audit_cpu = contenders.get(1).map_or(f64::NAN, |audit| middle(audit, |cost| cost.cpu_s));
    for contender in contenders {
        if contender.costs.is_empty() {
            println!("| {} | > {} | | | | | |", contender.name, options.limit_s);
            continue;
        }
        let cpu = middle(contender, |cost| cost.cpu_s);
        println!(
            "| {} | {:.2} | {cpu:.2} | {:.1} | {:.0} | {:.0} | {:.2} |",
            contender.name,
            middle(contender, |cost| cost.wall_s),
            packets as f64 / 1e6 / cpu,
            bytes as f64 / 1e6 / cpu,
            middle(contender, |cost| cost.memory_mb),
            cpu / audit_cpu,
        );
    }
}
