//! `verify`: the model beside this machine's own kernel, over captures.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::cli::Verification;
use crate::output::say;
use crate::{CLEAN, FAILED, INVALID};
use tcp_window_audit::conntrack::Setting;
use tcp_window_audit::frame::Batch;
use tcp_window_audit::kernel;
use tcp_window_audit::kernel::compare::{Compared, Comparison};
use tcp_window_audit::pipeline::chain;
use tcp_window_audit::report::printable;
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::wire;

/// Why a file could not be compared to its end.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    #[error("standard output: cannot write")]
    Output(#[from] io::Error),
}

/// What a comparison came to.
#[derive(Clone, Copy, Default, Debug)]
struct Score {
    compared: u64,
    differing: u64,
}

/// Compares all files and returns the exit status.
pub(crate) fn run(verification: &Verification) -> u8 {
    for note in &verification.notes {
        say(note);
    }
    let mut status = CLEAN;
    let mut out = BufWriter::new(io::stdout().lock());
    for file in &verification.files {
        match compare(file, verification, &mut out) {
            Ok(score) if score.differing > 0 => status = status.max(INVALID),
            Ok(_) => {}
            Err(error) => {
                say(&chain(&error));
                status = FAILED;
            }
        }
    }
    if let Err(error) = out.flush() {
        say(&chain(&Error::Output(error)));
        return FAILED;
    }
    status
}

/// Compares one file; each has a namespace of its own.
fn compare(file: &Path, task: &Verification, out: &mut dyn Write) -> Result<Score, Error> {
    let mut capture = source::open(file, Timeline::default())?;
    let mut comparison = Comparison::new(&task.policy, &task.sysctls)?;
    let (mut batch, mut score) = (Batch::default(), Score::default());
    let name = printable(&file.display().to_string());
    while capture.fill(&mut batch)? {
        for packet in batch.frames(0..batch.len()).flat_map(|frame| wire::packets(&frame)) {
            let Some(compared) = comparison.judge(&packet)? else { continue };
            score.compared += 1;
            if compared.agree() {
                continue;
            }
            score.differing += 1;
            show(&name, &compared, out)?;
        }
    }
    let Score { compared, differing } = score;
    let agreed = compared - differing;
    let mode = if task.policy.be_liberal == Setting::On { "liberal" } else { "strict" };
    writeln!(
        out,
        "{name}: {agreed} of {compared} TCP packets agree: model {} and this kernel, {}, {mode}",
        task.policy.profile.name(),
        printable(&task.release),
    )?;
    out.flush()?;
    Ok(score)
}

fn show(name: &str, compared: &Compared, out: &mut dyn Write) -> io::Result<()> {
    let Compared { frame, model, kernel, texts } = compared;
    writeln!(out, "{name}: frame {frame}")?;
    writeln!(out, "  model   {model}")?;
    writeln!(out, "  kernel  {kernel}")?;
    texts.iter().try_for_each(|text| writeln!(out, "          {}", printable(text)))
}
