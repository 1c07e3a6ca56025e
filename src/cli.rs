//! The command line: clap's types in, a checked [`Config`] out. Nothing else knows clap.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use tcp_window_audit::audit::Method;
use tcp_window_audit::conntrack::profile::Certainty;
use tcp_window_audit::conntrack::{Policy, Profile, SysctlError, Sysctls, what_if};
use tcp_window_audit::diagnose::{explain, known_ids};
use tcp_window_audit::kernel::host;
use tcp_window_audit::pipeline::Budget;
use tcp_window_audit::report::{Detail, Format};
use tcp_window_audit::wire::Tunnels;

/// Audits packet captures as a strict Linux `nf_conntrack` would judge them.
///
/// Reports which TCP packets the tracker marks INVALID, by which rule and by how many bytes, and
/// what `nf_conntrack_tcp_be_liberal=1` would change.
///
/// Exit status: 0 nothing INVALID, 1 something INVALID, 2 the audit could not be done or is
/// incomplete.
#[derive(Parser, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[command(version, max_term_width = 100, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Capture files, pcap or pcapng, as one time line; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    judge: JudgeArgs,

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

    /// Write a report, in the format that the extension tells (.txt or .json); repeatable
    #[arg(short, long = "output", value_name = "FILE")]
    outputs: Vec<PathBuf>,

    /// Format of standard output
    #[arg(long, value_enum, default_value_t = FormatName::Text)]
    format: FormatName,

    /// Write the verdict on every TCP packet, one JSON object a line; `-` is standard output
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,

    /// Report one connection in full, by its id: the number of its first frame
    #[arg(long, value_name = "ID")]
    flow: Option<u64>,

    /// Worker threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Memory for remembered connections, such as 512M or 8G: beyond, those that the tracker would
    /// forget soonest are forgotten early, and the report says so
    #[arg(long, value_name = "SIZE", default_value = "5G", value_parser = memory)]
    memory: Budget,

    /// Print the answer alone
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Print more connections and packets
    #[arg(short, long)]
    verbose: bool,

    /// When to show progress on standard error
    #[arg(long, value_enum, default_value_t = When::Auto)]
    progress: When,
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
    /// Explain a cause or a reason: mechanism, signature, look-alikes, remedy, references
    Explain {
        /// A cause, such as C01, or a reason, such as `ack_over`
        id: String,
    },
}

/// What judges.
#[derive(clap::Args, Debug)]
struct JudgeArgs {
    /// Kernel to judge by: a version as `uname -r` prints it, a profile's name, or `host`
    #[arg(long, value_name = "VERSION", default_value = Profile::DEFAULT.name())]
    kernel: String,

    /// Setting to judge by, such as `nf_conntrack_tcp_loose=0`, or `host`; repeatable
    #[arg(long = "sysctl", value_name = "KEY=VALUE")]
    sysctls: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum FormatName {
    Text,
    Json,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Text => Self::Text,
            FormatName::Json => Self::Json,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum When {
    /// When standard error is a terminal and the input large
    Auto,
    Always,
    Never,
}

/// A file to write a report to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Output {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
}

/// How far inputs are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    /// To their end.
    ToTheEnd,
    /// Beyond it, as the file grows.
    WhileItGrows,
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
    Audit(Config),
    Verify(Verification),
    /// What to say about an id.
    Explain(String),
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
    pub(crate) filter: Option<String>,
    pub(crate) input: Reading,
    pub(crate) tunnels: Tunnels,
    pub(crate) threads: usize,
    /// What remembered flows may take.
    pub(crate) memory: Budget,
    /// The flow to report in full.
    pub(crate) flow: Option<u64>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) format: Format,
    pub(crate) detail: Detail,
    pub(crate) verdicts: Option<PathBuf>,
    pub(crate) progress: Progress,
    /// Said on standard error before the audit.
    pub(crate) notes: Vec<String>,
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
    #[error("-o {}: the name must end in .txt or .json", .0.display())]
    OutputFormat(PathBuf),
    #[error("standard input can be read only once")]
    StdinTwice,
    #[error("explain {0}: not known; known are {ids}", ids = known_ids().join(", "))]
    UnknownId(String),
    #[error(transparent)]
    Host(#[from] host::Error),
    #[error("--follow needs one file, and no standard input")]
    FollowOne,
}

/// Parses the command line; prints help or usage and ends the program where that is asked for.
pub(crate) fn parse() -> Result<Task, Error> {
    Args::parse().check()
}

impl JudgeArgs {
    /// Finds the kernel and the settings, reading this machine's where `host` is asked for.
    fn check(&self, notes: &mut Vec<String>) -> Result<(Policy, Sysctls), Error> {
        let kernel = self.kernel(notes)?;
        let mut sysctls = Sysctls::of(kernel);
        for assignment in &self.sysctls {
            if assignment != "host" {
                sysctls.apply(assignment)?;
                continue;
            }
            for (key, value) in host::sysctls()? {
                sysctls.set(key, &value)?;
            }
        }
        Ok((Policy::new(kernel, &sysctls), sysctls))
    }

