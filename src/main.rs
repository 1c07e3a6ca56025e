//! The command line program: parse, read, audit, write the report, choose the exit status.

mod cli;
mod job;
mod live;
mod merge;
mod output;
mod split;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use cli::{Config, Reading, TableWanted, Task};
use output::{Silence, Sinks, Told, say};
use tcp_window_audit::audit::{Audit, Exhibits, Input, Inputs, Provenance};
use tcp_window_audit::diagnose::{diagnose, wish};
use tcp_window_audit::pipeline::{Observer, Plan, Run, TableView, Wanted, align, chain, gather};
use tcp_window_audit::source::digest::Digest;
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::filter::{Filter, FilterError, Filtered};
use tcp_window_audit::source::merged::Merged;
use tcp_window_audit::source::rules::Exemptions;
use tcp_window_audit::source::{self, FrameSource, Timeline, interrupt};

/// The exit statuses that scripts rely on.
const CLEAN: u8 = 0;
const INVALID: u8 = 1;
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let status = match cli::parse() {
        Ok(Task::Audit(config)) => match &config.part {
            Some(part) => job::run(&config, part),
            None => audit(&config),
        },
        Ok(Task::Merge(merge)) => merge::run(&merge),
        Ok(Task::Split(split)) => split::run(&split),
        Ok(Task::ListInterfaces) => live::list_interfaces(),
        Ok(Task::ReadCounters) if live::read_counters() => CLEAN,
        Ok(Task::ReadCounters) => FAILED,
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
    let capture = match &config.live {
        None => None,
        Some(live) => match live::begin(config, live) {
            None => return FAILED,
            begun => begun,
        },
    };
    let mut sinks = match Sinks::open(config) {
        Ok(sinks) => sinks,
        Err(error) => {
            say(&chain(&error));
            config.live.iter().filter(|_| error.is_denied()).for_each(live::explain_denial);
            return FAILED;
        }
    };
    let audit = match (&config.live, capture) {
        (Some(live), Some(capture)) => live::run(config, live, capture, &mut sinks),
        _ => run(config, &mut sinks),
    };
    let Some(audit) = audit else { return FAILED };
    if let Some(flow) = config.flow
        && audit.stories.is_empty()
    {
        say(&format!("--flow {flow}: no connection begins with this frame; reports name them"));
    }
    conclude(&audit, sinks, config)
}

/// Writes the reports of an audit, and returns the exit status.
fn conclude(audit: &Audit, sinks: Sinks, config: &Config) -> u8 {
    if let Some(link_type) = audit.unsupported_link_type() {
        let input = audit.inputs.read.first().map(|input| input.summary.name.as_str());
        let input = input.unwrap_or_default();
        say(&format!(
            "{input}: frame 1: link type {link_type} is not supported, nor any that follows"
        ));
        return FAILED;
    }
    let failures = sinks.finish(audit, config);
    for error in &failures {
        say(&chain(error));
    }
    if failures.is_empty() { status(audit) } else { FAILED }
}

/// Reads the inputs again to look at the connection table in full, if they can be read again.
fn look_at_table(config: &Config, plan: &Plan, audit: &mut Audit, told: &mut Told) {
    if !can_be_read_again(config) {
        return;
    }
    let (table, wanted) = (TableView::Assessed, Wanted::Findings);
    let run = read(config, &Plan { table, wanted, ..plan.clone() }, &mut Silence, told);
    let table = run.and_then(|run| run.assess(&audit.totals.occupancy));
    audit.table = table.map(Box::new);
}

/// Returns whether all inputs can be read again from their beginnings, and would be the same.
fn can_be_read_again(config: &Config) -> bool {
    config.input == Reading::ToTheEnd && config.files.iter().all(is_file)
}

/// Returns whether a path can be read again from its beginning; `-` is standard input, whatever files
/// there are.
fn is_file(path: &PathBuf) -> bool {
    path.as_os_str() != "-" && std::fs::metadata(path).is_ok_and(|found| found.is_file())
}

/// Runs the audit over all files; returns none when not a single one could be opened.
fn run(config: &Config, sinks: &mut Sinks) -> Option<Audit> {
    let mut plan = plan(config)?;
    // What was told of single packets cannot be told again.
    let can_begin_again = can_be_read_again(config) && plan.wanted == Wanted::Findings;
    if config.table == TableWanted::WhenHalfFull && can_begin_again {
        plan.table = TableView::UntilHalfFull;
    }
    // Beside the audit, which reads the same blocks at about the same time.
    let digests = config.wants_digests().then(|| Hashing::start(config.files.clone()));
    let mut told = Told::default();
    let mut run = read(config, &plan, sinks, &mut told)?;
    if run.is_left_half_full() {
        plan.table = TableView::Assessed;
        drop(run);
        run = read(config, &plan, sinks, &mut told)?;
    }
    let mut audit = run.finish();
    sinks.end_progress();
    if config.shows_exhibits() {
        audit.exhibits = exhibits(config, &plan, &audit);
    }
    audit.incomplete.iter().for_each(|problem| told.say(problem));
    if config.table == TableWanted::WhenHalfFull {
        if !audit.table_is_half_full() {
            // Shards count at times of their own: their sum may be more than there were at one time.
            audit.table = None;
        } else if plan.table != TableView::Assessed {
            look_at_table(config, &plan, &mut audit, &mut told);
        }
    }
    let digests = digests.map(|hashing| hashing.finish(&audit.inputs)).unwrap_or_default();
    let name = |input: &Input| digests.get(&input.summary.name).copied();
    let digests = audit.inputs.read.iter().map(name).collect();
    audit.provenance = Provenance { digests, ..config.provenance.clone() };
    config.privacy.apply(&mut audit);
    Some(audit)
}

