//! A process of its own that reads the tracker's counters, because that takes a capability which
//! the capture has given up.
//!
//! One line on its standard input is a question, one line on its standard output the answer: INVALID
//! packets since the first question, and entries.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::privilege;
use crate::output::say;
use tcp_window_audit::kernel::own::Tracker;
use tcp_window_audit::pipeline::chain;

/// The hidden subcommand that is the process.
pub(crate) const SUBCOMMAND: &str = "read-tracker-counters";

/// The process, as the capture sees it.
pub(super) struct Counts {
    child: Child,
    /// None once no more is asked.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Counts {
    /// Starts the process.
    pub(super) fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SUBCOMMAND)
            .env_clear()
            // Ctrl-C is for the capture, which has a last question.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Self { child, questions: Some(questions), answers: BufReader::new(answers) })
    }

    /// Asks how many packets the tracker has found INVALID since it was first asked, and how many
    /// entries it has.
    pub(super) fn ask(&mut self) -> Option<(u64, u64)> {
        self.questions.as_mut()?.write_all(b"\n").ok()?;
        let mut line = String::new();
        self.answers.read_line(&mut line).ok()?;
        let (invalid, entries) = line.trim().split_once(' ')?;
        Some((invalid.parse().ok()?, entries.parse().ok()?))
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        // At the end of the questions it ends by itself; another user's process cannot be killed.
        self.questions = None;
        let _ = self.child.wait();
    }
}

/// Is the process: answers until nobody asks any more, and returns whether all went well.
pub(crate) fn serve() -> bool {
    let mut tracker = match Tracker::open() {
        Ok(tracker) => tracker,
        Err(error) => {
            say(&chain(&error));
            return false;
        }
    };
    if let Err(error) = privilege::keep_net_admin() {
        say(&chain(&error));
        return false;
    }
    let mut out = io::stdout().lock();
    for question in io::stdin().lock().lines() {
        let mut ask = || Some((tracker.invalid_packets().ok()?, tracker.entries().ok()?));
        let Some((invalid, entries)) = question.ok().and_then(|_| ask()) else {
            return false;
        };
        if writeln!(out, "{invalid} {entries}").and_then(|()| out.flush()).is_err() {
            return true;
        }
    }
    true
}
