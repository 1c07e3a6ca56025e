//! What the program says of itself: help in two lengths, version, manual page, completions, and what
//! somebody meant who typed something else.
//!
//! Does not: know what an option does.

use std::path::{Path, PathBuf};

use clap::{Arg, CommandFactory, Error, FromArgMatches};
use clap_complete::Shell;
use tcp_window_audit::conntrack::Profile;
use tcp_window_audit::diagnose::{explain, known_ids};
use tcp_window_audit::report::Colours;
use tcp_window_audit::source::filter::has_libpcap;

use super::{Args, When};

/// The groups of options, in the order in which help shows them, by the names of their fields.
///
/// Those of a live capture say their group themselves.
const GROUPS: [(&str, &[&str]); 6] = [
    ("What is read", &["filter", "follow", "inner", "threads", "memory"]),
    ("Who judges", &["kernel", "sysctls", "notrack"]),
    (
        "Reports",
        &["outputs", "incident", "format", "verdicts", "flow", "table", "quiet", "verbose"],
    ),
    ("Past one machine", &["shard", "partial", "keep_verdicts"]),
    ("Reports to hand on", &["anonymize", "anonymize_key", "relative_times"]),
    ("The terminal", &["progress", "color"]),
];

/// What `-h` shows; `--help` shows all.
const BRIEF: [&str; 9] = [
    "kernel",
    "sysctls",
    "filter",
    "outputs",
    "incident",
    "verdicts",
    "quiet",
    "verbose",
    "interface",
];

const EXIT_STATUS: &str = "\
Exit status: 0 nothing INVALID, 1 something INVALID, 2 the audit could not be done or is incomplete";

/// What the manual page of the program ends with, in roff.
const EXAMPLES: &str = r"
.SH EXAMPLES
.TP
\fBtcp\-window\-audit capture.pcap\fR
Audit a capture, and print the report.
.TP
\fBtcp\-window\-audit \-\-incident ticket capture.pcap\fR
Write all formats into a new folder, to attach to a ticket.
.TP
\fBtcp\-window\-audit \-i eth0 \-\-duration 600 tcp\fR
Audit what passes an interface for ten minutes, as this machine's own tracker would.
.TP
\fBtcp\-window\-audit explain C01\fR
Tell mechanism, signature, look-alikes and remedy of a cause.
.SH SEE ALSO
tcpdump(8), pcap-filter(7), conntrack(8), nft(8)
";

/// How much help is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// The options that most need.
    Brief,
    /// All of them, a line or two each.
    Full,
    /// All that there is to say, for the manual page.
    Manual,
}

/// Parses the command line.
pub(super) fn parse() -> Result<Args, Error> {
    let asks = |wanted: &str| std::env::args_os().any(|word| word == wanted);
    // Who types nothing but the name gets help as well.
    let is_brief = asks("-h") || std::env::args_os().len() < 2;
    let mut command = command(if is_brief { Extent::Brief } else { Extent::Full });
    if asks("--version") {
        command = command.long_version(long_version());
    }
    let mut matches = command.try_get_matches()?;
    Args::from_arg_matches_mut(&mut matches)
}

/// Returns the definition of the command line with the help that is wanted.
pub(super) fn command(extent: Extent) -> clap::Command {
    let command = Args::command().arg_required_else_help(true);
    let command = command.mut_args(|argument| arrange(argument, extent));
    // Without long texts, which clap shows four lines an option.
    match extent {
        Extent::Brief => {
            command.long_about(None).after_help("All options: --help. A cause: explain C01")
        }
        Extent::Full => command.long_about(None).after_help(EXIT_STATUS),
        Extent::Manual => command,
    }
}

/// Puts an option into its group.
fn arrange(argument: Arg, extent: Extent) -> Arg {
    let id = argument.get_id().to_string();
    let is_brief = BRIEF.contains(&id.as_str()) || argument.is_positional();
    let mut argument = match group(&id) {
        Some(group) => argument.help_heading(group),
        None => argument,
    };
    if extent != Extent::Manual {
        argument = argument.long_help(None);
    }
    if extent == Extent::Brief && !is_brief { argument.hide(true) } else { argument }
}

fn group(id: &str) -> Option<&'static str> {
    GROUPS.iter().find(|(_, ids)| ids.contains(&id)).map(|(group, _)| *group)
}