    /// Finds the kernel, and notes how far the mapping can be trusted.
    fn kernel(&self, notes: &mut Vec<String>) -> Result<Profile, Error> {
        let is_host = self.kernel == "host";
        let release = if is_host { host::release()? } else { self.kernel.clone() };
        let find = |release: &String| {
            Profile::for_release(release).ok_or_else(|| Error::UnknownKernel(release.clone()))
        };
        let mut kernel = find(&release)?;
        if is_host
            && kernel.certainty == Certainty::PatchLevelHidden
            && let Some(version) = host::full_version()
        {
            kernel = find(&version)?;
        }
        let name = kernel.profile.name();
        match kernel.certainty {
            Certainty::Compared => {}
            Certainty::Nearest => notes.push(format!(
                "Linux {release} was not compared with the model; judging by the nearest that \
                 was, {name}"
            )),
            Certainty::PatchLevelHidden => notes.push(format!(
                "Linux {release} does not tell its patch level; judging by the latest of the \
                 series, {name}. \"cat /proc/version\" (Debian) or \"cat \
                 /proc/version_signature\" (Ubuntu) tells it: --kernel 6.1.76, for example"
            )),
        }
        Ok(kernel.profile)
    }
}

impl Args {
    fn check(mut self) -> Result<Task, Error> {
        match self.command.take() {
            Some(Command::Verify { files, sysctls }) => {
                let mut notes = Vec::new();
                let judge = JudgeArgs { kernel: "host".to_owned(), sysctls };
                let (policy, sysctls) = judge.check(&mut notes)?;
                let release = host::release()?;
                Ok(Task::Verify(Verification { files, policy, sysctls, release, notes }))
            }
            Some(Command::Explain { id }) => {
                explain(&id).map(Task::Explain).ok_or(Error::UnknownId(id))
            }
            None => self.check_audit().map(Task::Audit),
        }
    }

    fn check_audit(self) -> Result<Config, Error> {
        let mut notes = Vec::new();
        let (policy, sysctls) = self.judge.check(&mut notes)?;
        if self.files.iter().filter(|file| *file == Path::new("-")).count() > 1 {
            return Err(Error::StdinTwice);
        }
        let input = if self.follow { Reading::WhileItGrows } else { Reading::ToTheEnd };
        if self.follow && !matches!(&self.files[..], [file] if file != Path::new("-")) {
            return Err(Error::FollowOne);
        }
        let notrack = self.notrack;
        let method = Method { policies: what_if::panel(policy), sysctls, notrack };
        let outputs = self.outputs.iter().map(|path| output(path)).collect::<Result<_, _>>()?;
        let detail = match (self.quiet, self.verbose) {
            (true, _) => Detail::Quiet,
            (_, true) => Detail::Verbose,
            _ => Detail::Normal,
        };
        let progress = match self.progress {
            When::Auto if std::io::stderr().is_terminal() => Progress::ForLargeInputs,
            When::Always => Progress::Always,
            _ => Progress::Never,
        };
        Ok(Config {
            filter: self.filter,
            input,
            tunnels: if self.inner { Tunnels::Opened } else { Tunnels::Closed },
            threads: self.threads.map_or_else(all_cores, usize::from),
            memory: self.memory,
            flow: self.flow,
            files: self.files,
            method,
            outputs,
            format: self.format.into(),
            detail,
            verdicts: self.verdicts,
            progress,
            notes,
        })
    }
}

/// Chooses the format of an output by its extension.
fn output(path: &Path) -> Result<Output, Error> {
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("txt") => Format::Text,
        Some("json") => Format::Json,
        _ => return Err(Error::OutputFormat(path.to_owned())),
    };
    Ok(Output { path: path.to_owned(), format })
}

/// Reads a size: bytes, or kibi-, mebi-, gibi- or tebibytes with K, M, G or T.
fn memory(text: &str) -> Result<Budget, String> {
    let unit = |suffix| match suffix {
        'K' | 'k' => Some(10),
        'M' | 'm' => Some(20),
        'G' | 'g' => Some(30),
        'T' | 't' => Some(40),
        _ => None,
    };
    let shift = text.chars().last().and_then(unit);
    let digits = if shift.is_some() { text.get(..text.len() - 1) } else { Some(text) };
    let number: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    let bytes = number.and_then(|number| number.checked_mul(1 << shift.unwrap_or(0)));
    match bytes {
        Some(bytes) if bytes >= Budget::LEAST_BYTES => Ok(Budget::of(bytes)),
        Some(_) => Err(format!("at least {}M are needed", Budget::LEAST_BYTES >> 20)),
        None => Err("a size is a number with K, M, G or T behind it, such as 512M".to_owned()),
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
        assert!(error.contains("C01, C03") && error.contains("ack_over"), "{error}");
    }

    #[test]
    fn a_size_has_a_unit_and_is_not_too_small() {
        let bytes = |text: &str| config(&["--memory", text, "a.pcap"]).unwrap().memory.bytes();
        assert_eq!(bytes("512M"), 512 << 20);
        assert_eq!(bytes("8g"), 8 << 30);
        assert_eq!(bytes("100000000"), 100_000_000);
        assert_eq!(config(&["a.pcap"]).unwrap().memory, Budget::DEFAULT);
        for text in ["1K", "63M", "", "G", "-1", "1.5G", "99999999T", "5é", "5X"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn standard_input_is_read_once() {
        assert!(matches!(config(&["-", "-"]), Err(Error::StdinTwice)));
    }
}
