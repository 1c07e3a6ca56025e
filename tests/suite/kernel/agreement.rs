//! The model beside the live kernel, on hostile traffic made for the purpose.

use std::path::Path;

use tcp_window_audit::conntrack::{Policy, Profile, Setting, Sysctls};
use tcp_window_audit::frame::{Batch, Frame};
use tcp_window_audit::kernel::compare::{Compared, Comparison, Judged, Model, TimeoutTold};
use tcp_window_audit::kernel::{Error, host};
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::time::NANOS_PER_SEC;

use super::repeat::{self, Judge, Parties};
use crate::scenario::{Scenario, parse};
use crate::scenarios::replay;

/// Packets that every run of the tests compares in each mode.
const EVERYDAY: usize = 60_000;
/// Packets of the long run, over all its seeds.
const LONG_RUN: usize = 1_000_000;
/// Where the tests of the files put them.
const ON_PURPOSE: &str = "differences_on_purpose";

#[test]
fn the_model_says_what_the_live_kernel_says_of_hostile_traffic() {
    for (seed, sysctls) in (1..).zip(modes()) {
        agree(seed, EVERYDAY, &sysctls);
    }
}

#[test]
#[ignore = "takes minutes: a million packets in every mode"]
fn the_model_says_what_the_live_kernel_says_of_a_million_packets() {
    for sysctls in modes() {
        for seed in 100..110 {
            agree(seed, LONG_RUN / 10, &sysctls);
        }
    }
}

/// The model is liberal and the kernel is not: a difference made on purpose.
#[test]
fn a_difference_to_the_live_kernel_becomes_a_conversation() {
    for seed in [7, 8] {
        let sysctls = strict();
        let (policy, release) = (policy(&sysctls), host::release().unwrap());
        let wrong = policy.liberal();
        let mut judge = match live(wrong, &sysctls) {
            Ok(judge) => judge,
            Err(error) => return println!("skipped: {error}"),
        };
        let difference = repeat::seek(seed, EVERYDAY, &mut judge).unwrap_err();
        let parties =
            Parties { policy: wrong, sysctls: &sysctls, release: &release, folder: ON_PURPOSE };
        let path = repeat::write(&difference, parties, &|| live(wrong, &sysctls).unwrap());
        check_conversation(&path);
    }
}

/// The same where no kernel can be asked: one model stands for it, a liberal one for the model.
#[test]
fn a_difference_between_two_models_becomes_a_conversation() {
    let sysctls = strict();
    let right = Policy::new(Profile::DEFAULT, &sysctls);
    let wrong = right.liberal();
    for seed in 20..28 {
        let judges = || two_models(wrong, right, &sysctls);
        let difference = repeat::seek(seed, EVERYDAY, &mut judges()).unwrap_err();
        let parties =
            Parties { policy: wrong, sysctls: &sysctls, release: "none", folder: ON_PURPOSE };
        check_conversation(&repeat::write(&difference, parties, &judges));
    }
}

/// Whatever the kernel says of a packet can be written: here the model is silent about one rule.
#[test]
fn a_difference_about_any_rule_becomes_a_conversation() {
    let sysctls = strict();
    let right = Policy::new(Profile::DEFAULT, &sysctls);
    for code in ["tcp_bad_csum", "tcp_truncated", "tcp_bad_flags", "rst_invalid", "timeout_lowered"]
    {
        let judges = || {
            let mut judge = two_models(right, right, &sysctls);
            let silent = move |frame: &Frame<'_>| {
                let mut compared = judge(frame)?;
                compared.model.reasons.retain(|reason| *reason != code);
                Some(compared)
            };
            Box::new(silent) as Judge
        };
        let difference = repeat::seek(40, EVERYDAY, &mut judges()).unwrap_err();
        let parties =
            Parties { policy: right, sysctls: &sysctls, release: "none", folder: ON_PURPOSE };
        let path = repeat::write(&difference, parties, &judges);
        let text = std::fs::read_to_string(&path).unwrap();
        let scenario = parse::scenario(code, &text).unwrap();
        assert_eq!(replay(&scenario), scenario.steps.len(), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.contains(code), "{code} is not what the file ends with: {text}");
    }
}

