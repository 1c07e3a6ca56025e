//! Captures of many origins are read as Wireshark's tools read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tcp_window_audit::frame::Batch;
use tcp_window_audit::source::{self, Error, FrameSource, Timeline};

/// Captures that Wireshark reads otherwise, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("libtrace-5_packets.bin", "ERF, which has no magic number, is not recognised"),
    ("libtrace-fragtest.bin.gz", "ERF"),
    ("libtrace-provenance.bin", "ERF"),
    ("tcptrace-atm.bin.gz", "ERF"),
    ("wswiki-Manolito2.cap", "Network Monitor is refused"),
    ("wswiki-iseries.bin", "an i Series trace is refused"),
    ("wswiki-l2ping.bin", "hcidump has Bluetooth only, and is refused"),
    ("pngtg-difficult_test201~2.pcapng", "simple packets take the time before them"),
    ("pngtg-difficult_test202.pcapng", "simple packets take the time before them"),
    ("sv-transform-base64-7296_input.pcap", "a fraction of more than a second is added"),
    ("ppp-crash-exception-cast-constructed-record.pcap", "no other record header is guessed"),
    ("sv-bug-6875-01_fuzz.pcap", "no other record header is guessed"),
];

/// Stands for a file that only a build with more features reads.
const NOT_BUILT_IN: &str = "not built in";

#[test]
fn healthy_captures_have_the_counts_lengths_and_times_that_capinfos_finds() {
    compare_with_capinfos("dev", 4, 100);
}

#[test]
fn malformed_captures_are_read_as_far_as_capinfos_reads_them() {
    // capinfos prints fractions of more than a second as they are, so that times are not compared.
    compare_with_capinfos("malformed", 2, 300);
}

#[test]
fn each_frame_has_the_number_time_and_lengths_that_tshark_finds() {
    let Some(files) = captures("dev") else { return };
    let mut compared = 0;
    for path in files.iter().step_by(9) {
        let fields = ["frame.number", "frame.time_epoch", "frame.cap_len", "frame.len"];
        let mut command = Command::new("tshark");
        command.arg("-r").arg(path).args(["-T", "fields"]);

        for field in fields {
            command.args(["-e", field]);
        }
        let Some(expected) = lines_of(&mut command) else { return };
        let Ok(read) = Read::of(path, 1 << 18) else { continue };
        assert!(read.lines == expected, "{}", path.display());
        compared += expected.len();
    }
    assert!(compared > 5000, "{compared} frames compared");
}

#[test]
fn the_size_of_blocks_changes_nothing_in_any_capture() {
    for folder in ["dev", "malformed"] {
        let Some(files) = captures(folder) else { return };
        for path in files.iter().filter(|path| path.metadata().unwrap().len() < 200_000) {
            let (whole, pieces) = (Read::of(path, 1 << 19), Read::of(path, 61));
            assert!(whole == pieces, "{}", path.display());
        }
    }
}

