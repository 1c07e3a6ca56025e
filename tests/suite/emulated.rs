//! Transfers between two kernels over a path that loses, reorders and copies packets: the sender's
//! own TCP counters are the truth about what was sent again, and why.
//!
//! Needs root; says so and is skipped otherwise.
//!
//! ```text
//! UPDATE_EXPECT=1 cargo test --test suite -- --ignored emulated     writes testdata/flow/emulated.md
//! ```
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "the transfers run in real time, as the kernels do")]

pub(crate) mod host;
mod path;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tcp_window_audit::flow::{Kind, SideSummary};
use tcp_window_audit::frame::LinkType;

use crate::generate::file::pcapng;
use crate::scenario::testdata;
use crate::truth::audit;
use path::Conditions;

/// What the sender's kernel counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Kernel {
    retransmitted: u64,
    fast: u64,
    slow_start: u64,
    timeouts: u64,
    tail_probes: u64,
    duplicates_reported: u64,
}

impl Kernel {
    fn read() -> Self {
        Self {
            retransmitted: host::counter("TcpRetransSegs"),
            fast: host::counter("TcpExtTCPFastRetrans"),
            slow_start: host::counter("TcpExtTCPSlowStartRetrans"),
            timeouts: host::counter("TcpExtTCPTimeouts"),
            tail_probes: host::counter("TcpExtTCPLossProbes"),
            duplicates_reported: host::counter("TcpExtTCPDSACKRecv")
                + host::counter("TcpExtTCPDSACKOfoRecv"),
        }
    }
}

/// What the analysis said of the same transfer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Ours {
    packets: u64,
    retransmitted: u64,
    fast: u64,
    slow_start: u64,
    timeouts: u64,
    tail_probes: u64,
    spurious: u64,
    ambiguous: u64,
    duplicates_reported: u64,
}

impl Ours {
    fn of(side: &SideSummary, receiver: &SideSummary, packets: u64) -> Self {
        let sum = |kinds: &[Kind]| kinds.iter().map(|kind| side.packets(*kind)).sum();
        Self {
            packets,
            retransmitted: side.retransmitted.packets,
            fast: sum(&[Kind::Fast, Kind::Rack, Kind::SackRecovery]),
            slow_start: sum(&[Kind::SlowStart]),
            timeouts: sum(&[Kind::Rto]),
            tail_probes: sum(&[Kind::TailProbe]),
            spurious: sum(&[Kind::Spurious]),
            ambiguous: sum(&[Kind::Ambiguous]),
            duplicates_reported: u64::from(receiver.sack.dsack),
        }
    }
}

/// How a sender sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    /// Bytes written at once.
    burst: usize,
    /// The pause after them.
    pause: Duration,
    lasting: Duration,
}

impl Shape {
    const fn bulk(lasting: Duration) -> Self {
        Self { burst: 200_000, pause: Duration::from_millis(2), lasting }
    }

    /// Few segments at a time, each flight with a tail that can be lost.
    const fn tails(rtt: Duration, lasting: Duration) -> Self {
        Self {
            burst: 6_000,
            pause: Duration::from_millis(20).saturating_add(rtt.saturating_mul(4)),
            lasting,
        }
    }
}

/// Sends for a while over such a path; returns what the kernel counted and what we see.
fn transfer(how: Conditions, shape: Shape) -> std::io::Result<(Kernel, Ours)> {
    let stop = Arc::new(AtomicBool::new(false));
    let (to_main, ends) = channel::<std::io::Result<File>>();
    let (go_receive, receive_now) = channel::<()>();
    let receiver_device = to_main.clone();
    let receiver = thread::spawn(move || receive(&receiver_device, &receive_now));
    let second = ends.recv().unwrap()?;
    let (go_send, send_now) = channel::<()>();
    let (to_truth, truth) = channel::<Kernel>();
    let sender = thread::spawn(move || {
        to_main.send(host::enter("10.99.0.1/24")).unwrap();
        if send_now.recv().is_ok() {
            send(shape);
            to_truth.send(Kernel::read()).unwrap();
        }
    });
    let first = ends.recv().unwrap()?;
    let tap = path::join([first, second], how, &stop);
    go_receive.send(()).unwrap();
    go_send.send(()).unwrap();
    let kernel = truth.recv().unwrap();
    sender.join().unwrap();
    receiver.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    let records = std::mem::take(&mut *tap.lock().unwrap());
    Ok((kernel, judge(&pcapng(LinkType::RAW, 100, &records), how)))
}

fn receive(device: &Sender<std::io::Result<File>>, now: &Receiver<()>) {
    let end = host::enter("10.99.0.2/24");
    // Listening before the sender is told of the device: its first SYN must find somebody.
    let listener = end.is_ok().then(|| TcpListener::bind("10.99.0.2:5001").unwrap());
    device.send(end).unwrap();
    let Some(listener) = listener else { return };
    if now.recv().is_err() {
        return;
    }
    let (mut stream, _) = listener.accept().unwrap();
    let mut buffer = vec![0; 1 << 16];
    while stream.read(&mut buffer).is_ok_and(|len| len > 0) {}
}

