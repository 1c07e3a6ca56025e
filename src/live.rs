//! Live capture: the audit while packets pass, and what a person wants to know meanwhile.
#![expect(clippy::disallowed_methods, reason = "a person waits by the wall's clock")]

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

mod counts;
mod face;
mod metrics;
mod picture;
mod privilege;
#[cfg(feature = "screen")]
mod screen;
mod tracker;

pub(crate) use counts::{SUBCOMMAND as READ_COUNTERS, serve as read_counters};
pub(crate) use metrics::Target as MetricsTarget;

use crate::cli::{Config, Live};
use crate::output::{self, Sinks, say};
use crate::{CLEAN, FAILED, plan};
use face::Face;
use metrics::Metrics;
use picture::Picture;
use tcp_window_audit::audit::{Audit, Exhibits, Provenance};
use tcp_window_audit::frame::Batch;
use tcp_window_audit::pipeline::{Run, chain};
use tcp_window_audit::source::fanout::Fanout;
use tcp_window_audit::source::keep::Kept;
use tcp_window_audit::source::live::{LiveSource, devices, now};
use tcp_window_audit::source::{Error, FrameSource, interrupt};
use tracker::Beside;

/// Prints the interfaces, as `tcpdump -D` does, and returns the exit status.
pub(crate) fn list_interfaces() -> u8 {
    let devices = match devices() {
        Ok(devices) => devices,
        Err(error) => {
            say(&chain(&error));
            return FAILED;
        }
    };
    let mut text = String::new();
    for (number, device) in (1..).zip(&devices) {
        let states = [(device.is_up, "Up"), (device.is_running, "Running")];
        let states = states.iter().filter(|(is_so, _)| *is_so).map(|(_, name)| *name);
        let loopback = device.is_loopback.then_some("Loopback");
        let states: Vec<_> = states.chain(loopback).collect();
        let description = device.description.as_deref();
        let description = description.map_or_else(String::new, |text| format!(" ({text})"));
        let line = format!("{number}.{}{description} [{}]", device.name, states.join(", "));
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{}", tcp_window_audit::report::printable(&line));
    }
    output::print(&text).map_or(FAILED, |()| CLEAN)
}

/// A capture that has begun, with nothing left of the privileges that it took.
pub(crate) struct Capture {
    source: Box<dyn FrameSource + Send>,
    beside: Option<Beside>,
    metrics: Option<Metrics>,
}

/// Begins a capture, and gives up what is not needed any more; none, and the reason is said, when
/// one or the other cannot be.
pub(crate) fn begin(config: &Config, live: &Live) -> Option<Capture> {
    let opened = open(live).map_err(|error| chain(&error));
    let source = opened.inspect_err(|reason| say(reason)).ok()?;
    let beside = live.asks_host.then(|| Beside::begin(now())).flatten();
    let metrics = match live.metrics.as_ref().map(Metrics::open) {
        Some(Err(error)) => {
            say(&format!("--metrics: cannot listen: {error}"));
            return None;
        }
        opened => opened.transpose().ok().flatten(),
    };
    let left = give_up(config, live).inspect_err(|error| say(&chain(error))).ok()?;
    say(&format!("capturing on {}{left}", live.options.interface));
    let source = match live.keeping.clone() {
        None => source,
        Some(keeping) => {
            let kept = Kept::new(source, keeping, live.options.snaplen);
            let kept = kept.inspect_err(|error| {
                say(&chain(error));
                if matches!(error, Error::Keep { source, .. } if source.kind() == ErrorKind::PermissionDenied) {
                    explain_denial(live);
                }
            });
            Box::new(kept.ok()?)
        }
    };
    Some(Capture { source, beside, metrics })
}

/// Says what to do when a capture that is no longer root's may not write where it should.
pub(crate) fn explain_denial(live: &Live) {
    if !live.keeps_privileges {
        say(
            "the capture gives up root before it writes: choose a folder of the user that it goes on \
             as, or that user (-Z NAME; -Z root writes where root may)",
        );
    }
}