fn compare_with_capinfos(folder: &str, columns: usize, at_least: usize) {
    let Some(files) = captures(folder) else { return };
    let Some(capinfos) = Capinfos::run(&files) else { return };
    let mut differing = Vec::new();
    let mut compared = 0;
    for path in &files {
        let (path_text, name) = (path.to_str().unwrap(), path.file_name().unwrap());
        let Some((expected, columns)) = capinfos.says(path_text, columns) else { continue };
        let found = match Read::of(path, 1 << 18) {
            Ok(read) => first_columns(&read.row(), columns),
            Err(error) => error,
        };
        if found == NOT_BUILT_IN {
            continue;
        }
        compared += 1;
        let is_known = DIFFERENCES.iter().any(|(known, _)| *known == name);
        if (expected == found) == is_known {
            differing.push(format!("{}: capinfos {expected}, here {found}", name.display()));
        }
    }
    assert!(compared >= at_least, "{compared} captures compared");
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// What capinfos prints of a list of files.
struct Capinfos {
    rows: BTreeMap<String, String>,
    complaints: String,
}

impl Capinfos {
    fn run(files: &[PathBuf]) -> Option<Self> {
        let mut command = Command::new("capinfos");
        let output = output_of(command.args(["-TMrcdaeS"]).args(files))?;
        let text = String::from_utf8(output.stdout).unwrap();
        let row = |line: &str| line.split_once('\t').map(|(a, b)| (a.to_owned(), b.to_owned()));
        let complaints = String::from_utf8(output.stderr).unwrap();
        Some(Self { rows: text.lines().filter_map(row).collect(), complaints })
    }

    /// Returns the first columns for a file and how many there are, `refused`, or nothing for a
    /// file that would be read if Wireshark knew its link type.
    fn says(&self, path: &str, columns: usize) -> Option<(String, usize)> {
        if let Some(row) = self.rows.get(path) {
            return Some((first_columns(row, columns), columns));
        }
        // Damage after some frames leaves no row, but the count is in the message.
        let quoted = format!("\"{path}\"");
        let (before, after) = self.complaints.split_once(&quoted)?;
        if let Some((_, rest)) = before.lines().last()?.split_once("after reading ") {
            let count: usize = rest.split(' ').next()?.parse().ok()?;
            return Some((count.to_string(), 1));
        }
        let reason = after.lines().nth(1).unwrap_or_default();
        (!reason.contains("network type")).then(|| ("refused".to_owned(), columns))
    }
}

/// Returns the first columns of a row, with the times, which have as many decimals as the file,
/// filled up.
fn first_columns(row: &str, columns: usize) -> String {
    let pad = |column: &str| match column.split_once('.') {
        Some((seconds, fraction)) => format!("{seconds}.{fraction:0<9}"),
        None => column.to_owned(),
    };
    row.split('\t').take(columns).map(pad).collect::<Vec<_>>().join("\t")
}

/// What was read of a file.
#[derive(PartialEq, Eq)]
struct Read {
    lines: Vec<String>,
    times: Vec<i128>,
    original_bytes: u64,
    error: Option<String>,
}

impl Read {
    /// Reads a file to its end or error; `Err` when it is refused.
    fn of(path: &Path, block_bytes: usize) -> Result<Self, String> {
        let opened = source::open(path, Timeline::default());
        let mut source = match opened {
            Ok(source) => source.with_block_bytes(block_bytes),
            Err(error) => return Err(refusal(&error)),
        };
        let mut read = Self { lines: vec![], times: vec![], original_bytes: 0, error: None };
        let mut batch = Batch::default();
        loop {
            match source.fill(&mut batch) {
                Ok(true) => {}
                Ok(false) => return Ok(read),
                Err(error) => {
                    read.error = Some(error.to_string());
                    return Ok(read);
                }
            }
            assert!(batch.buffer.len() <= 17 << 20, "{}", path.display());
            for frame in batch.frames(0..batch.len()) {
                let (number, len) = (frame.number, frame.bytes.len());
                let (ts, original_len) = (frame.ts.0, frame.original_len);
                let (seconds, nanos) = (ts / 1_000_000_000, ts % 1_000_000_000);
                read.lines.push(format!("{number}\t{seconds}.{nanos:09}\t{len}\t{original_len}"));
                read.times.push(i128::from(ts));
                read.original_bytes += u64::from(original_len);
            }
        }
    }

    /// Count, sum of lengths, first and last time.
    fn row(&self) -> String {
        let (first, last) = (self.times.iter().min(), self.times.iter().max());
        let time = |time: Option<&i128>| match time {
            None => "n/a".to_owned(),
            Some(ns) => format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000),
        };
        let count = self.lines.len();
        format!("{count}\t{}\t{}\t{}", self.original_bytes, time(first), time(last))
    }
}

/// A refusal is expected where the other tool refuses; any other error at opening is a fault.
fn refusal(error: &Error) -> String {
    match error {
        Error::Open { .. } | Error::Read { .. } => panic!("{error}"),
        Error::NotBuiltIn { .. } => NOT_BUILT_IN.to_owned(),
        _ => "refused".to_owned(),
    }
}

/// The capture files of a folder, in order; none when the folder is not there.
fn captures(folder: &str) -> Option<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures").join(folder);
    let Ok(entries) = root.read_dir() else {
        eprintln!("skipped: no captures in {}", root.display());
        return None;
    };
    let is_capture = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_file() && !matches!(extension, Some("tsv" | "txt" | "json"))
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(is_capture).collect();
    files.sort();
    Some(files)
}

/// The lines that a command prints; none when it is not installed.
fn lines_of(command: &mut Command) -> Option<Vec<String>> {
    let text = String::from_utf8(output_of(command)?.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

fn output_of(command: &mut Command) -> Option<Output> {
    let output = command.output().ok();
    if output.is_none() {
        eprintln!("skipped: {} is not installed", command.get_program().display());
    }
    output
}