/// An ICMP error has no place in a conversation file: a capture holds it, with all that led to it.
#[test]
fn a_difference_about_an_icmp_error_becomes_a_capture() {
    let sysctls = strict();
    let right = Policy::new(Profile::DEFAULT, &sysctls);
    let judges = || {
        let mut judge = two_models(right, right, &sysctls);
        let blind = move |frame: &Frame<'_>| {
            let mut compared = judge(frame)?;
            if compared.kernel.ctstate == "related" {
                compared.model.ctstate = "invalid".to_owned();
            }
            Some(compared)
        };
        Box::new(blind) as Judge
    };
    let difference = repeat::seek(50, EVERYDAY, &mut judges()).unwrap_err();
    let parties = Parties { policy: right, sysctls: &sysctls, release: "none", folder: ON_PURPOSE };
    let path = repeat::write(&difference, parties, &judges);
    let mut capture = source::open(&path, Timeline::default()).unwrap();
    let (mut batch, mut judge, mut agreed) = (Batch::default(), judges(), Vec::new());
    while capture.fill(&mut batch).unwrap() {
        agreed
            .extend(batch.frames(0..batch.len()).filter_map(|frame| judge(&frame)?.agree().into()));
    }
    let last = agreed.pop();
    assert!(last == Some(false) && agreed.iter().all(|agree: &bool| *agree), "{agreed:?} {last:?}");
}

/// The right model passes the file as if it were in `testdata/scenarios`, the wrong one does not, and
/// no packet of it is too much.
fn check_conversation(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    println!("{}\n{text}", path.display());
    let read = || -> Scenario { parse::scenario(&path.display().to_string(), &text).unwrap() };
    assert_eq!(replay(&read()), read().steps.len(), "one kernel is compared, all packets");
    let fails = |mut scenario: Scenario| {
        scenario.settings.be_liberal = 1;
        std::panic::catch_unwind(|| replay(&scenario)).is_err()
    };
    assert!(fails(read()), "{text}");
    let mut cut = read();
    cut.steps.pop();
    assert!(!fails(cut), "the last packet is the first that differs: {text}");
    assert!(read().steps.len() < 10, "{text}");
}

/// Strict and liberal, and what else changes verdicts.
fn modes() -> Vec<Sysctls> {
    let strict = strict();
    let mut patient = strict;
    patient.set("nf_conntrack_tcp_max_retrans", "0").unwrap();
    vec![
        strict,
        Sysctls { be_liberal: Setting::On, ..strict },
        Sysctls { loose: Setting::Off, ..strict },
        Sysctls { ignore_invalid_rst: Setting::On, ..strict },
        Sysctls { checksum: Setting::Off, ..strict },
        patient,
    ]
}

fn strict() -> Sysctls {
    Sysctls { checksum: Setting::On, ..Sysctls::default() }
}

/// The model of the kernel that runs here.
fn policy(sysctls: &Sysctls) -> Policy {
    let release = host::release().unwrap();
    Policy::new(Profile::for_release(&release).unwrap().profile, sysctls)
}

/// The model of `policy` and the kernel that runs here under `sysctls`, which have seen nothing.
fn live(policy: Policy, sysctls: &Sysctls) -> Result<Judge, Error> {
    let mut comparison = Comparison::new(&policy, sysctls)?;
    Ok(Box::new(move |frame| comparison.judge(frame).unwrap()))
}

/// Two models, the second of which stands for the kernel.
fn two_models(policy: Policy, kernel: Policy, sysctls: &Sysctls) -> Judge {
    let (mut model, mut kernel) = (Model::new(&policy, sysctls), Model::new(&kernel, sysctls));
    Box::new(move |frame| {
        let (ours, theirs) = (model.judge(frame)?, kernel.judge(frame)?);
        // As a kernel does, it tells the timeout that a packet has set, which is of whole seconds.
        let told = match theirs {
            Judged::Segment(_, Some(entry))
                if entry.expires.nanos_since(frame.clock) % NANOS_PER_SEC == 0 =>
            {
                TimeoutTold::Yes
            }
            _ => TimeoutTold::No,
        };
        Some(Compared {
            frame: frame.number,
            model: model.opinion(&ours, told, frame.clock),
            kernel: kernel.opinion(&theirs, told, frame.clock),
            texts: Vec::new(),
        })
    })
}

fn agree(seed: u64, packets: usize, sysctls: &Sysctls) {
    let (policy, release) = (policy(sysctls), host::release().unwrap());
    let mut judge = match live(policy, sysctls) {
        Ok(judge) => judge,
        Err(error) => return println!("skipped: {error}"),
    };
    let compared = repeat::seek(seed, packets, &mut judge).unwrap_or_else(|difference| {
        let parties = Parties { policy, sysctls, release: &release, folder: "differences" };
        let path = repeat::write(&difference, parties, &|| live(policy, sysctls).unwrap());
        let Compared { model, kernel, texts, .. } = &difference.compared;
        panic!(
            "seed {seed} packet {} {sysctls:?}\n model  {model}\n kernel {kernel}\n {texts:?}\n \
             {:02x?}\n {} shows it again: a .txt belongs into testdata/scenarios, a .pcap is for \
             `tcp-window-audit verify`",
            difference.number,
            difference.bytes,
            path.display(),
        )
    });
    println!("seed {seed}: {compared} packets, no difference to Linux {}", release.trim());
    assert!(compared * 10 > packets * 9, "only {compared} of {packets} compared");
}
