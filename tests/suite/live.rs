//! Live capture between two real hosts: namespaces, a cable, the kernel's own tracker.
//!
//! Needs root and libpcap; says so and is skipped otherwise.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "the hosts run in real time, as their kernels do")]

mod capture;
mod fanout;
mod flood;
mod net;
mod soak;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::program::{PROGRAM, run, status, text};
use capture::wait_for;
pub(crate) use capture::{Capture, Folder, as_judged};
use net::{INTERFACE, Net};

#[test]
fn live_verdicts_are_those_of_the_saved_packets() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let (kept, verdicts) = (folder.path("kept.pcap"), folder.path("live.ndjson"));
    let arguments = ["-w", &kept, "--verdicts", &verdicts, "tcp", "port", "5001"];
    let Some(capture) = Capture::begin(&net, &folder, &arguments) else { return };
    net.talk(30, 50_000);
    net.disturb(5001, 40_000, 64);
    let (code, _, errors) = capture.end();
    assert_eq!(code, 1, "{errors}");
    let report = folder.report();
    let arguments = as_judged(&report);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let again = run(&folder.0, &[&arguments[..], &["--verdicts", "-", &kept]].concat());
    assert_eq!(text(&again.stdout), folder.read("live.ndjson"));
    assert!(folder.read("live.ndjson").lines().count() > 300);
}

#[test]
fn the_kernels_own_tracker_counts_what_is_predicted() {
    let Some(net) = Net::new() else { return };
    if !net.track() {
        return;
    }
    let folder = Folder::new();
    let events = folder.path("events.ndjson");
    let Some(capture) = Capture::begin(&net, &folder, &["--events", &events]) else { return };
    net.talk(5, 20_000);
    let (client, server) = net.connect();
    let (from, to) = (5002, client.local_addr().unwrap().port());
    net.disturb(from, to, 200);
    drop((client, server));
    let (code, _, errors) = capture.end();
    assert_eq!(code, 1, "{errors}");
    let report = folder.report();
    let predicted = report["verdict"]["invalid"]["packets"].as_u64();
    let counted = report["capture"]["host"]["invalid_counted"].as_u64();
    assert!(predicted.is_some_and(|count| count > 50), "{predicted:?}");
    assert_eq!(predicted, counted);
    // Each was told when it came.
    let events = folder.read("events.ndjson");
    assert_eq!(events.lines().count() as u64, predicted.unwrap());
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["ctstate"], "INVALID");
        assert_eq!(event["src_ip"], "10.9.0.2");
        assert_eq!(event["in_iface"], INTERFACE);
    }
}

#[test]
fn connections_that_the_tracker_knew_are_judged_strictly() {
    let Some(net) = Net::new() else { return };
    if !net.track() {
        return;
    }
    let (mut client, mut server) = net.connect();
    client.write_all(b"before").unwrap();
    server.read_exact(&mut [0; 6]).unwrap();
    let folder = Folder::new();
    let Some(capture) = Capture::begin(&net, &folder, &[]) else { return };
    client.write_all(&vec![1; 30_000]).unwrap();
    server.read_exact(&mut vec![0; 30_000]).unwrap();
    server.write_all(b"after").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    let (code, _, errors) = capture.end();
    assert_eq!(code, 0, "{errors}");
    let report = folder.report();
    assert_eq!(report["capture"]["host"]["connections_known"], 1);
    assert_eq!(report["verdict"]["flows"], 1);
    assert_eq!(report["verdict"]["flows_picked_up"], 0, "{report}");
}

#[test]
fn privileges_are_given_up_once_the_capture_is_open() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let Some(capture) = Capture::begin(&net, &folder, &["--fanout", "2"]) else { return };
    net.talk(2, 1000);
    let tasks = format!("/proc/{}/task", capture.child.id());
    let mut seen = 0;
    for task in std::fs::read_dir(tasks).unwrap() {
        let state = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            state.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
        };
        assert!(!field("Uid:").split_whitespace().any(|uid| uid == "0"), "{state}");
        for set in ["CapEff:", "CapPrm:", "CapAmb:", "CapInh:"] {
            assert_eq!(field(set), "0000000000000000", "{state}");
        }
        assert_eq!(field("NoNewPrivs:"), "1", "{state}");
        seen += 1;
    }
    assert_eq!(seen, 3, "a thread for each capture and one that audits");
    let (code, _, errors) = capture.end();
    assert_eq!(code, 0, "{errors}");
}

