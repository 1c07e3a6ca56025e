//! The command line: clap's types in, a checked [`Config`] out. Nothing else knows clap.

mod help;
mod judge;
mod live;
mod memory;
mod parts;
mod privacy;
mod report;
mod split;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use tcp_window_audit::audit::{Method, Provenance};
use tcp_window_audit::conntrack::{Policy, Profile, SysctlError, Sysctls, what_if};
use tcp_window_audit::diagnose::{explain, known_ids};
use tcp_window_audit::kernel::host;
use tcp_window_audit::pipeline::Budget;
use tcp_window_audit::report::{Detail, Format, Look, json_schema};
use tcp_window_audit::tuple::Share;
use tcp_window_audit::wire::Tunnels;

use judge::{Judge, JudgeArgs};
pub(crate) use live::Live;
use live::LiveArgs;
use parts::PartArgs;
pub(crate) use parts::{MergeArgs, PartWanted};
pub(crate) use privacy::Privacy;
use privacy::PrivacyArgs;
pub(crate) use report::Output;
use report::ReportArgs;
pub(crate) use split::SplitArgs;

/// Audits packet captures as a strict Linux `nf_conntrack` would judge them.
///
/// Reports which TCP packets the tracker marks INVALID, by which rule and by how many bytes, and
/// what `nf_conntrack_tcp_be_liberal=1` would change.
///
/// Exit status: 0 nothing INVALID, 1 something INVALID, 2 the audit could not be done or is
/// incomplete.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Capture files, pcap or pcapng, as one time line; `-` is standard input
    #[arg(required_unless_present_any = ["interface", "list_interfaces"], value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    judge: JudgeArgs,

    #[command(flatten)]
    privacy: PrivacyArgs,

    /// Audit only the packets that a BPF filter lets pass; needs libpcap
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,

    /// Leave the packets that a BPF filter matches untracked, as a NOTRACK rule of the raw table
    /// does; repeatable; needs libpcap
    #[arg(long, value_name = "EXPR")]
    notrack: Vec<String>,

    /// Go on reading FILE while it grows, until Ctrl-C, which prints the report
    #[arg(long)]
    follow: bool,

    /// Open tunnels, and judge the innermost packet instead of the outermost
    #[arg(long)]
    inner: bool,

    #[command(flatten)]
    report: ReportArgs,

    /// Report one connection in full, by its id: the number of its first frame
    #[arg(long, value_name = "ID")]
    flow: Option<u64>,

    /// How full the connection table would be, and what would relieve it; without WHEN, always
    ///
    /// By default shown when the table would be more than half full; files are then read a second
    /// time.
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true)]
    #[arg(default_value_t = When::Auto, default_missing_value = "always")]
    table: When,

    /// Worker threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Memory for remembered connections, such as 512M or 8G: beyond, those that the tracker would
    /// forget soonest are forgotten early, and the report says so [default: 5G, live 1G]
    #[arg(long, value_name = "SIZE", value_parser = memory::budget)]
    memory: Option<Budget>,

    /// When to show progress on standard error; auto: on a terminal, for large inputs
    #[arg(long, value_enum, default_value_t = When::Auto)]
    progress: When,

    #[command(flatten)]
    part: PartArgs,

    #[command(flatten)]
    live: LiveArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Ask this machine's own kernel, and compare every verdict (root, Linux)
    ///
    /// Replays the captures through the running kernel's `nf_conntrack`, in a network namespace
    /// that vanishes with the program, and prints how many packets agree and each that does not.
    /// Exit status: 0 all agree, 1 some do not, 2 the kernel could not be asked.
    Verify {
        /// Capture files, pcap or pcapng
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,

        /// Setting for both, such as `nf_conntrack_tcp_be_liberal=1`; repeatable
        #[arg(long = "sysctl", value_name = "KEY=VALUE")]
        sysctls: Vec<String>,
    },
    /// Put the partial results of all shards together, as the report of a single run
    ///
    /// Parts are written with --shard I/N --partial FILE. What the audit was asked for stands in them;
    /// how it is reported is said here. Exit status: that of the audit, or 2 where the parts do not make
    /// one run.
    Merge(Box<MergeArgs>),
    /// Split captures into pieces by flow, one for each shard, without what packets carry
    ///
    /// A run with --shard I/N then reads only the pieces of shard I; its result is the same. Pieces are
    /// pcapng files that every tool reads. Exit status: 0 when they are written, whatever the inputs are
    /// like (merge says), or 2.
    Split(Box<SplitArgs>),
    /// Answers questions for the counters of this machine's tracker, for a live capture
    #[command(name = crate::live::READ_COUNTERS, hide = true)]
    ReadCounters,
    /// Explain a cause or a reason: mechanism, signature, look-alikes, remedy, references
    Explain {
        /// A cause, such as C01, or a reason, such as `ack_over`; without, all are listed
        id: Option<String>,
    },
    /// Print the JSON Schema of the JSON report
    Schema,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff
    Man {
        /// The command that the page is of; without, of the program
        command: Option<String>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

/// How far inputs are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    /// To their end.
    ToTheEnd,
    /// Beyond it, as the file grows.
    WhileItGrows,
}

