//! `verify` as a program: what it prints, its exit status, and what it leaves behind.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::oracle;
use crate::program::{PROGRAM, Scratch, run, status, text};
use crate::scenario::testdata;
use tcp_window_audit::kernel::OracleSettings;

/// A user who may nothing.
const NOBODY: u32 = 65_534;

fn capture() -> String {
    testdata().join("captures/clean_download/capture.pcapng").to_str().unwrap().to_owned()
}

/// What other programs of this machine see of networks and of the tracker's settings.
fn surroundings() -> [Option<String>; 3] {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let interfaces = read("/proc/net/dev").map(|text| text.lines().count().to_string());
    [
        interfaces,
        read("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close"),
        read("/proc/sys/net/netfilter/nf_conntrack_log_invalid"),
    ]
}

#[test]
fn verify_counts_what_agrees() {
    if oracle(&OracleSettings::default()).is_none() {
        return;
    }
    let scratch = Scratch::new("verify");
    let output = run(&scratch.0, &["verify", &capture()]);
    let said = text(&output.stdout);
    assert_eq!(status(&output), 0, "{said}");
    assert!(said.contains("782 of 782 TCP packets agree: model "), "{said}");
    let liberal = ["verify", "--sysctl", "nf_conntrack_tcp_be_liberal=1", &capture()];
    let said = run(&scratch.0, &liberal);
    assert!(text(&said.stdout).trim_end().ends_with("liberal"));
}

#[test]
fn a_capture_that_cannot_be_read_is_named() {
    let scratch = Scratch::new("verify-missing");
    let output = run(&scratch.0, &["verify", "absent.pcap"]);
    assert_eq!(status(&output), 2);
    assert!(text(&output.stderr).contains("absent.pcap: cannot open"));
}

#[test]
fn without_root_verify_says_what_is_missing() {
    let scratch = Scratch::new("verify-nobody");
    let mut command = Command::new(PROGRAM);
    command.args(["verify", &capture()]).current_dir("/");
    let Ok(output) = command.uid(NOBODY).gid(NOBODY).output() else {
        return println!("skipped: not root, or nobody may not run the program");
    };
    drop(scratch);
    let said = text(&output.stderr);
    if said.contains("cannot open") {
        return println!("skipped: nobody may not read the capture");
    }
    assert_eq!(status(&output), 2);
    assert!(output.stdout.is_empty() && said.contains("run as root"), "{said}");
}

#[test]
fn verify_killed_half_way_leaves_nothing_behind() {
    if oracle(&OracleSettings::default()).is_none() {
        return;
    }
    let before = surroundings();
    let scratch = Scratch::new("verify-killed");
    let captures = vec![capture(); 50];
    let mut command = Command::new(PROGRAM);
    command.arg("verify").args(captures).current_dir(&scratch.0).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Its first line tells that it is at work.
    let mut first = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it was killed, and had not ended by itself");
    assert_eq!(surroundings(), before);
}