/// Reads all inputs once, and tells which cannot be opened.
fn read(config: &Config, plan: &Plan, observer: &mut dyn Observer, told: &mut Told) -> Option<Run> {
    let mut run = Run::new(plan);
    let mut source = open(config, |error| {
        told.say(&chain(error));
        run.miss(error);
    })?;
    run.read(&mut *source, observer);
    Some(run)
}

/// Decides how the run is done; none when a rule for exemptions cannot be read.
fn plan(config: &Config) -> Option<Plan> {
    let wants_events = config.live.as_ref().is_some_and(|live| live.events.is_some());
    let wanted = match (&config.verdicts, wants_events) {
        (Some(_), _) => Wanted::Verdicts,
        (None, true) => Wanted::Invalid,
        (None, false) => Wanted::Findings,
    };
    // What has been read is judged at once when nobody waits for the next block.
    let is_at_once = config.input == Reading::WhileItGrows || config.live.is_some();
    let exemptions = said(Exemptions::new(&config.method.notrack))?;
    Some(Plan {
        exemptions,
        tunnels: config.tunnels,
        threads: if is_at_once { 1 } else { config.threads },
        share: config.share,
        inputs: config.files.len().max(1),
        wanted,
        flows: config.flow.into_iter().collect(),
        memory: config.memory,
        table: match config.table {
            TableWanted::Always => TableView::Assessed,
            TableWanted::WhenHalfFull | TableWanted::Never => TableView::Counted,
        },
        ..Plan::new(config.method.clone())
    })
}

/// Reads the inputs a second time for the packets and flows that reports show themselves.
fn exhibits(config: &Config, plan: &Plan, audit: &Audit) -> Exhibits {
    let wish = wish(audit, &diagnose(audit));
    if wish.is_empty() {
        return Exhibits::default();
    }
    if !config.files.iter().all(is_file) {
        return Exhibits::without("an input that is no file cannot be read a second time");
    }
    // Whatever has come to a growing file since is beyond what is shown.
    let config = Config { input: Reading::ToTheEnd, ..config.clone() };
    let mut problem = None;
    match open(&config, |error| problem = Some(chain(error))) {
        Some(mut source) => gather(plan, &wish, &mut *source),
        None => Exhibits::without(&problem.unwrap_or_default()),
    }
}

/// Sizes and hashes of files, read on a thread of its own.
struct Hashing {
    give_up: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<String, Digest>>,
}

impl Hashing {
    fn start(files: Vec<PathBuf>) -> Self {
        let give_up = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&give_up);
        let digest = move |path: PathBuf| {
            Some((path.display().to_string(), Digest::of(&path, &told).ok()??))
        };
        let thread = std::thread::spawn(move || files.into_iter().filter_map(digest).collect());
        Self { give_up, thread }
    }

    /// Waits for the hashes; there are none when an input was left before its end, since a file may
    /// claim to be larger than anybody would wait for.
    fn finish(self, inputs: &Inputs) -> BTreeMap<String, Digest> {
        if !is_read_to_its_end(inputs) {
            self.give_up.store(true, Ordering::Relaxed);
            return BTreeMap::new();
        }
        self.thread.join().unwrap_or_default()
    }
}

/// Returns whether every input that was asked for was read to its end.
fn is_read_to_its_end(inputs: &Inputs) -> bool {
    let is_read =
        |input: &Input| input.summary.file_len.is_none_or(|len| input.summary.bytes_read >= len);
    inputs.read.len() >= inputs.asked_for && inputs.read.iter().all(is_read)
}

/// Says an error, and returns what there is without one.
fn said<T>(result: Result<T, FilterError>) -> Option<T> {
    result.inspect_err(|error| say(&chain(error))).ok()
}

/// Opens all inputs, behind the filter if there is one; returns none when not a single one can be
/// read.
fn open(config: &Config, miss: impl FnMut(&source::Error)) -> Option<Box<dyn FrameSource + Send>> {
    let filter = said(config.filter.as_deref().map(Filter::new).transpose())?;
    let source = open_files(config, miss)?;
    match filter {
        Some(filter) => Some(Box::new(Filtered::new(source, filter))),
        None => Some(source),
    }
}

/// Opens one file, or several as one time line; returns none when not a single one can be read.
fn open_files(
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
    // What cannot be read twice is merged by the times that it has.
    let set_back =
        if files.iter().all(is_file) { align(files, config.tunnels) } else { BTreeMap::new() };
    let (merged, refused) = Merged::open_set_back(files, set_back);
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