/// When the connection table is assessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TableWanted {
    Never,
    /// When it would be more than half full, and the inputs can be read again.
    WhenHalfFull,
    Always,
}

/// When progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    Never,
    /// For inputs that take long.
    ForLargeInputs,
    Always,
}

/// What the user asked for, checked.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Audit(Box<Config>),
    /// Which interfaces there are.
    ListInterfaces,
    /// The helper of a live capture.
    ReadCounters,
    Verify(Box<Verification>),
    Merge(Box<MergeArgs>),
    Split(Box<SplitArgs>),
    /// A text that answers the question.
    Print(String),
}

/// A comparison with this machine's kernel.
#[derive(Clone, Debug)]
pub(crate) struct Verification {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) policy: Policy,
    pub(crate) sysctls: Sysctls,
    /// Release of the running kernel.
    pub(crate) release: String,
    pub(crate) notes: Vec<String>,
}

/// An audit.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) method: Method,
    /// Where it came from, and what else decides what a report says.
    pub(crate) provenance: Provenance,
    /// What reports may give away.
    pub(crate) privacy: Privacy,
    pub(crate) filter: Option<String>,
    pub(crate) input: Reading,
    /// The capture that is read instead of files.
    pub(crate) live: Option<Live>,
    pub(crate) tunnels: Tunnels,
    pub(crate) threads: usize,
    /// What remembered flows may take.
    pub(crate) memory: Budget,
    /// The flow to report in full.
    pub(crate) flow: Option<u64>,
    pub(crate) table: TableWanted,
    pub(crate) outputs: Vec<Output>,
    /// The folder for all formats.
    pub(crate) incident: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) look: Look,
    pub(crate) verdicts: Option<PathBuf>,
    /// The flows that are audited.
    pub(crate) share: Share,
    /// What is written instead of reports, by a run that is one of several.
    pub(crate) part: Option<PartWanted>,
    pub(crate) progress: Progress,
    /// Said on standard error before the audit.
    pub(crate) notes: Vec<String>,
}

impl Config {
    /// Returns whether a report shows packets and flows themselves.
    pub(crate) fn shows_exhibits(&self) -> bool {
        let mut formats = self.outputs.iter().map(|output| output.format).chain([self.format]);
        self.incident.is_some() || formats.any(Format::shows_exhibits)
    }

    /// Returns whether a report names its inputs by their hashes. The answer on a terminal does not:
    /// nobody waits for it there. Nor does a report of mapped addresses, nor that of a growing file.
    pub(crate) fn wants_digests(&self) -> bool {
        let stdout = self.format.is_document() || self.look.detail == Detail::Verbose;
        let is_wanted = stdout || !self.outputs.is_empty() || self.incident.is_some();
        is_wanted && !self.privacy.maps() && self.input == Reading::ToTheEnd
    }
}

