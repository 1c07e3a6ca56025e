//! Causes: each made capture yields its own and no other, and what a remedy prints can be loaded.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tcp_window_audit::diagnose::{Cause, Remedy, Runner};

use crate::scenario::testdata;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-window-audit");

/// What the captures at hand must be told to be: level and cause.
const VERDICTS: [(&str, &str, Option<&str>); 9] = [
    ("capture_loss", "probable", Some("capture_loss")),
    ("clean_download", "none", Some("C24")),
    ("cooked_any_interface", "none", None),
    ("ipv6_upload", "none", Some("C24")),
    ("one_direction_only", "cannot_judge", None),
    ("sequence_randomiser_leaves_sack_alone", "confirmed", Some("C01")),
    ("vlan_tagged", "none", Some("C24")),
    ("window_scale_lost_for_the_client", "probable", Some("C03")),
    ("window_scale_stripped_from_syn_ack", "confirmed", Some("C03")),
];

/// Captures of others that were taken of a fault, and which.
const SICK: [(&str, &str); 1] = [("zeek-rst-inject-rae.pcap", "C11")];

fn report(case: &str) -> Value {
    let folder = testdata().join("captures").join(case);
    let file = ["capture.pcap", "capture.pcapng"].into_iter().find(|f| folder.join(f).is_file());
    json(&folder.join(file.unwrap()))
}

fn json(file: &Path) -> Value {
    let output = Command::new(PROGRAM).args(["--format", "json"]).arg(file).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn cause<'a>(report: &'a Value, id: &str) -> Option<&'a Value> {
    report["causes"].as_array().unwrap().iter().find(|cause| cause["id"] == id)
}

#[test]
fn each_made_capture_has_its_verdict() {
    for (case, level, id) in VERDICTS {
        let verdict = &report(case)["verdict"];
        assert_eq!((verdict["level"].as_str(), verdict["cause"].as_str()), (Some(level), id));
    }
}

#[test]
fn no_other_device_is_blamed_beside_the_verdict() {
    let blamed: Vec<_> =
        Cause::all().filter(|cause| cause.blames_a_device()).map(Cause::id).collect();
    for (case, _, id) in VERDICTS {
        for found in report(case)["causes"].as_array().unwrap() {
            let is_blamed = blamed.contains(&found["id"].as_str().unwrap());
            assert!(!is_blamed || found["id"].as_str() == id, "{case}: {}", found["id"]);
        }
    }
}

#[test]
fn a_sequence_randomiser_is_found_in_the_flows_that_die_and_in_those_that_crawl() {
    let report = report("sequence_randomiser_leaves_sack_alone");
    let found = cause(&report, "C01").unwrap();
    assert_eq!(found["flow_count"], 4);
    assert_eq!(found["params"].as_object().unwrap().len(), 4);
    let ids: Vec<_> = found["remedies"].as_array().unwrap().iter().map(|r| &r["id"]).collect();
    assert_eq!(ids, ["C01-device", "C01-clear-sack", "C01-strip-sack", "R1"]);
    assert!(report["verdict"]["sentence"].as_str().unwrap().contains("and the clients"));
}

#[test]
fn no_cause_is_confirmed_on_captures_of_others() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures/dev");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let report = json(&path);
        for found in report["causes"].as_array().into_iter().flatten() {
            // Captures of scans are among them: their flags alone show it.
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_known =
                found["id"] == "C19" || SICK.contains(&(name, found["id"].as_str().unwrap()));
            assert!(is_known || found["level"] != "confirmed", "{name}: {found}");
        }
    }
}

#[test]
fn an_id_is_explained_and_an_unknown_one_is_refused() {
    let explain = |id: &str| Command::new(PROGRAM).args(["explain", id]).output().unwrap();
    let known = explain("C01");
    assert!(known.status.success());
    assert!(String::from_utf8(known.stdout).unwrap().starts_with("C01 "));
    let unknown = explain("C99");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("capture_loss"));
}

#[test]
fn what_the_remedies_print_for_linux_can_be_loaded() {
    if !in_namespace(&["nft", "list", "tables"], "") {
        println!("skipped: no nft, or no network namespace may be made");
        return;
    }
    let hosts = ["203.0.113.10", "2001:db8::80", "192.0.2.1"].map(|host| host.parse().unwrap());
    let mut loaded = 0;
    let remedies = Remedy::all_for(&hosts);
    let ids: BTreeSet<_> = remedies.iter().map(|remedy| remedy.id).collect();
    assert_eq!(ids.len(), remedies.len(), "two remedies have one id");
    for step in remedies.iter().flat_map(|remedy| &remedy.steps) {
        let text = step.lines.join("\n");
        match step.runner {
            Runner::Nft => assert!(in_namespace(&["nft", "-f", "-"], &text), "{text}"),
            Runner::Sysctl => assert!(in_namespace(&["sysctl", "-w", &text], ""), "{text}"),
            _ => continue,
        }
        loaded += 1;
    }
    assert!(loaded >= 7, "{loaded}");
}

#[test]
fn a_broken_script_is_not_taken_for_a_loaded_one() {
    if in_namespace(&["nft", "list", "tables"], "") {
        assert!(!in_namespace(&["nft", "-f", "-"], "table inet twa { chain fwd { nonsense } }"));
    }
}

/// Runs a command in a network namespace of its own; returns whether it could and did succeed.
fn in_namespace(command: &[&str], input: &str) -> bool {
    let child = Command::new("unshare")
        .arg("-n")
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    // The command may have ended before it read anything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait().unwrap().success()
}