#[test]
fn divided_among_threads_the_audit_is_the_same() {
    let Some(net) = Net::new() else { return };
    let (alone, divided) = (Folder::new(), Folder::new());
    let Some(one) = Capture::begin(&net, &alone, &["tcp"]) else { return };
    let Some(three) = Capture::begin(&net, &divided, &["--fanout", "3", "tcp"]) else { return };
    net.talk(40, 20_000);
    net.disturb(5001, 41_000, 32);
    let ends = [one.end(), three.end()];
    assert_eq!([ends[0].0, ends[1].0], [1, 1], "{ends:?}");
    let (alone, divided) = (alone.report(), divided.report());
    // Each capture has stamps of its own, so that times differ by microseconds.
    for field in ["/verdict", "/what_if", "/endpoints/conn_states", "/endpoints/segments"] {
        assert_eq!(alone.pointer(field), divided.pointer(field), "{field}");
    }
    assert_eq!(alone["capture"]["frames"], divided["capture"]["frames"]);
    assert!(alone["capture"]["frames"].as_u64().unwrap() > 300);
}

#[test]
fn an_interface_that_goes_and_comes_back_is_waited_for() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let Some(mut capture) = Capture::begin(&net, &folder, &["tcp"]) else { return };
    net.talk(1, 1000);
    net.switch("down");
    assert!(capture.line().contains("went down"));
    net.switch("up");
    assert!(capture.line().contains("up again"));
    net.talk(1, 1000);
    let (code, _, errors) = capture.end();
    assert_eq!(code, 2, "{errors}");
    let report = folder.report();
    assert_eq!(report["complete"], false);
    assert!(report["problems"][0].as_str().unwrap().contains("was down or gone (1 time)"));
    assert!(report["capture"]["tcp_segments"].as_u64().unwrap() >= 16, "{report}");
}

/// Talks, pulls the cable out and plugs another one in; returns once that is told.
fn exchange_the_cable(net: &Net, capture: &mut Capture) {
    net.talk(1, 1000);
    // The kernel hands over what it has gathered; with the interface that goes too.
    std::thread::sleep(Duration::from_millis(500));
    net.unplug();
    assert!(capture.line().contains("disappeared"));
    net.plug();
}

#[test]
fn an_interface_that_is_removed_and_made_anew_is_captured_on_without_privileges() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let Some(mut capture) = Capture::begin(&net, &folder, &["tcp"]) else { return };
    for _ in 0..2 {
        exchange_the_cable(&net, &mut capture);
        let told = capture.line();
        assert!(told.contains("up again"), "{told}");
    }
    net.talk(1, 1000);
    let (code, _, errors) = capture.end();
    assert_eq!(code, 2, "{errors}");
    let report = folder.report();
    assert!(report["problems"][0].as_str().unwrap().contains("was down or gone (2 times)"));
    assert!(report["capture"]["tcp_segments"].as_u64().unwrap() >= 24, "{report}");
    assert_eq!(report["capture"]["files"][0]["interfaces"][0]["drops_if"], 0, "{report}");
}

#[test]
fn captures_that_share_an_interface_end_with_it_in_a_report() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let arguments = ["--fanout", "2", "tcp"];
    let Some(mut capture) = Capture::begin(&net, &folder, &arguments) else { return };
    exchange_the_cable(&net, &mut capture);
    // A socket that shares its packets cannot be bound again, and the right to make one is gone.
    let (code, _, errors) = capture.wait();
    assert_eq!(code, 2);
    assert!(errors.contains("--keep-privileges"), "{errors}");
    assert!(folder.report()["capture"]["tcp_segments"].as_u64().unwrap() >= 8);
    let arguments = ["--fanout", "2", "--keep-privileges", "tcp"];
    let Some(mut capture) = Capture::begin(&net, &folder, &arguments) else { return };
    exchange_the_cable(&net, &mut capture);
    assert!(capture.line().contains("up again"));
    std::thread::sleep(Duration::from_millis(500));
    net.talk(1, 1000);
    let (code, _, errors) = capture.end();
    assert_eq!(code, 2, "{errors}");
    assert!(folder.report()["capture"]["tcp_segments"].as_u64().unwrap() >= 16);
}

