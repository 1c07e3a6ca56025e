//! The throw-away network namespace: devices, rules, sysctls, and the socket that asks.
//!
//! Everything is done by a thread that then ends; what it opened keeps the namespace alive.
//!
//! Does not: feed packets or read verdicts.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use super::expiry::Codes;
use super::netlink::{self, Messages};
use super::sys::{self, Inbox, Netlink};
use super::tap::Tap;
use super::{Error, Feature, OracleSettings, Timeout, nflog, ruleset};

/// The open ends of a namespace that is ready.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Where packets go in.
    pub(super) tap: Tap,
    /// Where questions go and all answers come from.
    pub(super) netlink: Netlink,
    /// What stands for each timeout.
    pub(super) codes: Codes,
    /// The nominal `nf_conntrack_tcp_timeout_unacknowledged`, in seconds.
    pub(super) unacknowledged_s: u32,
    /// The machine's `nf_conntrack_max`; 0 when there is no limit.
    pub(super) limit: u32,
}

impl Namespace {
    /// Makes a namespace without moving the calling thread into it.
    pub(super) fn new(settings: &OracleSettings) -> Result<Self, Error> {
        thread::scope(|scope| {
            scope.spawn(|| build(settings)).join().unwrap_or_else(|_| {
                let died = io::Error::other("the thread that enters the namespace died");
                Err(Error::NotPermitted(died))
            })
        })
    }
}

fn build(settings: &OracleSettings) -> Result<Namespace, Error> {
    sys::unshare_network().map_err(Error::NotPermitted)?;
    for family in ["all", "default"] {
        set_if_there(&format!("net/ipv6/conf/{family}/disable_ipv6"), "1")?;
    }
    let tap = Tap::new()?;
    for name in ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"] {
        set(name, "1").map_err(|error| Error::Missing(Feature::BridgeNetfilter, error))?;
    }
    let netlink = Netlink::open().map_err(|error| Error::Missing(Feature::NfTables, error))?;
    let mut messages = Messages::default();
    ruleset::write(&mut messages);
    acknowledged(&netlink, &messages, ruleset::MESSAGES)
        .map_err(|error| Error::Missing(Feature::NfTables, error))?;
    for group in [nflog::TEXTS, nflog::VERDICTS] {
        messages.clear();
        nflog::listen(&mut messages, group);
        acknowledged(&netlink, &messages, 2)
            .map_err(|error| Error::Missing(Feature::PacketLog, error))?;
    }
    for family in ["2", "10"] {
        set(&format!("net/netfilter/nf_log/{family}"), "nfnetlink_log")
            .map_err(|error| Error::Missing(Feature::PacketLog, error))?;
    }
    apply(settings)?;
    let timeouts = nominal_timeouts(&settings.timeouts)?;
    let codes = Codes::new(timeouts.iter().map(|timeout| timeout.seconds));
    for Timeout { sysctl, seconds } in &timeouts {
        set_named(&format!("{NETFILTER}{sysctl}"), &codes.encode(*seconds).to_string())?;
    }
    let unacknowledged = timeouts.iter().find(|timeout| timeout.sysctl == UNACKNOWLEDGED);
    let unacknowledged_s = unacknowledged.map_or(300, |timeout| timeout.seconds);
    let limit = number(&format!("{NETFILTER}nf_conntrack_max"))?;
    Ok(Namespace { tap, netlink, codes, unacknowledged_s, limit })
}

const NETFILTER: &str = "net/netfilter/";
const UNACKNOWLEDGED: &str = "nf_conntrack_tcp_timeout_unacknowledged";
/// Seconds for which fragments wait for the rest: longer than any run.
const REASSEMBLY_S: &str = "1000000";

/// Sends messages and reads so many acknowledgements; the first refusal is an error.
fn acknowledged(netlink: &Netlink, messages: &Messages, count: usize) -> io::Result<()> {
    netlink.send(messages.as_bytes())?;
    let mut inbox = Inbox::default();
    let mut seen = 0;
    loop {
        let more = inbox.receive(netlink)?;
        for message in inbox.datagrams().flat_map(netlink::messages) {
            match message.error_number() {
                Some(0) => seen += 1,
                Some(number) => return Err(io::Error::from_raw_os_error(number)),
                None => {}
            }
        }
        if seen >= count {
            return Ok(());
        }
        if !more {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Sets the sysctls that change verdicts, and has every reason logged.
fn apply(settings: &OracleSettings) -> Result<(), Error> {
    let tcp =
        |name: &str, value: &str| set_named(&format!("{NETFILTER}nf_conntrack_{name}"), value);
    set(&format!("{NETFILTER}nf_conntrack_log_invalid"), "255")
        .map_err(|error| Error::Missing(Feature::Conntrack, error))?;
    tcp("checksum", flag(settings.checksum))?;
    tcp("tcp_be_liberal", flag(settings.be_liberal))?;
    tcp("tcp_loose", flag(settings.loose))?;
    tcp("tcp_max_retrans", &settings.max_retrans.to_string())?;
    let ignore = format!("{NETFILTER}nf_conntrack_tcp_ignore_invalid_rst");
    if settings.ignore_invalid_rst {
        set_named(&ignore, "1")?;
    } else {
        set_if_there(&ignore, "0")?;
    }
    set_if_there("net/ipv4/ipfrag_time", REASSEMBLY_S)?;
    set_if_there(&format!("{NETFILTER}nf_conntrack_frag6_timeout"), REASSEMBLY_S)
}

/// Reads the kernel's timeouts, which a new namespace has at their defaults, and puts those of the
/// settings in their places.
fn nominal_timeouts(wanted: &[Timeout]) -> Result<Vec<Timeout>, Error> {
    let folder = format!("/proc/sys/{NETFILTER}");
    let failed = |source| Error::Sysctl { name: NETFILTER.to_owned(), source };
    let mut timeouts = Vec::new();
    for file in fs::read_dir(folder).map_err(failed)? {
        let sysctl = file.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if sysctl.starts_with("nf_conntrack_") && is_timeout(&sysctl) {
            let seconds = number(&format!("{NETFILTER}{sysctl}"))?;
            timeouts.push(Timeout { sysctl, seconds });
        }
    }
    for Timeout { sysctl, seconds } in wanted {
        match timeouts.iter_mut().find(|timeout| timeout.sysctl == *sysctl) {
            Some(timeout) => timeout.seconds = *seconds,
            None => return Err(Error::UnknownTimeout { sysctl: sysctl.clone() }),
        }
    }
    Ok(timeouts)
}

/// Tells the timeouts of entries from those of fragments.
fn is_timeout(sysctl: &str) -> bool {
    sysctl.contains("_timeout") && !sysctl.contains("frag6")
}

fn flag(is_on: bool) -> &'static str {
    if is_on { "1" } else { "0" }
}

fn number(name: &str) -> Result<u32, Error> {
    let read = fs::read_to_string(Path::new("/proc/sys").join(name)).and_then(|text| {
        text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    read.map_err(|source| Error::Sysctl { name: name.to_owned(), source })
}

fn set_named(name: &str, value: &str) -> Result<(), Error> {
    set(name, value).map_err(|source| Error::Sysctl { name: name.to_owned(), source })
}

fn set_if_there(name: &str, value: &str) -> Result<(), Error> {
    match set(name, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| Error::Sysctl { name: name.to_owned(), source }),
    }
}

/// Sets a sysctl of the calling thread's namespace; never makes a file.
fn set(name: &str, value: &str) -> io::Result<()> {
    use std::io::Write as _;
    let path = Path::new("/proc/sys").join(name);
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}
