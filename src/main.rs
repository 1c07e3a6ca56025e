//! The command line program: parse, read, audit, write the report, choose the exit status.

mod cli;
mod output;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::JoinHandle;

use cli::{Config, Reading, Task};
use output::{Sinks, say};
use tcp_window_audit::audit::{Audit, Input, Provenance};
use tcp_window_audit::conntrack::Setting;
use tcp_window_audit::pipeline::{Plan, Run, Wanted, chain};
use tcp_window_audit::source::digest::Digest;
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::filter::{Filter, FilterError, Filtered};
use tcp_window_audit::source::merged::Merged;
use tcp_window_audit::source::rules::Exemptions;
use tcp_window_audit::source::{self, FrameSource, Timeline, interrupt};
use tcp_window_audit::wire::Checksums;

/// The exit statuses that scripts rely on.
const CLEAN: u8 = 0;
const INVALID: u8 = 1;
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let status = match cli::parse() {
        Ok(Task::Audit(config)) => audit(&config),
        Ok(Task::Verify(verification)) => verify::run(&verification),
        Ok(Task::Print(text)) => output::print(&text).map_or(FAILED, |()| CLEAN),
        Err(error) => {
            say(&chain(&error));
            FAILED
        }
    };
    ExitCode::from(status)
}

/// Audits what the user asked for, and returns the exit status.
fn audit(config: &Config) -> u8 {
    for note in &config.notes {
        say(note);
    }
    let mut sinks = match Sinks::open(config) {
        Ok(sinks) => sinks,
        Err(error) => {
            say(&chain(&error));
            return FAILED;
        }
    };
    let Some(audit) = run(config, &mut sinks) else { return FAILED };
    if let Some(link_type) = audit.unsupported_link_type() {
        let file = config.files.first().map(|file| file.display().to_string()).unwrap_or_default();
        say(&format!(
            "{file}: frame 1: link type {link_type} is not supported, nor any that follows"
        ));
        return FAILED;
    }
    let failures = sinks.finish(&audit, config);
    for error in &failures {
        say(&chain(error));
    }
    if failures.is_empty() { status(&audit) } else { FAILED }
}

/// Runs the audit over all files; returns none when not a single one could be opened.
fn run(config: &Config, sinks: &mut Sinks) -> Option<Audit> {
    let wanted = if config.verdicts.is_some() { Wanted::Verdicts } else { Wanted::Findings };
    let method = config.method.clone();
    let checksums = match method.sysctls.checksum {
        Setting::On => Checksums::Verified,
        Setting::Off => Checksums::Ignored,
    };
    let inputs = config.files.len();
    let (tunnels, flow, memory) = (config.tunnels, config.flow, config.memory);
    // What has been read is judged at once when nobody waits for the next block.
    let threads = if config.input == Reading::WhileItGrows { 1 } else { config.threads };
    let filter = said(config.filter.as_deref().map(Filter::new).transpose())?;
    let exemptions = said(Exemptions::new(&method.notrack))?;
    let plan =
        Plan { method, checksums, tunnels, exemptions, threads, inputs, wanted, flow, memory };
    let mut run = Run::new(&plan);
    let mut source = open(config, |error| {
        say(&chain(error));
        run.miss(error);
    })?;
    if let Some(filter) = filter {
        source = Box::new(Filtered::new(source, filter));
    }
    // Beside the audit, which reads the same blocks at about the same time.
    let digests = config.wants_digests().then(|| hash(config.files.clone()));
    run.read(&mut *source, sinks);
    sinks.end_progress();
    let mut audit = run.finish();
    for problem in &audit.incomplete {
        say(problem);
    }
    let digests = digests.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let name = |input: &Input| digests.get(&input.summary.name).copied();
    let digests = audit.inputs.read.iter().map(name).collect();
    audit.provenance = Provenance { digests, ..config.provenance.clone() };
    config.privacy.apply(&mut audit);
    Some(audit)
}

/// Reads the sizes and hashes of files on a thread of its own; a file that cannot be read has none.
fn hash(files: Vec<PathBuf>) -> JoinHandle<BTreeMap<String, Digest>> {
    let digest = |path: PathBuf| Some((path.display().to_string(), Digest::of(&path).ok()??));
    std::thread::spawn(move || files.into_iter().filter_map(digest).collect())
}

/// Says an error, and returns what there is without one.
fn said<T>(result: Result<T, FilterError>) -> Option<T> {
    result.inspect_err(|error| say(&chain(error))).ok()
}

/// Opens one file, or several as one time line; returns none when not a single one can be read.
fn open(
    config: &Config,
    mut miss: impl FnMut(&source::Error),
) -> Option<Box<dyn FrameSource + Send>> {
    let files = &config.files;
    if let [file] = files.as_slice() {
        let opened = match config.input {
            Reading::ToTheEnd => source::open(file, Timeline::default()),
            Reading::WhileItGrows => FileSource::follow(file, interrupt::flag()),
        };
        return match opened {
            Ok(source) => Some(Box::new(source)),
            Err(error) => {
                miss(&error);
                None
            }
        };
    }
    let (merged, refused) = Merged::open(files);
    refused.iter().for_each(miss);
    if merged.is_empty() { None } else { Some(Box::new(merged)) }
}

/// Chooses the exit status: an incomplete audit weighs more than what it found.
fn status(audit: &Audit) -> u8 {
    if !audit.incomplete.is_empty() {
        FAILED
    } else if audit.strict().packets > 0 || audit.totals.errors_invalid > 0 {
        INVALID
    } else {
        CLEAN
    }
}
