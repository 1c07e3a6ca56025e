//! The whole program's verdicts against those that a real kernel gave for real captures.
//!
//! The captures and recordings are not part of the project; without them the tests skip.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tcp_window_audit::audit::{Inputs, Method, PacketVerdict};
use tcp_window_audit::conntrack::{CtState, Profile, Sysctls};
use tcp_window_audit::pipeline::{Observer, Plan, Run, Wanted};
use tcp_window_audit::segment::Direction;
use tcp_window_audit::source::{self, FrameSource, Timeline};

/// Frames on which recording and model differ, with the reason: file, number of frames, why.
///
/// The recordings fed packets through routing, with their IP header rewritten; a frame whose TCP
/// header the snap length cut was not fed, or filled with zeros.
const DIFFERENCES: [(&str, usize, &str); 5] = [
    ("libtrace-100_packetsns", 1, "the recording's routing refused a multicast source address"),
    ("snabb-sanitized4k_truncated128", 112, "routing refused the made-up addresses"),
    ("sv-bug-6887-defrag-ipv6-tcp_frag-ip-tcp", 1, "no verdict was recorded for ::1 in fragments"),
    ("tcpreplay-test.rewrite_efcs", 11, "filled up 6 frames whose first 20 TCP bytes are cut"),
    ("zeek-truncated-header", 2, "did not feed the SYN, whose options are cut"),
];

#[test]
fn verdicts_on_real_captures_are_those_of_the_kernel() {
    let Some(captures) = shared("captures/dev") else { return };
    let mut frames = 0;
    let mut differing = BTreeMap::new();
    for recording in recordings(&captures.join("oracle")) {
        let id = recording["id"].as_str().unwrap().to_owned();
        let path = captures.join(recording["file"].as_str().unwrap());
        let found = letters(&path);
        let fed = recording["frame"].as_array().unwrap();
        frames += fed.len();
        let wanted = |mode: &str| recording[mode].as_str().unwrap().chars().collect::<Vec<_>>();
        let (strict, liberal) = (wanted("strict"), wanted("liberal"));
        let count = fed
            .iter()
            .zip(strict.into_iter().zip(liberal))
            .filter(|(frame, wanted)| {
                let found = found.get(&frame.as_u64().unwrap());
                found.copied().unwrap_or(('-', '-')) != *wanted
            })
            .count();
        if count > 0 {
            differing.insert(id, count);
        }
    }
    let known = DIFFERENCES.iter().map(|(id, count, _)| ((*id).to_owned(), *count)).collect();
    assert_eq!(differing, known, "of {frames} frames");
    assert!(frames > 247_000, "only {frames} frames compared");
    eprintln!("{frames} frames compared with the kernel, in strict and liberal mode");
}

/// Returns a folder of the shared material, or says that it is not there.
fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(folder);
    if !path.is_dir() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn recordings(folder: &Path) -> Vec<Value> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        .collect()
}

/// Audits a capture and returns the strict and the liberal verdict of each judged frame as letters.
fn letters(path: &Path) -> BTreeMap<u64, (char, char)> {
    let mut sysctls = Sysctls::default();
    // The recording was replayed at once: nothing expired.
    let timeouts = tcp_window_audit::conntrack::sysctl::KEYS;
    for key in timeouts.iter().filter(|key| key.contains("_timeout_")) {
        sysctls.set(key, "2147483647").unwrap();
    }
    let method = Method::new(Profile::DEFAULT, sysctls);
    let plan = Plan { threads: 2, wanted: Wanted::Verdicts, ..Plan::new(method) };
    let mut run = Run::new(&plan);
    let mut collector = Collector::default();
    let mut source = source::open(path, Timeline::default()).unwrap();
    run.read(&mut source, &mut collector);
    collector.letters
}

#[derive(Default)]
struct Collector {
    letters: BTreeMap<u64, (char, char)>,
}

impl Observer for Collector {
    fn verdicts(&mut self, verdicts: &[PacketVerdict], _: &Inputs) -> std::io::Result<()> {
        for verdict in verdicts {
            let letters = (
                letter(verdict.verdict.ctstate, verdict.direction),
                letter(verdict.liberal, verdict.direction),
            );
            self.letters.insert(verdict.frame, letters);
        }
        Ok(())
    }

    fn progress(&mut self, _frames: u64, _source: &dyn FrameSource) {}
}

fn letter(ctstate: CtState, direction: Option<Direction>) -> char {
    match (ctstate, direction) {
        (CtState::New, _) => 'N',
        (CtState::Established, Some(Direction::Original)) => 'o',
        (CtState::Established, _) => 'r',
        (CtState::Related, _) => 'R',
        (CtState::Invalid, _) => 'I',
        (CtState::Untracked | CtState::Dropped, _) => '-',
    }
}
