//! The captures made to order are those that `testdata/captures` holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tcp_window_audit::conntrack::entry::judge;
use tcp_window_audit::conntrack::{Arrival, Choices, Entry, Limits, Policy, Profile, Sysctls};
use tcp_window_audit::frame::Batch;
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::tuple::FlowKey;
use tcp_window_audit::wire::{self, Decoded};

use crate::generate::cases::{CASES, Case};
use crate::scenario::testdata;

/// Captures are small enough to be read in a review and to be tested with in no time.
const MAX_LEN: usize = 200_000;

#[test]
fn each_capture_is_made_again_byte_for_byte() {
    for case in &CASES {
        let folder = testdata().join("captures").join(case.name);
        let (capture, readme) = case.make();
        assert!(capture.len() < MAX_LEN, "{}: {} bytes", case.name, capture.len());
        expect_file(&folder.join(case.file), &capture);
        expect_file(&folder.join("README.md"), readme.as_bytes());
    }
}

#[test]
fn each_made_capture_shows_what_its_story_says() {
    for case in &CASES {
        let found = invalid(case, "6.18.44");
        let reasons: BTreeSet<&str> = found.keys().map(|(_, reason)| *reason).collect();
        assert_eq!(reasons, case.invalid.iter().copied().collect(), "{}: {found:?}", case.name);
    }
}

#[test]
fn only_flows_shifted_up_that_lose_segments_are_refused() {
    let case = CASES.iter().find(|case| case.name.starts_with("sequence_randomiser")).unwrap();
    let ports: Vec<u16> = invalid(case, "6.18.44").keys().map(|(port, _)| *port).collect();
    assert_eq!(ports, [40_000, 40_014]);
}

/// Counts the INVALID segments of a capture by client port and reason.
fn invalid(case: &Case, profile: &str) -> BTreeMap<(u16, &'static str), usize> {
    let policy = Policy::new(Profile::named(profile).unwrap(), &Sysctls::default());
    let path = testdata().join("captures").join(case.name).join(case.file);
    let mut file = source::open(&path, Timeline::default()).unwrap();
    let (mut batch, limits) = (Batch::default(), Limits::default());
    let mut entries: BTreeMap<FlowKey, Option<Entry>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    while file.fill(&mut batch).unwrap() {
        for frame in batch.frames(0..batch.len()) {
            let Decoded::Segment(packet) = wire::decode(&frame) else {
                panic!("{}: frame {} is no segment", case.name, frame.number);
            };
            let wire::Packet { key, orientation, segment } = packet;
            assert_eq!((segment.fault, segment.options_cut), (None, false), "{}", frame.number);
            let arrival = Arrival { segment: &segment, orientation, now: frame.clock };
            let slot = entries.entry(key).or_default();
            let verdict = judge(slot, &arrival, &limits, &mut Choices::new(policy.features()));
            if verdict.is_invalid() {
                let (src, dst) = key.endpoints(orientation);
                let reason = verdict.reason.map_or("none", |reason| reason.code());
                *counts.entry((src.port.max(dst.port), reason)).or_insert(0) += 1;
            }
        }
    }
    counts
}

/// Compares a file with what it should hold, or writes it when `UPDATE_EXPECT` is set.
fn expect_file(path: &Path, expected: &[u8]) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read(path).unwrap_or_default();
    // Not assert_eq: nobody wants to read the bytes of a capture.
    assert!(found == expected, "{} differs; UPDATE_EXPECT=1 rewrites it", path.display());
}