/// Gives up what is not needed once the capture is open, and says in words what is left.
fn give_up(config: &Config, live: &Live) -> Result<String, privilege::Error> {
    if live.keeps_privileges {
        return Ok(", with all privileges".to_owned());
    }
    let left = privilege::give_up(live.user.as_deref(), &written(config, live))?;
    let user = left.user.map_or_else(String::new, |user| format!(" as {user}"));
    Ok(user + if left.is_sandboxed { ", in a sandbox" } else { "" })
}

/// Says what is captured, and by what it is judged.
fn title(config: &Config, live: &Live) -> String {
    let filter = live.options.filter.as_ref().map_or_else(String::new, |f| format!(", {f}"));
    let kernel = config.method.policies.first().map_or("", |policy| policy.profile.name());
    let title = format!("{}{filter}: judged as Linux {kernel} would", live.options.interface);
    tcp_window_audit::report::printable(&title)
}

/// Returns the folders that files will be written to.
fn written(config: &Config, live: &Live) -> Vec<PathBuf> {
    let reports = config.outputs.iter().map(|output| output.path.as_path());
    let kept = live.keeping.as_ref().map(|keeping| keeping.path.as_path());
    let metrics = live.metrics_file();
    let files = reports
        .chain(config.verdicts.as_deref())
        .chain(config.incident.as_deref())
        .chain(kept)
        .chain(metrics)
        .chain(live.events.as_deref());
    files.map(|file| folder_of(file).to_owned()).collect()
}

