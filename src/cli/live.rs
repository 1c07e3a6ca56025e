//! The options of a live capture.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::live::MetricsTarget;
use tcp_window_audit::source::keep::Keeping;
use tcp_window_audit::source::live::{DEFAULT_BUFFER_BYTES, DEFAULT_SNAPLEN, Options};

/// Live capture, with tcpdump's options.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Live capture")]
#[command(group(clap::ArgGroup::new("rotation").args(["rotate_size", "rotate_seconds"]).multiple(true)))]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct LiveArgs {
    /// Audit what passes an interface, or `any`, until Ctrl-C; the arguments are a BPF filter
    #[arg(short, long, value_name = "IFACE")]
    interface: Option<String>,

    /// List the interfaces, and exit
    #[arg(short = 'D', long, exclusive = true)]
    pub(super) list_interfaces: bool,

    /// End after so many packets
    #[arg(short, long, value_name = "COUNT", requires = "interface")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after so many seconds
    #[arg(long, value_name = "SECONDS", requires = "interface")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    duration: Option<u64>,

    /// Bytes captured of each packet; the default holds all headers and options
    #[arg(short, long, value_name = "BYTES", requires = "interface")]
    #[arg(default_value_t = DEFAULT_SNAPLEN, value_parser = clap::value_parser!(u32).range(64..=262_144))]
    snapshot_length: u32,

    /// Do not put the interface into promiscuous mode
    #[arg(short = 'p', long, requires = "interface")]
    no_promiscuous_mode: bool,

    /// The kernel's buffer for the capture
    #[arg(short = 'B', long, value_name = "KIB", requires = "interface")]
    #[arg(default_value_t = DEFAULT_BUFFER_BYTES >> 10, value_parser = clap::value_parser!(u32).range(64..=2_000_000))]
    buffer_size: u32,

    /// Take each packet at once, at the price of a wake-up for each
    #[arg(long, requires = "interface")]
    immediate_mode: bool,

    /// Capture with so many threads, among which the kernel divides the flows
    #[arg(long, value_name = "N", requires = "interface", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    fanout: u16,

    /// Keep the packets too
    #[arg(short, long, value_name = "FILE", requires = "interface", conflicts_with_all = ["anonymize", "anonymize_key"])]
    write: Option<PathBuf>,

    /// Begin the next file of -w after so many million bytes
    #[arg(short = 'C', long, value_name = "MB", requires = "write")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    rotate_size: Option<u64>,

    /// Begin the next file of -w after so many seconds
    #[arg(short = 'G', long, value_name = "SECONDS", requires = "write")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    rotate_seconds: Option<u64>,

    /// Keep only the newest so many files of -w
    #[arg(short = 'W', long, value_name = "FILES", requires_all = ["write", "rotation"])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    rotate_files: Option<u16>,

    /// Do not draw the live screen, although standard output is a terminal
    #[arg(long, requires = "interface")]
    no_screen: bool,

    /// Go on as this user once the capture is open [default: who called sudo, or nobody]
    #[arg(short = 'Z', long, value_name = "NAME", requires = "interface")]
    user: Option<String>,

    /// Stay root, and outside of the sandbox: for --fanout on interfaces that are made anew
    #[arg(long, requires = "interface", conflicts_with = "user")]
    keep_privileges: bool,

    /// Serve OpenMetrics for Prometheus at ADDRESS:PORT, or at a port of the loopback interface;
    /// or keep them in a file for the textfile collector
    #[arg(long, value_name = "ADDR|FILE", requires = "interface")]
    metrics: Option<String>,

    /// Append a line of JSON at once for each INVALID packet; `-` is standard output
    #[arg(long, value_name = "FILE", requires = "interface", conflicts_with_all = ["anonymize", "anonymize_key"])]
    events: Option<PathBuf>,

    /// Write the reports of -o anew every so many seconds
    #[arg(long, value_name = "SECONDS", requires = "interface")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    interval: Option<u64>,
}

/// A live capture that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) options: Options,
    pub(crate) fanout: u16,
    pub(crate) keeping: Option<Keeping>,
    pub(crate) interval: Option<Duration>,
    /// Whether the terminal shows how it goes.
    pub(crate) has_screen: bool,
    /// Where INVALID packets are told at once.
    pub(crate) events: Option<PathBuf>,
    pub(crate) metrics: Option<MetricsTarget>,
    /// Who to go on as.
    pub(crate) user: Option<String>,
    /// Whether nothing is given up once the capture is open.
    pub(crate) keeps_privileges: bool,
    /// Whether this machine's own tracker is asked, because it is what judges.
    pub(crate) asks_host: bool,
}

impl Live {
    /// Returns the file that metrics are kept in, where they are.
    pub(crate) fn metrics_file(&self) -> Option<&Path> {
        self.metrics.as_ref().and_then(MetricsTarget::file)
    }
}

impl LiveArgs {
    /// Returns whether an interface was named, so that the arguments are a filter.
    pub(super) const fn is_wanted(&self) -> bool {
        self.interface.is_some()
    }

    /// Returns what was asked for, if anything was; `filter` is that of the arguments,
    /// `asks_host` whether this machine is to judge.
    pub(super) fn check(self, filter: Option<String>, asks_host: bool) -> Option<Live> {
        let most_files = self.rotate_files.map(usize::from);
        let keeping = self.write.map(|path| Keeping {
            path,
            most_bytes: self.rotate_size.map(|size| size.saturating_mul(1_000_000)),
            most_time: self.rotate_seconds.map(Duration::from_secs),
            most_files,
        });
        let options = Options {
            interface: self.interface?,
            snaplen: self.snapshot_length,
            is_promiscuous: !self.no_promiscuous_mode,
            buffer_bytes: self.buffer_size.saturating_mul(1024),
            is_immediate: self.immediate_mode,
            filter,
            count: self.count,
            duration: self.duration.map(Duration::from_secs),
        };
        let interval = self.interval.map(Duration::from_secs);
        Some(Live {
            options,
            fanout: self.fanout,
            keeping,
            interval,
            has_screen: !self.no_screen
                && self.events.as_deref() != Some(Path::new("-"))
                && std::io::stdout().is_terminal(),
            events: self.events,
            metrics: self.metrics.as_deref().map(MetricsTarget::parse),
            user: self.user,
            keeps_privileges: self.keep_privileges,
            asks_host,
        })
    }
}
