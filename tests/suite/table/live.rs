//! A mix of protocols through the running kernel's own connection table, with lowered timeouts: what
//! it holds each second, and how many entries it made, beside what the program says of the same
//! packets.
//!
//! The packets are sent into a network namespace of their own, at the times that the capture then
//! has, and forwarded there. No packet passes and no entry expires within 200 ms of a full second,
//! when the kernel is asked, so that the entries alive must be equal exactly.
//! `nf_conntrack_count` also holds expired entries that the collector has not met: it must lie
//! between the entries alive and all that were ever made, which is its tolerance in a run shorter
//! than the 60 s of the collector.
#![expect(unsafe_code, reason = "netlink sockets have no face in the standard library")]
#![expect(clippy::disallowed_methods, reason = "the kernel's timeouts run by its own clock")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::traffic::{Connection, End, MILLIS, Timed, echo, in_order, pcap, tcp, udp};
use crate::emulated::host;
use crate::program::{Scratch, run, text};

/// The timeouts that kernel and program use, in seconds.
const TIMEOUTS: [(&str, u32); 14] = [
    ("nf_conntrack_udp_timeout", 2),
    ("nf_conntrack_udp_timeout_stream", 3),
    ("nf_conntrack_icmp_timeout", 1),
    ("nf_conntrack_generic_timeout", 1),
    ("nf_conntrack_tcp_timeout_syn_sent", 2),
    ("nf_conntrack_tcp_timeout_syn_recv", 1),
    ("nf_conntrack_tcp_timeout_established", 5),
    ("nf_conntrack_tcp_timeout_fin_wait", 2),
    ("nf_conntrack_tcp_timeout_close_wait", 1),
    ("nf_conntrack_tcp_timeout_last_ack", 1),
    ("nf_conntrack_tcp_timeout_time_wait", 2),
    ("nf_conntrack_tcp_timeout_close", 1),
    ("nf_conntrack_tcp_timeout_unacknowledged", 3),
    ("nf_conntrack_tcp_timeout_max_retrans", 3),
];

/// What the kernel held at a full second.
#[derive(Debug)]
struct Reading {
    /// Seconds since 1970.
    second: u64,
    /// `nf_conntrack_count`, read before the entries, since listing them collects what is expired.
    counter: u64,
    /// Entries alive: TCP, UDP, other.
    alive: [u64; 3],
}

/// What became of the packets in the kernel.
struct Told {
    /// The packets with the times at which they were sent, in nanoseconds since 1970.
    sent: Vec<Timed>,
    readings: Vec<Reading>,
    /// Entries made, by the kernel's own events.
    made: u64,
}

/// A small mix of everything, within the middle of the seconds.
fn mix() -> Vec<Timed> {
    let mut packets = Vec::new();
    for n in 0..150_u16 {
        // 250 ms to 450 ms after a full second, and later packets at whole numbers of seconds after.
        let at = (u64::from(n % 3) * 1000 + 250 + u64::from(n) * 4 / 3) * MILLIS;
        let client = |port| ([10, 1, 0, (n % 200).to_le_bytes()[0]], port + n);
        let server = |port| ([10, 2, 0, 1], port);
        let (asker, dns): (End, End) = (client(20_000), server(53));
        packets.push((at, udp(asker, dns, 20)));
        if n % 4 > 0 {
            packets.push((at + 5 * MILLIS, udp(dns, asker, 40)));
        }
        if n % 4 == 2 {
            // More than 2 s after the first: a stream, with its own timeout.
            packets.push((at + 1005 * MILLIS, udp(asker, dns, 20)));
            packets.push((at + 2030 * MILLIS, udp(dns, asker, 20)));
        }
        packets.push((at, echo(client(0).0, server(0).0, n, false)));
        packets.push((at + 3 * MILLIS, echo(server(0).0, client(0).0, n, true)));
        let mut connection = Connection::new(client(30_000), server(443), at);
        match n % 8 {
            0 => connection.send(0, "S", 0),
            1 => connection.send(0, "S", 0).send(1, "RA", 0),
            2 => connection.send(0, "S", 0).send(1, "SA", 0),
            3 => connection.handshake().exchange(),
            4 => connection.handshake().exchange().close(),
            5 => connection.handshake().send(1, "RA", 0),
            6 => connection.handshake().wait(880).exchange().send(0, "FA", 0),
            _ => connection.handshake().close().wait(820).send(0, "S", 0),
        };
        packets.append(&mut connection.packets);
        // A connection that began before.
        if n % 5 == 0 {
            let (client, server) = (client(50_000), server(80));
            packets.push((at, tcp(client, server, "A", (1, 1), 30)));
            packets.push((at + 10 * MILLIS, tcp(server, client, "A", (1, 31), 0)));
        }
    }
    in_order(packets)
}