/// Returns the folder that a file is in; devices, pipes and standard output stand for themselves.
fn folder_of(file: &Path) -> &Path {
    if std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
        return file;
    }
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Audits what passes until the end; returns none when the audit cannot begin.
pub(crate) fn run(
    config: &Config,
    live: &Live,
    capture: Capture,
    sinks: &mut Sinks,
) -> Option<Audit> {
    let Capture { mut source, beside, metrics } = capture;
    let mut run = Run::new(&plan(config)?);
    let mut desk = Desk::new(config, live, beside, metrics);
    if let Some(beside) = &mut desk.beside {
        run.know(beside.take_connections());
    }
    let mut batch = Batch::default();
    run.describe(&*source);
    let end = loop {
        match run.step(&mut *source, &mut batch, sinks) {
            Ok(true) => desk.attend(&mut run, &mut *source),
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    desk.close(&mut run);
    sinks.end_progress();
    source.take_events().iter().for_each(|event| say(event));
    if let Err(error) = end {
        run.miss(&error);
    }
    run.end(&mut *source);
    let mut audit = run.finish();
    for problem in &audit.incomplete {
        say(problem);
    }
    if config.shows_exhibits() {
        audit.exhibits = Exhibits::without("a live capture cannot be read a second time");
    }
    sign(&mut audit, config);
    Some(audit)
}

/// What is done beside the audit while it goes on.
struct Desk<'a> {
    config: &'a Config,
    beside: Option<Beside>,
    metrics: Option<Metrics>,
    picture: Picture,
    face: Face,
    reports_due: Option<Interval>,
    host_due: Interval,
    /// Set by Ctrl-C, and by SIGUSR1.
    stop: &'static AtomicBool,
    question: &'static AtomicBool,
    has_told_of_forgetting: bool,
    has_asked_at_end: bool,
}

impl<'a> Desk<'a> {
    fn new(
        config: &'a Config,
        live: &Live,
        beside: Option<Beside>,
        metrics: Option<Metrics>,
    ) -> Self {
        Self {
            config,
            beside,
            metrics,
            picture: Picture::new(),
            face: Face::open(live.has_screen, title(config, live)),
            reports_due: live.interval.map(Interval::new),
            host_due: Interval::new(tracker::OFTEN),
            stop: interrupt::flag(),
            question: interrupt::question(),
            has_told_of_forgetting: false,
            has_asked_at_end: false,
        }
    }

    /// Does what is due after a batch.
    fn attend(&mut self, run: &mut Run, source: &mut dyn FrameSource) {
        source.take_events().iter().for_each(|event| self.face.note(event));
        if self.question.swap(false, Ordering::Relaxed) {
            self.face.note(&state(run, source));
        }
        self.show(run, source);
        if self.face.wants_end() {
            self.stop.store(true, Ordering::Relaxed);
        }
        if self.host_due.is_due() && !self.has_asked_at_end {
            run.hear(self.beside.as_mut().and_then(Beside::now));
            self.tell_of_forgetting(run);
        }
        if self.stop.load(Ordering::Relaxed) {
            self.ask_at_end(run);
        }
        if self.reports_due.as_mut().is_some_and(Interval::is_due) {
            self.report(run, source);
        }
    }

    /// Takes a new picture, if it is time and somebody looks at it.
    fn show(&mut self, run: &Run, source: &dyn FrameSource) {
        let is_looked_at = self.metrics.is_some() || self.face.is_screen();
        if !is_looked_at || !self.picture.take(run, source, self.beside.as_mut()) {
            return;
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.update(&self.picture.standing);
        }
        self.face.show(&self.picture);
    }

    /// Says when the memory that was allowed does not suffice: the report says it only at the end.
    fn tell_of_forgetting(&mut self, run: &Run) {
        if !self.has_told_of_forgetting && run.totals().forgotten.is_any() {
            self.has_told_of_forgetting = true;
            let most = self.config.memory.bytes() >> 20;
            let words = "connections are forgotten early, to stay within --memory";
            self.face.note(&format!("{words} {most}M"));
        }
    }

    /// Writes the reports as they are now.
    fn report(&mut self, run: &mut Run, source: &dyn FrameSource) {
        run.describe(source);
        if !self.has_asked_at_end {
            run.hear(self.beside.as_mut().and_then(Beside::now));
        }
        let mut audit = run.snapshot();
        sign(&mut audit, self.config);
        for error in Sinks::write_reports(&audit, self.config) {
            self.face.note(&chain(&error));
        }
    }

    /// Asks the tracker for the last time: what is audited from here on came before.
    fn ask_at_end(&mut self, run: &mut Run) {
        if !self.has_asked_at_end {
            self.has_asked_at_end = true;
            run.hear(self.beside.as_mut().and_then(Beside::now));
        }
    }

    /// Asks for the last word, and gives the terminal back.
    fn close(mut self, run: &mut Run) {
        self.ask_at_end(run);
    }
}

/// Says where the judge came from, and hides what is not to be given away.
fn sign(audit: &mut Audit, config: &Config) {
    let digests = vec![None; audit.inputs.read.len()];
    audit.provenance = Provenance { digests, ..config.provenance.clone() };
    config.privacy.apply(audit);
}

/// Begins the capture.
fn open(live: &Live) -> Result<Box<dyn FrameSource + Send>, Error> {
    let stop = interrupt::flag();
    let source: Box<dyn FrameSource + Send> = if live.fanout > 1 {
        Box::new(Fanout::open(&live.options, live.fanout, stop)?)
    } else {
        Box::new(LiveSource::open(&live.options, stop)?)
    };
    Ok(source)
}

/// Says in one line how the audit stands.
fn state(run: &Run, source: &dyn FrameSource) -> String {
    let totals = run.totals();
    let (by_host, by_interface) = picture::drops(source);
    let dropped = by_host + by_interface;
    let segments = totals.new + totals.established + totals.invalid + totals.dropped;
    format!(
        "{segments} TCP segments, {} INVALID, {} connections ended, {} alive, {dropped} packets \
         dropped by the capture",
        totals.invalid,
        totals.flows,
        run.flows_alive(),
    )
}

/// What is to be done every so often.
struct Interval {
    every: Duration,
    next: Instant,
}

impl Interval {
    fn new(every: Duration) -> Self {
        Self { every, next: Instant::now() + every }
    }

    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.next <= now;
        if is_due {
            self.next = now + self.every;
        }
        is_due
    }
}