/// Why the command line was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "--kernel {0}: neither a profile nor a version from 2.6.32 on; profiles are {names}",
        names = Profile::all().map(Profile::name).collect::<Vec<_>>().join(", ")
    )]
    UnknownKernel(String),
    #[error("--sysctl")]
    Sysctl(#[from] SysctlError),
    #[error(
        "-o {}: the name must end in {names}",
        .0.display(),
        names = Format::ALL.map(|format| format!(".{}", format.extension())).join(", ")
    )]
    OutputFormat(PathBuf),
    #[error("standard input can be read only once")]
    StdinTwice,
    #[error("explain {0}: not known; known are {ids}", ids = known_ids().join(", "))]
    UnknownId(String),
    #[error("{0}: there is no such file, and no such command; --help lists the commands")]
    NeitherFileNorCommand(String),
    #[error("man {0}: there is no such command; --help lists them")]
    UnknownCommand(String),
    #[error(transparent)]
    Host(#[from] host::Error),
    #[error(transparent)]
    Privacy(#[from] privacy::Error),
    #[error("--follow needs one file, and no standard input")]
    FollowOne,
    #[error("{0}: a part is no report; say it to merge")]
    ReportOfPart(&'static str),
    #[error("--verdicts: the parts have none; make them with --keep-verdicts")]
    NoVerdicts,
    #[error("the options that the parts were made with are not known")]
    OptionsOfPart,
}

/// Parses the command line; prints help or usage and ends the program where that is asked for.
pub(crate) fn parse() -> Result<Task, Error> {
    help::parse().unwrap_or_else(|error| error.exit()).check()
}

impl Args {
    /// Writes the options beside those of the judge that decide what a report says.
    fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        if let Some(filter) = &self.filter {
            options.extend(["--filter".to_owned(), filter.clone()]);
        }
        for rule in &self.notrack {
            options.extend(["--notrack".to_owned(), rule.clone()]);
        }
        options.extend(self.inner.then(|| "--inner".to_owned()));
        if let Some(flow) = self.flow {
            options.extend(["--flow".to_owned(), flow.to_string()]);
        }
        options.extend(self.privacy.options().map(str::to_owned));
        options
    }

    fn check(mut self) -> Result<Task, Error> {
        match self.command.take() {
            Some(Command::Verify { files, sysctls }) => {
                let mut notes = Vec::new();
                let judge = JudgeArgs { kernel: Some("host".to_owned()), sysctls };
                let Judge { policy, sysctls, .. } = judge.check(&mut notes)?;
                let release = host::release()?;
                Ok(Task::Verify(Box::new(Verification { files, policy, sysctls, release, notes })))
            }
            Some(Command::Merge(merge)) => Ok(Task::Merge(merge)),
            Some(Command::Split(split)) => Ok(Task::Split(split)),
            Some(Command::ReadCounters) => Ok(Task::ReadCounters),
            Some(Command::Explain { id: None }) => Ok(Task::Print(help::list_of_ids())),
            Some(Command::Explain { id: Some(id) }) => {
                explain(&id).map(Task::Print).ok_or(Error::UnknownId(id))
            }
            Some(Command::Schema) => Ok(Task::Print(json_schema().to_owned())),
            Some(Command::Completions { shell }) => Ok(Task::Print(help::completions(shell))),
            Some(Command::Man { command }) => match help::manual(command.as_deref()) {
                Some(page) => Ok(Task::Print(page)),
                None => Err(Error::UnknownCommand(command.unwrap_or_default())),
            },
            None if self.live.list_interfaces => Ok(Task::ListInterfaces),
            None => self.check_audit().map(Box::new).map(Task::Audit),
        }
    }

    fn check_audit(mut self) -> Result<Config, Error> {
        let mut notes = Vec::new();
        let options = self.options();
        let live = if self.live.is_wanted() {
            self.judge.prefer_host(&mut notes);
            // What would be files are the words of a filter, as for tcpdump.
            let filter = filter_of(&std::mem::take(&mut self.files), self.filter.take());
            self.live.check(filter, self.judge.is_host())
        } else {
            None
        };
        let Judge { policy, sysctls, mut provenance } = self.judge.check(&mut notes)?;
        provenance.options.extend(options);
        if let Some(word) = help::misspelt_command(&self.files) {
            return Err(Error::NeitherFileNorCommand(word.to_owned()));
        }
        if self.files.iter().filter(|file| *file == Path::new("-")).count() > 1 {
            return Err(Error::StdinTwice);
        }
        let input = if self.follow { Reading::WhileItGrows } else { Reading::ToTheEnd };
        if self.follow
            && live.is_none()
            && !matches!(&self.files[..], [file] if file != Path::new("-"))
        {
            return Err(Error::FollowOne);
        }
        let notrack = self.notrack;
        let method = Method { policies: what_if::panel(policy), sysctls, notrack };
        let progress = match self.progress {
            // It would be written over the screen; and of a capture the end is not known.
            When::Auto if live.is_some() => Progress::Never,
            _ if live.as_ref().is_some_and(|live| live.has_screen) => Progress::Never,
            When::Auto if std::io::stderr().is_terminal() => Progress::ForLargeInputs,
            When::Always => Progress::Always,
            _ => Progress::Never,
        };
        // A machine whose traffic is watched has other work.
        let usual = if live.is_some() { Budget::LIVE } else { Budget::DEFAULT };
        let memory = self.memory.unwrap_or(usual);
        let mut config = Config {
            filter: self.filter,
            input,
            live,
            tunnels: if self.inner { Tunnels::Opened } else { Tunnels::Closed },
            threads: self.threads.map_or_else(all_cores, usize::from),
            memory,
            flow: self.flow,
            table: match self.table {
                When::Auto => TableWanted::WhenHalfFull,
                When::Always => TableWanted::Always,
                When::Never => TableWanted::Never,
            },
            files: self.files,
            method,
            provenance,
            privacy: self.privacy.check()?,
            outputs: self.report.outputs()?,
            incident: self.report.incident.clone(),
            format: self.report.format,
            look: self.report.look(),
            verdicts: self.report.verdicts.clone(),
            share: Share::ALL,
            part: None,
            progress,
            notes,
        };
        config.part = self.part.check(&config, &self.report, self.table)?;
        config.share = config.part.as_ref().map_or(Share::ALL, |part| part.share);
        Ok(config)
    }
}

/// Joins the words of a filter, and that of `--filter`.
fn filter_of(words: &[PathBuf], filter: Option<String>) -> Option<String> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    match (words.join(" "), filter) {
        (words, filter) if words.is_empty() => filter,
        (words, None) => Some(words),
        (words, Some(filter)) => Some(format!("({words}) and ({filter})")),
    }
}

fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn config(args: &[&str]) -> Result<Config, Error> {
        let words = [&["tcp-window-audit"], args].concat();
        let args = Args::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        args.check_audit()
    }

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_kernel_is_found_by_release_and_an_unknown_one_lists_the_profiles() {
        let method = config(&["--kernel", "5.10.218", "a.pcap"]).unwrap().method;
        assert_eq!(method.policies[0].profile.name(), "5.10.166+");
        let error = config(&["--kernel", "banana", "a.pcap"]).unwrap_err().to_string();
        assert!(error.contains("6.18.44"), "{error}");
    }

    #[test]
    fn the_extension_chooses_the_format_and_an_unknown_one_is_refused() {
        let outputs = config(&["-o", "r.json", "-o", "r.txt", "a.pcap"]).unwrap().outputs;
        assert_eq!(outputs[0].format, Format::Json);
        assert_eq!(outputs[1].format, Format::Text);
        assert!(matches!(config(&["-o", "r.doc", "a.pcap"]), Err(Error::OutputFormat(_))));
    }

    #[test]
    fn an_unknown_id_lists_the_known_ones() {
        let args = Args::try_parse_from(["tcp-window-audit", "explain", "C99"]).unwrap();
        let error = args.check().unwrap_err().to_string();
        assert!(error.contains("C01, C02") && error.contains("ack_over"), "{error}");
    }

    #[test]
    fn standard_input_is_read_once() {
        assert!(matches!(config(&["-", "-"]), Err(Error::StdinTwice)));
    }
}