#[test]
fn the_kernel_holds_the_entries_that_the_program_counts() {
    let Some(told) = thread::spawn(play).join().unwrap() else { return };
    let scratch = Scratch::new("table_live");
    // A packet long after the last keeps the program counting.
    let (last, packet) = told.sent.last().unwrap().clone();
    let mut packets = told.sent.clone();
    packets.push((last + 8000 * MILLIS, packet));
    scratch.write("mix.pcap", &pcap(0, &packets));
    let mut arguments = vec!["--table", "--kernel", "host", "--format", "json"];
    let sysctls: Vec<_> =
        TIMEOUTS.iter().map(|(key, seconds)| format!("{key}={seconds}")).collect();
    arguments.extend(sysctls.iter().flat_map(|sysctl| ["--sysctl", sysctl]));
    arguments.push("mix.pcap");
    let output = run(&scratch.0, &arguments);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let table = &report["table"];
    let number = |value: &Value| value.as_u64().unwrap();
    // The packet added at the end makes one more.
    assert_eq!(number(&table["entries_made"]), told.made + 1, "entries made");
    let over_time = table["over_time"].as_array().unwrap();
    let mut seen = 0;
    for reading in &told.readings {
        let at = tcp_window_audit::time::Timestamp::from_parts(reading.second.cast_signed(), 0);
        let Some(point) = over_time.iter().find(|point| point["at"] == at.to_string()) else {
            continue;
        };
        let counted = ["tcp", "udp", "other"].map(|name| number(&point[name]));
        println!(
            "{at}: kernel {:?} (counter {}), program {counted:?}",
            reading.alive, reading.counter
        );
        assert_eq!(counted, reading.alive, "at {at}");
        let alive: u64 = reading.alive.iter().sum();
        let made: u64 = over_time
            .iter()
            .take_while(|point| point["at"].as_str() <= Some(&at.to_string()))
            .map(|point| number(&point["made"]))
            .sum();
        assert!((alive..=made).contains(&reading.counter), "{reading:?}, {made} made");
        seen += usize::from(alive > 0);
    }
    assert!(seen >= 5, "{:?} in {}", told.readings, text(&output.stdout));
}

/// Sends the packets into a namespace of its own, and asks its kernel each second; none, with a word
/// why, when that cannot be done here.
fn play() -> Option<Told> {
    let tun = match host::enter("10.1.255.254/8") {
        Ok(tun) => tun,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    if !prepare() {
        println!("skipped: no nft, or no connection tracking");
        return None;
    }
    let events = Events::listen()?;
    let begin = now_ns().next_multiple_of(1_000_000_000);
    let (mut sent, mut readings) = (Vec::new(), Vec::new());
    let mut next_second = begin / 1_000_000_000 + 1;
    for (at, packet) in mix() {
        read_until(begin + at, &mut next_second, &mut readings);
        wait_until(begin + at);
        let time = now_ns();
        (&tun).write_all(&packet).unwrap();
        sent.push((time, packet));
    }
    let end = begin + 8_500_000_000;
    read_until(end, &mut next_second, &mut readings);
    Some(Told { sent, readings, made: events.count() })
}

/// Has the namespace forward and track, with the timeouts.
fn prepare() -> bool {
    let proc = |name: &str, value: &str| {
        let file = File::options().write(true).open(format!("/proc/sys/net/{name}"));
        file.and_then(|mut file| file.write_all(value.as_bytes())).is_ok()
    };
    let rules = "table inet track {
        chain forward { type filter hook forward priority filter; ct state new,established,related,invalid accept; }
    }";
    let nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn();
    let Ok(mut nft) = nft else { return false };
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    let timeouts =
        |(key, seconds): &(&str, u32)| proc(&format!("netfilter/{key}"), &seconds.to_string());
    nft.wait().unwrap().success()
        && proc("ipv4/ip_forward", "1")
        && proc("ipv4/conf/all/rp_filter", "0")
        && proc("ipv4/conf/tun0/rp_filter", "0")
        && proc("ipv4/conf/all/send_redirects", "0")
        && proc("ipv4/conf/tun0/send_redirects", "0")
        && TIMEOUTS.iter().all(timeouts)
}

fn now_ns() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

fn wait_until(time_ns: u64) {
    thread::sleep(Duration::from_nanos(time_ns.saturating_sub(now_ns())));
}

/// Asks the kernel at each full second before a time.
fn read_until(time_ns: u64, next_second: &mut u64, readings: &mut Vec<Reading>) {
    while *next_second * 1_000_000_000 < time_ns {
        wait_until(*next_second * 1_000_000_000);
        let counter =
            std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
        let entries = std::fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap();
        let mut alive = [0; 3];
        for line in entries.lines() {
            let group = match line.split_whitespace().nth(2) {
                Some("tcp") => 0,
                Some("udp") => 1,
                _ => 2,
            };
            alive[group] += 1;
        }
        let counter = counter.trim().parse().unwrap();
        readings.push(Reading { second: *next_second, counter, alive });
        *next_second += 1;
    }
}

/// The kernel's messages about entries that were made.
struct Events(OwnedFd);

impl Events {
    /// Listens in the calling thread's namespace.
    fn listen() -> Option<Self> {
        const NEW_ENTRIES: u32 = 1;
        // SAFETY: takes no pointers.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                libc::NETLINK_NETFILTER,
            )
        };
        if fd < 0 {
            println!("skipped: no netlink socket");
            return None;
        }
        // SAFETY: the descriptor was just opened and belongs to nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let size: libc::c_int = 8 << 20;
        // SAFETY: all-zero is a valid address; pointer and length of each call are of one value.
        let bound = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                (&raw const size).cast(),
                size_of_val(&size) as libc::socklen_t,
            );
            let mut address: libc::sockaddr_nl = std::mem::zeroed();
            address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
            address.nl_groups = NEW_ENTRIES;
            let len = size_of_val(&address) as libc::socklen_t;
            libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len)
        };
        assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
        Some(Self(socket))
    }

    /// Returns how many entries were made since.
    fn count(&self) -> u64 {
        let mut count = 0;
        let mut buffer = vec![0_u8; 1 << 16];
        loop {
            // SAFETY: the buffer is valid for writes of its length.
            let len = unsafe {
                libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0)
            };
            let Ok(len) = usize::try_from(len) else {
                let error = std::io::Error::last_os_error();
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "events were lost");
                return count;
            };
            let mut rest = &buffer[..len];
            while rest.len() >= 16 {
                let message_len = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
                // NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW
                count += u64::from(rest[4..6] == [0x00, 0x01]);
                rest = rest.get(message_len.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}
