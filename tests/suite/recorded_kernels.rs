//! The model against what six real kernels said of real captures, packet by packet: verdict,
//! direction, state, reason, timeout, scales and flags, and for one of them every number inside.
//!
//! The captures and recordings are not part of the project; without them the test skips.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tcp_window_audit::conntrack::entry::judge;
use tcp_window_audit::conntrack::icmp::judge_error;
use tcp_window_audit::conntrack::{
    Arrival, Choices, Entry, ErrorArrival, Feature, Features, Limits, Policy, Profile, Reason,
    Setting, Sysctls, Verdict,
};
use tcp_window_audit::frame::{Batch, Frame};
use tcp_window_audit::kernel::compare::reason_code;
use tcp_window_audit::segment::Direction;
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::tuple::FlowKey;
use tcp_window_audit::wire::fragments::Reassembler;
use tcp_window_audit::wire::{Checksums, Decoded, IcmpError, Packet, decode_with};

use crate::scenario::testdata;

/// The kernels that were asked.
const KERNELS: [&str; 6] = ["4.19.48", "5.10.262", "6.1.192", "6.12.117", "6.18.44", "7.3rc7"];

/// What a kernel said of one frame; absent fields were not recorded.
#[derive(Deserialize, Debug)]
struct Said {
    n: u64,
    v: String,
    d: Option<String>,
    st: Option<String>,
    #[serde(default)]
    why: Vec<String>,
    ws: Option<[u8; 2]>,
    fl: Option<[u8; 2]>,
    to: Option<i64>,
    w: Option<[[u32; 4]; 2]>,
    last: Option<[u32; 8]>,
    rt: Option<u8>,
}

#[test]
fn the_model_says_what_six_kernels_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if !root.join("verdicts").is_dir() {
        eprintln!("skipped: {} is not there", root.join("verdicts").display());
        return;
    }
    let (mut frames, mut found) = (0, BTreeMap::new());
    for kernel in KERNELS {
        for recording in recordings(&root.join("verdicts").join(kernel)) {
            let name = recording.file_name().unwrap().to_str().unwrap().to_owned();
            let (capture, mode) = split_name(&name);
            let Some(path) = capture_path(&root.join("captures/dev"), capture) else { continue };
            let mut model = Model::new(kernel, mode);
            let (compared, differing) = model.compare(&path, &read(&recording));
            frames += compared;
            if differing > 0 {
                *found.entry(capture.to_owned()).or_insert(0) += differing;
            }
        }
    }
    eprintln!("{frames} frames compared with {} kernels", KERNELS.len());
    assert!(frames > 880_000, "only {frames} frames compared");
    assert_eq!(found, known_differences());
}

/// The differences that are known, with their reasons: a line a capture, over all kernels and modes.
fn known_differences() -> BTreeMap<String, usize> {
    let path = testdata().join("conntrack/divergences.txt");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [capture, count, reason] = line.splitn(3, '\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            assert!(!reason.is_empty(), "{line}");
            (capture.to_owned(), count.parse().unwrap())
        })
        .collect()
}

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Splits `x.pcap.strict.jsonl.gz` into capture and mode.
fn split_name(name: &str) -> (&str, Setting) {
    if let Some(capture) = name.strip_suffix(".strict.jsonl.gz") {
        return (capture, Setting::Off);
    }
    (name.strip_suffix(".liberal.jsonl.gz").unwrap(), Setting::On)
}

fn capture_path(folder: &Path, name: &str) -> Option<PathBuf> {
    let plain = folder.join(name);
    let packed = folder.join(format!("{name}.gz"));
    [plain, packed].into_iter().find(|path| path.is_file())
}

