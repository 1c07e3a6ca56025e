//! Reports that can be handed on hold no address of the capture, and say the same of mapped ones.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::program::{STORY, Scratch, cases, run, status, text};
use crate::scenario::testdata;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

fn json(folder: &std::path::Path, options: &[&str]) -> Value {
    let output = run(folder, &[&["--format", "json"], options].concat());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The addresses that a report names.
fn addresses(report: &Value) -> BTreeSet<String> {
    let lists = ["flows", "troubled"].map(|list| report[list].as_array().unwrap().as_slice());
    let ends = ["id.orig_h", "id.resp_h"];
    let named = lists.concat();
    let named =
        named.iter().flat_map(|flow| ends.map(|end| flow[end].as_str().unwrap().to_owned()));
    named.collect()
}

#[test]
fn no_format_holds_an_address_of_the_capture_or_the_key() {
    let scratch = Scratch::new("anonymize");
    scratch.write("key", KEY);
    let mut named = 0;
    for (folder, file) in cases() {
        let plain = addresses(&json(&folder, &[&file]));
        // The name of the file names them as well, in the ways in which people write them.
        let all: Vec<_> = plain.iter().cloned().collect();
        let name = format!("{}_{}.pcap", all.join("-"), all.join("_").replace(['.', ':'], "-"));
        std::fs::copy(folder.join(&file), scratch.0.join(&name)).unwrap();
        for format in ["text", "json", "markdown", "ndjson", "html"] {
            let options = ["-v", "--anonymize-key", "key", "--format", format];
            let report = run(&scratch.0, &[&options[..], &["--flow", "1", &name]].concat());
            let report = text(&report.stdout);
            assert!(report.len() > 100, "{format}");
            assert!(!report.contains(text(KEY)), "{format} holds the key");
            assert!(!report.contains("1:") || !report.contains("community_id"), "{format}");
            assert!(!report.contains("sha256") && !report.contains("SHA-256"), "{format}");
            for address in &plain {
                let written = [address.clone(), address.replace(['.', ':'], "-")];
                named += 1;
                for address in written {
                    assert!(!report.contains(&address), "{format} of {name}: {address}");
                }
            }
        }
    }
    assert!(named > 50, "{named} addresses looked for");
}

#[test]
fn interface_names_and_filters_are_mapped_as_well() {
    use crate::capture_writer::{Order, PcapngWriter};
    let scratch = Scratch::new("anonymize-interface");
    scratch.write("key", KEY);
    let mut writer = PcapngWriter::new(Order::Little);
    writer.interface(101, 0, &[(2, b"gre-192.0.2.7-2001:db8::7".to_vec())]);
    scratch.write("a.pcapng", &writer.bytes);
    let report = run(
        &scratch.0,
        &["--anonymize-key", "key", "--format", "json", "a.pcapng", "missing-192.0.2.7.pcap"],
    );
    let report = text(&report.stdout);
    let parsed: Value = serde_json::from_str(report).unwrap();
    let name = parsed["capture"]["files"][0]["interfaces"][0]["name"].as_str().unwrap();
    assert!(name.starts_with("gre-"), "{name}");
    assert_eq!(parsed["problems"].as_array().unwrap().len(), 1);
    assert!(!report.contains("192.0.2.7") && !report.contains("2001:db8"), "{report}");
    let story = testdata().join("captures").join(STORY).join("capture.pcapng");
    let rule = ["--notrack", "host 203.0.113.11", "--filter", "host 203.0.113.10 or net 192.0"];
    let filter = [&rule[..], &[story.to_str().unwrap()]].concat();
    let filtered = run(&scratch.0, &[&["--anonymize", "--format", "json"], &filter[..]].concat());
    if status(&filtered) == 2 {
        eprintln!("skipped: no libpcap for a filter: {}", text(&filtered.stderr));
        return;
    }
    let filtered = text(&filtered.stdout);
    assert!(filtered.contains("frames_left_out") && filtered.contains("notrack"), "{filtered}");
    assert!(!filtered.contains("192.0") && !filtered.contains("203.0"), "{filtered}");
}

#[test]
fn the_same_key_gives_the_same_bytes_and_none_gives_others_each_time() {
    let scratch = Scratch::new("anonymize-key");
    scratch.write("key", KEY);
    scratch.write("other", b"another key, at least 16 bytes");
    let story = testdata().join("captures").join(STORY).join("capture.pcapng");
    let story = story.to_str().unwrap();
    let with = |options: &[&str]| {
        let output = run(&scratch.0, &[&["--format", "markdown", story], options].concat());
        assert_eq!(status(&output), 1, "{}", text(&output.stderr));
        output.stdout
    };
    let first = with(&["--anonymize-key", "key"]);
    assert!(first == with(&["--anonymize-key", "key"]));
    assert!(first != with(&["--anonymize-key", "other"]));
    assert!(with(&["--anonymize"]) != with(&["--anonymize"]));
}

#[test]
fn a_mapped_report_says_the_same_of_other_addresses() {
    let scratch = Scratch::new("anonymize-same");
    scratch.write("key", KEY);
    let key = scratch.0.join("key");
    let key = key.to_str().unwrap();
    for (folder, file) in cases() {
        let plain = json(&folder, &[&file]);
        let mapped = json(&folder, &["--anonymize-key", key, &file]);
        for same in
            ["/verdict/invalid", "/verdict/level", "/verdict/score", "/endpoints", "/quality"]
        {
            assert_eq!(plain.pointer(same), mapped.pointer(same), "{same}");
        }
        let ports = |report: &Value| -> Vec<Value> {
            let flows = report["flows"].as_array().unwrap();
            flows.iter().map(|flow| flow["id.orig_p"].clone()).collect()
        };
        assert_eq!(ports(&plain), ports(&mapped));
        assert_eq!(addresses(&plain).len(), addresses(&mapped).len());
        assert!(addresses(&plain).is_disjoint(&addresses(&mapped)));
        assert_eq!(mapped["privacy"]["addresses"], "mapped");
    }
}

#[test]
fn times_count_from_the_first_frame_where_that_is_asked_for() {
    let folder = testdata().join("captures").join(STORY);
    let options = ["--flow", "184", "capture.pcapng"];
    let plain = json(&folder, &options);
    let relative = json(&folder, &[&["--relative-times"], &options[..]].concat());
    assert_eq!(relative["capture"]["first_ts"], "1970-01-01T00:00:00.000000000Z");
    assert_eq!(relative["capture"]["last_ts"], "1970-01-01T00:00:30.827272160Z");
    assert!(!relative.to_string().contains("2023-"), "a time of the capture is left");
    let durations = |report: &Value| report["flows"][0]["duration"].clone();
    assert_eq!(durations(&plain), durations(&relative));
    let refused = run(&folder, &["--relative-times", "--verdicts", "-", "capture.pcapng"]);
    assert_eq!(status(&refused), 2);
}

#[test]
fn a_key_that_is_no_key_is_refused() {
    let scratch = Scratch::new("anonymize-bad-key");
    scratch.write("short", b"secret");
    let story = testdata().join("captures").join(STORY).join("capture.pcapng");
    for (key, words) in [("short", "at least 16 bytes, not 6"), ("missing", "cannot read the key")]
    {
        let output = run(&scratch.0, &["--anonymize-key", key, story.to_str().unwrap()]);
        assert_eq!(status(&output), 2);
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}