/// Says what this build knows and can: the kernels, the formats, what is optional.
fn long_version() -> String {
    let profiles: Vec<_> = Profile::all().map(Profile::name).collect();
    let (oldest, count) = (profiles.first().copied().unwrap_or_default(), profiles.len());
    let features = features();
    format!(
        "{version}\nprofile data: version {data}, {count} kernels from {oldest} on; judged by Linux \
         {default} unless told otherwise\nfeatures: {features}\nlibpcap: {libpcap}",
        version = env!("CARGO_PKG_VERSION"),
        data = Profile::DATA_VERSION,
        default = Profile::DEFAULT.name(),
        features = if features.is_empty() { "none" } else { &features },
        libpcap = if has_libpcap() { "found" } else { "not found: no -i, --filter, --notrack" },
    )
}

/// Returns the optional parts that this build has.
fn features() -> String {
    let features = [
        ("gzip", cfg!(feature = "gzip")),
        ("zstd", cfg!(feature = "zstd")),
        ("lz4", cfg!(feature = "lz4")),
        ("xz", cfg!(feature = "xz")),
        ("bzip2", cfg!(feature = "bzip2")),
        ("screen", cfg!(feature = "screen")),
    ];
    let names: Vec<_> =
        features.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect();
    names.join(" ")
}

/// Writes the manual page, or that of a command; none when there is no such command.
pub(super) fn manual(of: Option<&str>) -> Option<String> {
    let mut command = command(Extent::Manual);
    command.build();
    let page = match of {
        None => command,
        Some(name) => {
            let found = command.find_subcommand(name).filter(|found| !found.is_hide_set())?;
            found.clone().name(format!("tcp-window-audit-{name}"))
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page.disable_help_subcommand(true)).render(&mut text).ok()?;
    let mut text = String::from_utf8(text).ok()?;
    text.push_str(if of.is_none() { EXAMPLES.trim_start() } else { "" });
    Some(text)
}

/// Writes the completions for a shell.
pub(super) fn completions(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(Extent::Full), "tcp-window-audit", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Lists what can be explained: the first line of each text.
pub(super) fn list_of_ids() -> String {
    let texts = known_ids().into_iter().filter_map(explain);
    texts.filter_map(|text| Some(text.lines().next()?.to_owned() + "\n")).collect()
}

/// Finds a first word that is no file, and does not look like one either.
pub(super) fn misspelt_command(files: &[PathBuf]) -> Option<&str> {
    let word = files.first()?.to_str()?;
    let is_plain = word.chars().all(|c| c.is_ascii_alphabetic());
    (is_plain && !Path::new(word).exists()).then_some(word)
}

/// Decides on colours as terminals and their users expect it: `NO_COLOR`, `CLICOLOR`,
/// `CLICOLOR_FORCE` and `TERM=dumb` count.
pub(super) fn colours(when: When) -> Colours {
    use anstream::{AutoStream, ColorChoice};
    let is_wanted = match when {
        When::Auto => AutoStream::choice(&std::io::stdout()) != ColorChoice::Never,
        When::Always => true,
        When::Never => false,
    };
    if is_wanted { Colours::Ansi } else { Colours::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_a_group() {
        for argument in command(Extent::Full).get_arguments() {
            let fine = argument.is_positional() || argument.get_help_heading().is_some();
            assert!(fine, "--{}: add it to GROUPS", argument.get_id());
        }
    }

    /// What is printed where `word` asks for help.
    fn help(extent: Extent, word: &str) -> String {
        let words = ["tcp-window-audit", word];
        command(extent).try_get_matches_from(words).unwrap_err().to_string()
    }

    #[test]
    fn brief_help_fits_a_screen_and_full_help_has_no_gaps() {
        let (brief, full) = (help(Extent::Brief, "-h"), help(Extent::Full, "--help"));
        assert!(brief.lines().count() <= 60, "{brief}");
        assert!(full.contains("--notrack") && !brief.contains("--notrack"), "{full}");
        assert!(full.lines().count() <= 130, "{full}");
        let gaps = full.split("What is read:").nth(1).unwrap().split("\n\n").count();
        assert!(gaps <= GROUPS.len() + 2, "{full}");
    }

    #[test]
    fn the_manual_is_of_the_program_or_of_one_command() {
        assert!(manual(None).unwrap().contains(".TH tcp-window-audit 1"));
        assert!(manual(Some("verify")).unwrap().contains(".TH tcp-window-audit-verify 1"));
        assert_eq!(manual(Some("read-counters")), None);
    }
}