#[test]
fn a_full_disk_ends_the_keeping_and_not_the_capture() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let Some(mut capture) = Capture::begin(&net, &folder, &["-w", "/dev/full", "tcp"]) else {
        return;
    };
    net.talk(1, 1000);
    assert!(capture.line().contains("the capture goes on"));
    net.talk(1, 1000);
    let (code, _, errors) = capture.end();
    assert_eq!(code, 2, "{errors}");
    let report = folder.report();
    assert!(report["problems"][0].as_str().unwrap().contains("not all packets are kept"));
    assert!(report["capture"]["tcp_segments"].as_u64().unwrap() >= 16, "{report}");
}

#[test]
fn packets_are_kept_in_files_of_a_size_and_the_oldest_go() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let kept = folder.path("kept.pcap");
    let arguments = ["-w", &kept, "-C", "1", "-W", "3", "-s", "65535", "tcp"];
    let Some(capture) = Capture::begin(&net, &folder, &arguments) else { return };
    net.talk(6, 1_000_000);
    let (code, _, errors) = capture.end();
    assert_eq!(code, 0, "{errors}");
    let mut files: Vec<_> = std::fs::read_dir(&folder.0)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("kept"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files[0].starts_with("kept_0") && !files[0].contains("_00001_"), "{files:?}");
    for file in &files {
        assert!(std::fs::metadata(folder.0.join(file)).unwrap().len() <= 1_000_000);
        assert_eq!(status(&run(&folder.0, &["-q", file])), 0);
    }
}

#[test]
fn a_count_ends_the_capture_and_a_signal_asks_for_the_state() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let Some(mut capture) = Capture::begin(&net, &folder, &["-c", "20", "tcp"]) else { return };
    net.talk(1, 1000);
    // The kernel hands over what it has gathered.
    std::thread::sleep(Duration::from_millis(300));
    capture.signal("-USR1");
    let state = capture.line();
    assert!(state.contains("TCP segments, 0 INVALID, 0 connections ended, 1 alive"), "{state}");
    net.talk(3, 1000);
    let (code, out, errors) = capture.wait();
    assert_eq!(code, 0, "{errors}");
    assert_eq!(folder.report()["capture"]["frames"], 20);
    assert!(out.starts_with("Nothing INVALID"), "{out}");
}

#[test]
fn reports_are_written_as_it_goes() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let arguments = ["--interval", "1", "--duration", "30", "tcp"];
    let Some(capture) = Capture::begin(&net, &folder, &arguments) else { return };
    net.talk(3, 1000);
    let segments = || -> Option<u64> {
        let text = std::fs::read_to_string(folder.0.join("report.json")).ok()?;
        let report: Value = serde_json::from_str(&text).unwrap();
        report["capture"]["tcp_segments"].as_u64()
    };
    wait_for("no report on the way", || segments().is_some_and(|count| count >= 24));
    // The connections are alive in the tracker, and in the report all the same.
    net.talk(3, 1000);
    let earlier = segments();
    wait_for("no second report", || segments() > earlier);
    assert_eq!(capture.end().0, 0);
}

#[test]
fn prometheus_is_told_the_same() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let metrics = folder.path("twa.prom");
    let arguments = ["--metrics", &metrics, "tcp"];
    let Some(file) = Capture::begin(&net, &folder, &arguments) else { return };
    let Some(listening) = Capture::begin(&net, &folder, &["--metrics", ":9177", "tcp"]) else {
        return;
    };
    net.talk(3, 1000);
    net.disturb(5001, 40_001, 8);
    let ask = |path: &'static str| {
        let asked = net.left(move || {
            let mut server = std::net::TcpStream::connect("127.0.0.1:9177").unwrap();
            let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
            write!(server, "GET {path} HTTP/1.1\r\nAccept: {accept}\r\n\r\n").unwrap();
            let mut answer = String::new();
            server.read_to_string(&mut answer).unwrap();
            answer
        });
        asked.join().unwrap()
    };
    let has_invalid = |text: &str| {
        text.contains("tcp_window_audit_invalid_segments_total{reason=\"tcp_bad_flags\"} 2\n")
    };
    wait_for("the metrics do not tell", || has_invalid(&ask("/metrics")));
    let answer = ask("/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text"));
    assert!(answer.ends_with("# EOF\n"));
    assert!(ask("/other").starts_with("HTTP/1.1 404"));
    wait_for("the file does not tell", || {
        has_invalid(&std::fs::read_to_string(Path::new(&metrics)).unwrap_or_default())
    });
    assert_eq!([file.end().0, listening.end().0], [1, 1]);
    check_metrics(&folder.read("twa.prom"));
}