fn read(recording: &Path) -> Vec<Said> {
    let mut text = String::new();
    let file = std::fs::File::open(recording).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The model as one kernel, and its entries.
struct Model {
    features: Features,
    limits: Limits,
    entries: BTreeMap<FlowKey, Option<Entry>>,
    reassembler: Reassembler,
}

impl Model {
    fn new(kernel: &str, be_liberal: Setting) -> Self {
        let profile = Profile::for_release(kernel).unwrap().profile;
        let sysctls = Sysctls { be_liberal, ..Sysctls::default() };
        Self {
            features: Policy::new(profile, &sysctls).features(),
            limits: Limits::default(),
            entries: BTreeMap::new(),
            reassembler: Reassembler::new(Checksums::Enforced),
        }
    }

    /// Judges a capture; returns how many frames were compared and how many differ.
    fn compare(&mut self, capture: &Path, said: &[Said]) -> (usize, usize) {
        let mut file = source::open(capture, Timeline::default()).unwrap();
        let (mut batch, mut compared, mut differing) = (Batch::default(), 0, 0);
        // What comes before damage is judged.
        while file.fill(&mut batch).unwrap_or(false) {
            for frame in batch.frames(0..batch.len()) {
                let Some(said) = said.get(frame.number as usize - 1) else { continue };
                assert_eq!(said.n, frame.number);
                let Some(agrees) = self.judge(&frame, said) else { continue };
                compared += 1;
                if !agrees {
                    differing += 1;
                    if std::env::var_os("SHOW_DIFFERENCES").is_some() {
                        println!("{} {said:?}", capture.display());
                    }
                }
            }
        }
        (compared, differing)
    }

    /// Judges a frame; none when it is not about TCP for either side.
    fn judge(&mut self, frame: &Frame<'_>, said: &Said) -> Option<bool> {
        let decoded = match decode_with(frame, Checksums::Enforced) {
            Decoded::Fragment(fragment) => {
                let piece = fragment.read(frame);
                match self.reassembler.add(&piece, frame.clock) {
                    Some(decoded) => decoded,
                    None => return Some(said.v == "fragment-held"),
                }
            }
            decoded => decoded,
        };
        match decoded {
            Decoded::Segment(Packet { key, orientation, ref segment }) => {
                let arrival = Arrival { segment, orientation, now: frame.clock };
                let slot = self.entries.entry(key).or_default();
                let choices = &mut Choices::new(self.features);
                let verdict = judge(slot, &arrival, &self.limits, choices);
                let entry = *slot;
                Some(self.agrees(&verdict, entry.as_ref(), said, frame))
            }
            Decoded::TcpError(IcmpError { key, orientation, traits, .. }) => {
                let arrival = ErrorArrival { quoted: orientation, traits, now: frame.clock };
                let entry = self.entries.get(&key).copied().flatten();
                let choices = &mut Choices::new(self.features);
                let verdict = judge_error(entry.as_ref(), &arrival, choices);
                let wanted = (verdict.ctstate.name().to_lowercase(), direction(&verdict));
                Some((said.v.clone(), said.d.clone()) == wanted)
            }
            // What the kernel says of TCP must not have been missed here.
            _ if said.st.is_some() => Some(false),
            _ => None,
        }
    }

    fn agrees(
        &self,
        verdict: &Verdict,
        entry: Option<&Entry>,
        said: &Said,
        frame: &Frame<'_>,
    ) -> bool {
        let state = entry.map(|entry| entry.state.name());
        verdict.ctstate.name().to_lowercase() == said.v
            && direction(verdict) == said.d
            && state == said.st.as_deref()
            && self.reasons(verdict)
                == said.why.iter().filter_map(|text| reason_code(text)).collect::<Vec<_>>()
            && entry.is_none_or(|entry| self.numbers_agree(entry, said, frame))
    }

    fn numbers_agree(&self, entry: &Entry, said: &Said, frame: &Frame<'_>) -> bool {
        let sides = Direction::BOTH.map(|direction| &entry.sides[direction]);
        let last = &entry.last;
        let unscaled = self.features.contains(Feature::LastWinUnscaled);
        let win = if unscaled { last.win } else { last.scaled_win };
        let timeout_s = entry.expires.nanos_since(frame.clock) / 1_000_000_000;
        // Two fields of the recording are read from memory that holds one more bit there.
        said.ws.is_none_or(|ws| ws == sides.map(|side| side.scale))
            && said.fl.is_none_or(|flags| flags == sides.map(|side| side.flags.0))
            && said.to.is_none_or(|to| to == timeout_s)
            && said.w.is_none_or(|w| {
                w == sides.map(|side| [side.end.0, side.max_end.0, side.max_win, side.max_ack.0])
            })
            && said.last.is_none_or(|said| {
                let (direction, class) = (last.direction as u32, last.class as u32);
                let (wscale, flags) = (u32::from(last.wscale), u32::from(last.flags.0));
                let numbers = [last.seq.0, last.ack.0, last.end.0, u32::from(win)];
                let [seq, ack, end, win] = numbers;
                said == [direction, class, seq, ack, end, win, wscale, flags]
            })
            && said.rt.is_none_or(|retrans| retrans == entry.retrans.of(self.features))
    }

    /// The codes of what this kernel logs.
    fn reasons(&self, verdict: &Verdict) -> Vec<&'static str> {
        let is_silent = |reason: &Reason| match reason {
            Reason::PickupDisabled | Reason::NotTrackable => true,
            Reason::InvalidNew => !self.features.contains(Feature::LogInvalidNew),
            Reason::TcpShort => !self.features.contains(Feature::HeaderCheckBeforeLookup),
            _ => false,
        };
        let reason = verdict.reason.filter(|reason| !is_silent(reason)).map(Reason::code);
        reason.into_iter().chain(verdict.timeout_lowered.then_some("timeout_lowered")).collect()
    }
}

/// `o` or `r`; an INVALID packet has no direction in the recording.
fn direction(verdict: &Verdict) -> Option<String> {
    let direction = verdict.direction.filter(|_| !verdict.is_invalid())?;
    Some(direction.name()[..1].to_owned())
}
