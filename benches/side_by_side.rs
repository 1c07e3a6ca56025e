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
//! Prints what a whole audit costs beside what other programs cost on the same files, as Markdown:
//! `cargo bench --bench side_by_side [-- [--bytes N] [--runs N] [--limit SECONDS] [CASE...]]`.
//!
//! The runs alternate, and the median counts; CPU time is user and system time of all threads,
//! which other work on the machine disturbs less than wall time. Programs that are not installed
//! are named and left out; what takes longer than the limit is shown as such.
//!
//! The limit reader reads 256 KiB at a time into one buffer and touches the first 64 bytes of each
//! packet. Under each table stands whether the audit took less time than the programs that only
//! count the packets or copy them.

mod tools;
mod traffic;

use std::path::Path;

use tools::command::{self, Cost};
use tools::{arguments, audit, capture, limit, median};

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

/// The first contender, by which others are measured, and the audits.
const LIMIT: &str = "limit reader";
const AUDIT: &str = "audit, --threads 1";
const AUDIT_ONE_READING: &str = "audit, --threads 1 --table=never";
const AUDITS: [(&str, &[&str]); 4] = [
    (AUDIT, &["--threads", "1"]),
    (AUDIT_ONE_READING, &["--threads", "1", "--table=never"]),
    ("audit, --threads 2", &["--threads", "2"]),
    ("audit, --threads 2 --table=never", &["--threads", "2", "--table=never"]),
];
/// Those who do less than an audit, and should take longer.
const SLOWER: [&str; 2] = ["capinfos -c", "tcpdump -w /dev/null"];

struct Contender {
    name: String,
    command: Vec<String>,
    costs: Vec<Cost>,
    has_failed: bool,
}

impl Contender {
    fn middle(&self, of: fn(&Cost) -> f64) -> f64 {
        median(self.costs.iter().map(of).collect())
    }

    fn cpu_s(&self) -> f64 {
        self.middle(|cost| cost.cpu_s)
    }

    fn wall_s(&self) -> f64 {
        self.middle(|cost| cost.wall_s)
    }
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
    println!(
        "{}; files in the page cache; medians of {} alternating runs.",
        tools::machine(),
        options.runs
    );
    let programs = ["tshark", "tcpdump", "capinfos", "tcptrace"].into_iter();
    let installed = programs.filter(|name| command::find(name).is_some());
    let versions: Vec<String> = installed.map(command::version).collect();
    println!("Others: {}.", versions.join("; "));
    for (name, _) in PEERS.iter().filter(|(_, command)| command::find(command[0]).is_none()) {
        println!("Skipped, not installed: {name}.");
    }
}

/// Returns who takes part; a file that is read a second time for the connection table is also audited
/// without that, since one reading is what others do.
fn contenders(path: &Path, reads_twice: bool) -> Vec<Contender> {
    let audit = env!("CARGO_BIN_EXE_tcp-window-audit").to_owned();
    let own = std::env::current_exe().expect("this program").display().to_string();
    let file = path.display().to_string();
    let mut list = vec![(LIMIT.to_owned(), vec![own, "--limit-reader".into(), file.clone()])];
    let is_told = |options: &[&str]| reads_twice || !options.contains(&"--table=never");
    for (name, options) in AUDITS.iter().filter(|(_, options)| is_told(options)) {
        let mut command = vec![audit.clone(), "--progress".to_owned(), "never".to_owned()];
        command.extend(options.iter().map(|option| (*option).to_owned()));
        command.push(file.clone());
        list.push(((*name).to_owned(), command));
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

/// Returns whether the audit of this case reads the file a second time, because the connection table
/// would be more than half full.
fn reads_twice(path: &Path) -> bool {
    audit::whole(path, vec![audit::own_policy()]).table_is_half_full()
}

fn compare(case: &str, options: &Options) {
    let path = capture(case, options.bytes, None);
    let (packets, _) = limit::read(&path);
    let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let reads_twice = reads_twice(&path);
    let mut contenders = contenders(&path, reads_twice);
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
    if reads_twice {
        println!(
            "\nThe connection table would be more than half full, so that the audit reads the file a \
             second time to assess it; with `--table=never` it does not."
        );
    }
    headline(&contenders, reads_twice);
}

fn print(case: &str, (packets, bytes): (u64, u64), contenders: &[Contender], options: &Options) {
    println!("\n### {case}: {packets} packets, {bytes} bytes\n");
    println!(
        "| program | wall s | CPU s | M packets/s CPU | MB/s CPU | peak MB | wall, limit = 1 | CPU, limit = 1 | CPU, audit = 1 |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let of = |name: &str| contenders.iter().find(|contender| contender.name == name);
    let [limit, audit] = [of(LIMIT), of(AUDIT)].map(|found| found.expect("one of the contenders"));
    for contender in contenders {
        if contender.costs.is_empty() {
            println!("| {} | > {} | | | | | | | |", contender.name, options.limit_s);
            continue;
        }
        let (wall, cpu) = (contender.wall_s(), contender.cpu_s());
        println!(
            "| {} | {wall:.3} | {cpu:.3} | {:.1} | {:.0} | {:.0} | {} | {} | {} |",
            contender.name,
            packets as f64 / 1e6 / cpu,
            bytes as f64 / 1e6 / cpu,
            contender.middle(|cost| cost.memory_mb),
            ratio(wall, limit.wall_s()),
            ratio(cpu, limit.cpu_s()),
            ratio(cpu, audit.cpu_s()),
        );
    }
}

/// Writes a ratio; nothing where there is none, because one of both was not measured.
fn ratio(of: f64, to: f64) -> String {
    let ratio = of / to;
    if ratio.is_finite() { format!("{ratio:.2}") } else { String::new() }
}

/// Says whether a full audit takes less time than those who only count or copy.
fn headline(contenders: &[Contender], reads_twice: bool) {
    println!();
    let of = |name: &str| contenders.iter().find(|contender| contender.name == name);
    let audits: &[&str] = if reads_twice { &[AUDIT, AUDIT_ONE_READING] } else { &[AUDIT] };
    for audit in audits.iter().filter_map(|audit| of(audit)) {
        for slower in SLOWER.iter().filter_map(|slower| of(slower)) {
            let wall = audit.wall_s() / slower.wall_s();
            let cpu = audit.cpu_s() / slower.cpu_s();
            let answer = match (audit.costs.is_empty(), slower.costs.is_empty()) {
                (true, _) => "no, it was not done in time".to_owned(),
                (false, true) => "yes, that one was not done in time".to_owned(),
                (false, false) => {
                    let answer = if wall < 1.0 && cpu < 1.0 { "yes" } else { "no" };
                    format!("{answer} (wall {wall:.2}, CPU {cpu:.2} of its)")
                }
            };
            println!("* `{}` takes less time than `{}`: {answer}", audit.name, slower.name);
        }
    }
}
