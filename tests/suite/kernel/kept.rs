//! What a real kernel said, kept in `testdata/recorded`, so that the model is proven without one.
//!
//! `UPDATE_EXPECT=1 cargo test --test suite kept`, as root, asks the running kernel and keeps its
//! answers in a folder named after its release.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tcp_window_audit::conntrack::{Policy, Profile, Setting, Sysctls};
use tcp_window_audit::frame::{Batch, Frame, LinkType};
use tcp_window_audit::kernel::compare::{Comparison, Model, TimeoutTold};
use tcp_window_audit::kernel::host;
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::time::{CaptureClock, Timestamp};

use crate::generate::cases::CASES;
use crate::hostile::Hostile;
use crate::scenario::testdata;

/// Packets of hostile traffic that are kept of each seed and mode.
const HOSTILE: usize = 3000;

/// Traffic that is kept: a capture of testdata, or hostile packets of a seed.
#[derive(Clone, Copy, Debug)]
enum Traffic {
    Capture(&'static str, &'static str),
    Hostile(u64),
}

impl Traffic {
    fn all() -> Vec<Self> {
        let captures = CASES.iter().map(|case| Self::Capture(case.name, case.file));
        captures.chain([11, 12].map(Self::Hostile)).collect()
    }

    fn name(self) -> String {
        match self {
            Self::Capture(name, _) => name.to_owned(),
            Self::Hostile(seed) => format!("hostile_{seed}"),
        }
    }

    fn for_each(self, mut take: impl FnMut(&Frame<'_>)) {
        match self {
            Self::Capture(name, file) => {
                let path = testdata().join("captures").join(name).join(file);
                let mut capture = source::open(&path, Timeline::default()).unwrap();
                let mut batch = Batch::default();
                while capture.fill(&mut batch).unwrap() {
                    batch.frames(0..batch.len()).for_each(|frame| take(&frame));
                }
            }
            Self::Hostile(seed) => {
                let mut clock = CaptureClock::default();
                for (number, (time_ns, bytes)) in (1..).zip(Hostile::new(seed).take(HOSTILE)) {
                    let (ts, original_len) = (Timestamp(time_ns), bytes.len() as u32);
                    let (clock, link) = (clock.advance(ts), LinkType::RAW);
                    take(&Frame {
                        number,
                        ts,
                        clock,
                        link,
                        original_len,
                        is_outbound: false,
                        bytes: &bytes,
                    });
                }
            }
        }
    }
}

fn sysctls(mode: &str) -> Sysctls {
    let be_liberal = if mode == "liberal" { Setting::On } else { Setting::Off };
    Sysctls { be_liberal, checksum: Setting::On, ..Sysctls::default() }
}

fn policy(release: &str, sysctls: &Sysctls) -> Policy {
    Policy::new(Profile::for_release(release).unwrap().profile, sysctls)
}

#[test]
fn the_model_says_what_is_kept_of_real_kernels() {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        record();
    }
    let mut compared = 0;
    for folder in std::fs::read_dir(testdata().join("recorded")).unwrap() {
        let folder = folder.unwrap().path();
        let release = folder.file_name().unwrap().to_str().unwrap();
        for traffic in Traffic::all() {
            for mode in ["strict", "liberal"] {
                compared += compare(&file(&folder, traffic, mode), release, traffic, mode);
            }
        }
    }
    assert!(compared > 15_000, "only {compared} packets compared");
}

fn file(folder: &Path, traffic: Traffic, mode: &str) -> PathBuf {
    folder.join(format!("{}.{mode}.txt", traffic.name()))
}

/// Compares the model with a file of kept answers, a line a packet.
fn compare(path: &Path, release: &str, traffic: Traffic, mode: &str) -> usize {
    let kept = std::fs::read_to_string(path).unwrap_or_else(|_| panic!("{}", path.display()));
    let mut lines = kept.lines().filter(|line| !line.starts_with('#'));
    let sysctls = sysctls(mode);
    let mut model = Model::new(&policy(release, &sysctls), &sysctls);
    let mut compared = 0;
    traffic.for_each(|frame| {
        let Some(judged) = model.judge(frame) else { return };
        let line = lines.next().unwrap();
        let has_timeout = line.split(" [").next().unwrap().ends_with(" s");
        let told = if has_timeout { TimeoutTold::Yes } else { TimeoutTold::No };
        let opinion = model.opinion(&judged, told, frame.clock);
        let place = format!("{} frame {}", path.display(), frame.number);
        assert_eq!(format!("{} {opinion}", frame.number), line, "{place}");
        compared += 1;
    });
    assert_eq!(lines.next(), None, "{}", path.display());
    compared
}

/// Asks the kernel that runs here, and keeps what it says.
fn record() {
    let release = host::release().unwrap();
    let version = release.split('-').next().unwrap();
    let folder = testdata().join("recorded").join(version);
    std::fs::create_dir_all(&folder).unwrap();
    for traffic in Traffic::all() {
        for mode in ["strict", "liberal"] {
            let sysctls = sysctls(mode);
            let mut comparison =
                Comparison::new(&policy(version, &sysctls), &sysctls).expect("run as root");
            let mut text = format!("# Linux {version}, {mode}: frame, what the kernel said\n");
            traffic.for_each(|frame| {
                if let Some(judged) = comparison.judge(frame).unwrap() {
                    writeln!(text, "{} {}", frame.number, judged.kernel).unwrap();
                }
            });
            std::fs::write(file(&folder, traffic, mode), text).unwrap();
        }
    }
}
