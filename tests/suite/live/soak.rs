//! A long capture at the highest rate that the machine sustains: memory, and losses beside tcpdump.
//!
//! ```text
//! TWA_SOAK_SECONDS=600 cargo test --release --test suite -- --ignored --nocapture soak
//! ```

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::flood::flood;
use super::net::{INTERFACE, Net, RIGHT};
use super::{Capture, Folder};

/// Senders at the same time.
const SENDERS: usize = 4;

/// After so much the connections that end are as many as begin: the longest wait that the tracker
/// has for one that was closed (`nf_conntrack_tcp_timeout_time_wait`), and a little.
const WARM_UP: Duration = Duration::from_secs(130);

#[test]
#[ignore = "takes minutes; TWA_SOAK_SECONDS says how many"]
fn soak() {
    let seconds = std::env::var("TWA_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let lasting = Duration::from_secs(seconds.unwrap_or(60));
    let Some(net) = Net::new() else { return };
    net.track();
    net.send_small_packets();
    let folder = Folder::new();
    let Some(capture) = Capture::begin(&net, &folder, &arguments()) else { return };
    let mut tcpdump = tcpdump(&net);
    let stop = Arc::new(AtomicBool::new(false));
    let mut traffic = traffic(&net, &stop);
    traffic.push(flood(&net, &stop));
    let begun = Instant::now();
    let mut sizes = Vec::new();
    while begun.elapsed() < lasting {
        std::thread::sleep(Duration::from_secs(1));
        sizes.push(resident_kib(capture.child.id()));
    }
    stop.store(true, Ordering::Relaxed);
    for thread in traffic {
        thread.join().unwrap();
    }
    let lasted = begun.elapsed().as_secs();
    let cpu = cpu_seconds(capture.child.id());
    let cpu_beside = tcpdump.as_ref().map(|child| cpu_seconds(child.id()));
    let (code, _, errors) = capture.end();
    let report: Value = folder.report();
    let frames = report["capture"]["frames"].as_u64().unwrap();
    let lost = report["capture"]["files"][0]["interfaces"][0]["drops_os"].as_u64().unwrap();
    let warmed_up = sizes[usize::try_from(WARM_UP.min(lasting / 2).as_secs()).unwrap()];
    let at_end = *sizes.last().unwrap();
    println!(
        "{lasted} s: {frames} packets, {} a second, {lost} lost, {cpu:.1} s of CPU; resident {warmed_up} \
         KiB after warm-up, {} KiB at most, {at_end} KiB at the end; INVALID {}, the kernel counted {}",
        frames / lasted,
        sizes.iter().max().unwrap(),
        report["capture"]["host"]["invalid_predicted"],
        report["capture"]["host"]["invalid_counted"],
    );
    // Packets that are lost on the way or in the capture may look INVALID.
    assert!(code == 0 || code == 1 || lost > 0, "{errors}");
    if lasting > WARM_UP * 2 {
        assert!(at_end <= warmed_up + warmed_up / 10 + 4096, "the memory grows: {sizes:?}");
    }
    let Some(child) = &mut tcpdump else { return println!("skipped: tcpdump is not installed") };
    let (said, lost_beside) = ended(child);
    let cpu_beside = cpu_beside.unwrap();
    println!("tcpdump -w /dev/null beside it: {said}, {cpu_beside:.1} s of CPU");
    // One in ten thousand: the two do not begin and end at the same packet.
    assert!(lost <= lost_beside + frames / 10_000, "{lost} lost, and {lost_beside} by tcpdump");
}

/// Returns the arguments of the capture: further ones are taken from `TWA_SOAK_ARGUMENTS`.
fn arguments() -> Vec<&'static str> {
    let more = std::env::var("TWA_SOAK_ARGUMENTS").unwrap_or_default().leak();
    more.split_whitespace().chain(["tcp"]).collect()
}

fn tcpdump(net: &Net) -> Option<Child> {
    let (size, snap) = ("65536", "256");
    let dump = ["-i", INTERFACE, "-B", size, "-s", snap, "-w", "/dev/null", "-Z", "root", "tcp"];
    Command::new("ip")
        .args(["netns", "exec", &net.left, "tcpdump"])
        .args(dump)
        .stderr(Stdio::piped())
        .spawn()
        .ok()
}

/// Ends tcpdump, and returns what it says of itself, and how many packets it lost.
fn ended(child: &mut Child) -> (String, u64) {
    let id = child.id().to_string();
    let _ = Command::new("kill").args(["-INT", &id]).status();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("packets")).collect();
    let lost = lines.iter().find_map(|line| line.strip_suffix(" packets dropped by kernel"));
    (lines.join(", "), lost.and_then(|count| count.parse().ok()).unwrap())
}

/// Short connections and bulk, as fast as they go.
fn traffic(net: &Net, stop: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<()>> {
    let listener = net.right(|| TcpListener::bind((RIGHT, 6000)).unwrap()).join().unwrap();
    let ending = Arc::clone(stop);
    let mut threads = vec![net.right(move || {
        listener.set_nonblocking(true).unwrap();
        while !ending.load(Ordering::Relaxed) {
            let Ok((mut client, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            client.set_nonblocking(false).unwrap();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while client.read(&mut buffer).is_ok_and(|count| count > 0) {}
            });
        }
    })];
    for number in 0..SENDERS {
        let ending = Arc::clone(stop);
        threads.push(net.left(move || {
            let bytes = vec![1; 1 << 20];
            while !ending.load(Ordering::Relaxed) {
                let Ok(mut server) = TcpStream::connect((RIGHT, 6000)) else { continue };
                // One sends without end, the others open and close.
                let writes = if number == 0 { 1000 } else { 1 };
                let most = if number == 0 { bytes.len() } else { 20_000 };
                for _ in 0..writes {
                    let is_over = ending.load(Ordering::Relaxed);
                    if is_over || server.write_all(&bytes[..most]).is_err() {
                        break;
                    }
                }
            }
        }));
    }
    threads
}

fn resident_kib(process: u32) -> u64 {
    memory_kib(process, "VmRSS:")
}

/// Returns how much memory a process has had at most.
pub(super) fn peak_kib(process: u32) -> u64 {
    memory_kib(process, "VmHWM:")
}

fn memory_kib(process: u32, field: &str) -> u64 {
    let state = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = state.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Returns how much time of processors a process has had: fields 14 and 15 of its stat, proc(5).
pub(super) fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().unwrap());
    // A hundred ticks are a second, to every program on Linux.
    f64::from(ticks.sum::<u32>()) / 100.0
}