fn send(shape: Shape) {
    let connect = || TcpStream::connect("10.99.0.2:5001");
    let mut stream = connect().or_else(|_| connect()).unwrap();
    stream.set_nodelay(true).unwrap();
    let burst = vec![7; shape.burst];
    let begin = Instant::now();
    while begin.elapsed() < shape.lasting {
        stream.write_all(&burst).unwrap();
        thread::sleep(shape.pause);
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // The other end closes once it has everything.
    let _ = stream.read(&mut [0]);
}

fn judge(capture: &[u8], how: Conditions) -> Ours {
    let name = format!("emulated-{}-{}.pcapng", how.delay.as_micros(), how.loss);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, capture).unwrap();
    let audit = audit(&file, vec![1]);
    let told = audit.stories.first().expect("the transfer is the first flow");
    std::fs::remove_file(&file).unwrap();
    let packets = told.audit.directions().original.packets;
    Ours::of(&told.summary.sides.original, &told.summary.sides.reply, packets)
}

fn conditions(rtt: Duration, loss: u64) -> Conditions {
    Conditions { delay: rtt / 2, loss, held_up: 5, copied: 5 }
}

/// Returns by how many thousandths two counts differ.
fn deviation(ours: u64, kernel: u64) -> u64 {
    ours.abs_diff(kernel) * 1000 / kernel.max(1)
}

fn skipped(error: &std::io::Error) {
    println!("skipped: no network namespace with a tun device: {error}");
}

#[test]
fn a_short_lossy_transfer_has_as_many_repetitions_as_the_kernel_counted() {
    let how = conditions(Duration::from_millis(10), 100);
    match transfer(how, Shape::bulk(Duration::from_millis(1500))) {
        Err(error) => skipped(&error),
        Ok((kernel, ours)) => {
            let few = kernel.retransmitted.abs_diff(ours.retransmitted) <= 1;
            let close = few || deviation(ours.retransmitted, kernel.retransmitted) <= 50;
            assert!(close, "kernel {kernel:?}, ours {ours:?}");
        }
    }
}

/// The round trips and losses of the table.
const RTTS_MS: [u64; 3] = [1, 10, 100];
const LOSSES: [u64; 3] = [10, 100, 500];

#[test]
#[ignore = "takes minutes; writes the table when UPDATE_EXPECT is set"]
fn the_table_of_emulated_transfers() {
    let mut table = HEAD.to_owned();
    let mut worst = 0;
    let lasting = Duration::from_secs(6);
    let cells = RTTS_MS.into_iter().flat_map(|rtt| LOSSES.map(|loss| (rtt, loss)));
    let bulk = cells.map(|(rtt, loss)| (rtt, loss, Shape::bulk(lasting)));
    let tails = RTTS_MS.map(|rtt| (rtt, 1000, Shape::tails(Duration::from_millis(rtt), lasting)));
    for (rtt, loss, shape) in bulk.chain(tails) {
        let how = conditions(Duration::from_millis(rtt), loss);
        let (kernel, ours) = match transfer(how, shape) {
            Ok(result) => result,
            Err(error) => return skipped(&error),
        };
        let name = if shape == Shape::bulk(lasting) { "bulk" } else { "tails" };
        writeln!(table, "| {name} {}", row(rtt, loss, &kernel, &ours)).unwrap();
        worst = worst.max(deviation(ours.retransmitted, kernel.retransmitted));
    }
    println!("{table}");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(table_file(), &table).unwrap();
    }
    assert!(worst <= 50, "{table}");
}

const HEAD: &str = "\
# Repetitions as the kernel counts them, and as seen from a capture

Transfers between two Linux network namespaces over a path that loses data packets, holds up 0.05 % of
them for an eighth of the round trip, and doubles 0.05 %; captured at the sender; in bulk, and in
bursts of 6000 bytes with pauses, so that every flight has a tail. Each cell: the
kernel's counter / ours. The counters are those of `nstat` in the sender's namespace: TcpRetransSegs,
TCPFastRetrans (ours: fast, rack, sack_recovery), TCPSlowStartRetrans (slow_start), TCPTimeouts (rto),
TCPLossProbes (tlp; a probe may also send new data, which is no repetition), TCPDSACKRecv and TCPDSACKOfoRecv (dsack).

`UPDATE_EXPECT=1 cargo test --test suite -- --ignored emulated` makes this table again (root).

| sent | RTT ms | loss % | packets | repeated | differ ‰ | fast | slow start | RTO | TLP | DSACK | ambiguous | spurious |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

fn row(rtt: u64, loss: u64, kernel: &Kernel, ours: &Ours) -> String {
    let cell = |kernel: u64, ours: u64| format!("{kernel} / {ours}");
    let cells = [
        rtt.to_string(),
        format!("{}.{:02}", loss / 100, loss % 100),
        ours.packets.to_string(),
        cell(kernel.retransmitted, ours.retransmitted),
        deviation(ours.retransmitted, kernel.retransmitted).to_string(),
        cell(kernel.fast, ours.fast),
        cell(kernel.slow_start, ours.slow_start),
        cell(kernel.timeouts, ours.timeouts),
        cell(kernel.tail_probes, ours.tail_probes),
        cell(kernel.duplicates_reported, ours.duplicates_reported),
        ours.ambiguous.to_string(),
        ours.spurious.to_string(),
    ];
    format!("| {} |", cells.join(" | "))
}

fn table_file() -> PathBuf {
    let folder = testdata().join("flow");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("emulated.md")
}