/// Has Prometheus' own tool read the metrics, where it is installed.
fn check_metrics(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.stderr(Stdio::piped()).spawn() else {
        return eprintln!("skipped: promtool is not installed");
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // It names what it does not like, and need not fail for that.
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn killed_it_leaves_readable_packets_and_no_helper() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let kept = folder.path("kept.pcap");
    let Some(capture) = Capture::begin(&net, &folder, &["-w", &kept, "tcp"]) else { return };
    net.talk(5, 1000);
    let children = format!("/proc/{0}/task/{0}/children", capture.child.id());
    let helpers = std::fs::read_to_string(children).unwrap();
    // The kernel hands over what it has gathered.
    std::thread::sleep(Duration::from_millis(500));
    capture.signal("-KILL");
    drop(capture);
    let again = run(&folder.0, &["-q", &kept]);
    assert_eq!(status(&again), 0, "{}", text(&again.stderr));
    assert!(text(&again.stdout).contains("5 connections"), "{}", text(&again.stdout));
    for helper in helpers.split_whitespace() {
        let state = format!("/proc/{helper}/stat");
        wait_for("the helper goes on", || {
            std::fs::read_to_string(&state).map_or(true, |state| state.contains(") Z "))
        });
    }
}

#[test]
fn a_flood_of_syns_takes_no_more_memory_than_allowed() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let arguments = ["--memory", "64M", "tcp"];
    let Some(capture) = Capture::begin(&net, &folder, &arguments) else { return };
    flood::syns(&net, 400_000);
    std::thread::sleep(Duration::from_secs(1));
    let peak = soak::peak_kib(capture.child.id());
    let (code, _, errors) = capture.end();
    assert_eq!(code, 2, "{errors}");
    let report = folder.report();
    assert!(report["capture"]["frames"].as_u64().unwrap() > 300_000, "{}", report["capture"]);
    assert!(report["problems"][0].as_str().unwrap().contains("were forgotten early"), "{errors}");
    // The kernel's buffer of 64 MiB, the connections, and what is kept for the report.
    assert!(peak < 180_000, "{peak} KiB");
}

#[test]
fn what_keeps_a_capture_from_beginning_is_said() {
    let Some(net) = Net::new() else { return };
    let inside = |user: u32, arguments: &[&str]| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &net.left]);
        if user != 0 {
            // Entering a namespace takes root, so that another program gives it up.
            command.args(["setpriv", "--reuid", &user.to_string(), "--clear-groups", "--"]);
        }
        let output = command.arg(PROGRAM).args(arguments).output().unwrap();
        (status(&output), text(&output.stderr).to_owned())
    };
    let (code, said) = inside(0, &["-i", "nonesuch"]);
    if said.contains("libpcap") {
        eprintln!("skipped: libpcap is not installed");
        return;
    }
    assert!(code == 2 && said.contains("no such interface; -D lists"), "{said}");
    let (code, said) = inside(0, &["-i", INTERFACE, "tcp", "prot", "4"]);
    assert!(code == 2 && said.contains("filter tcp prot 4: "), "{said}");
    let (code, said) = inside(65534, &["-i", INTERFACE]);
    assert!(code == 2 && said.contains("not permitted to capture"), "{said}");
    assert!(said.contains("cap_net_raw"), "{said}");
    net.switch("down");
    let (code, said) = inside(0, &["-i", INTERFACE]);
    assert!(code == 2 && said.contains("the interface is down"), "{said}");
    let (code, said) = inside(0, &["-i", "lo", "-Z", "nobody-at-all"]);
    assert!(code == 2 && said.contains("no such user"), "{said}");
    let listed = Command::new("ip").args(["netns", "exec", &net.left, PROGRAM, "-D"]).output();
    assert!(text(&listed.unwrap().stdout).contains("v1 ["), "the interface is not listed");
}
