#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for measuring, in which a panic is a failed measurement"
)]
//! Writes a capture to measure with: `cargo bench --bench generate -- b /tmp/b.pcap 1000000000`.

mod traffic;

use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;

use traffic::{Case, Recipe, generate};

const USAGE: &str = "usage: cargo bench --bench generate -- CASE FILE BYTES [FLOWS [SEED]]
CASE is a, b, bb, c, h or i: see benches/traffic/mod.rs";

fn main() -> ExitCode {
    // Cargo adds an argument of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.is_empty() {
        return ExitCode::SUCCESS;
    }
    let Some((recipe, path)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let file = File::create(path).expect("the file should be writable");
    let packets = generate(&recipe, BufWriter::with_capacity(1 << 20, file)).expect("disk space");
    println!("{path}: {packets} packets");
    ExitCode::SUCCESS
}

fn parse(arguments: &[String]) -> Option<(Recipe, &str)> {
    let case = Case::of_name(arguments.first()?)?;
    let path = arguments.get(1)?;
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<u64>().ok());
    let bytes = number(2)??;
    let flows = match number(3) {
        Some(given) => Some(given?).filter(|&flows| flows > 0),
        None => None,
    };
    let seed = number(4).unwrap_or(Some(1))?;
    Some((Recipe { case, bytes, flows, seed }, path))
}
