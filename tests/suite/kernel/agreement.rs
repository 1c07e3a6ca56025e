//! The model beside the live kernel, on hostile traffic made for the purpose.

use tcp_window_audit::conntrack::{Policy, Profile, Setting, Sysctls};
use tcp_window_audit::frame::{Frame, LinkType};
use tcp_window_audit::kernel::compare::{Compared, Comparison};
use tcp_window_audit::kernel::host;
use tcp_window_audit::time::{CaptureClock, Timestamp};

use crate::hostile::Hostile;

/// Packets that every run of the tests compares in each mode.
const EVERYDAY: usize = 60_000;
/// Packets of the long run, over all its seeds.
const LONG_RUN: usize = 1_000_000;

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

/// Strict and liberal, and what else changes verdicts.
fn modes() -> Vec<Sysctls> {
    let strict = Sysctls { checksum: Setting::On, ..Sysctls::default() };
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

fn agree(seed: u64, packets: usize, sysctls: &Sysctls) {
    let release = host::release().unwrap();
    let profile = Profile::for_release(&release).unwrap().profile;
    let mut comparison = match Comparison::new(&Policy::new(profile, sysctls), sysctls) {
        Ok(comparison) => comparison,
        Err(error) => return println!("skipped: {error}"),
    };
    let (mut clock, mut compared) = (CaptureClock::default(), 0);
    for (number, (time_ns, bytes)) in (1..).zip(Hostile::new(seed).take(packets)) {
        let ts = Timestamp(time_ns);
        let original_len = bytes.len() as u32;
        let clock = clock.advance(ts);
        let link = LinkType::RAW;
        let interface = 0;
        let frame = Frame { number, ts, clock, link, interface, original_len, bytes: &bytes };
        let Some(judged) = comparison.judge(&frame).unwrap() else { continue };
        let Compared { model, kernel, texts, .. } = &judged;
        assert!(
            judged.agree(),
            "seed {seed} packet {number} {sysctls:?}\n model  {model}\n kernel {kernel}\n {texts:?}\n \
             {bytes:02x?}"
        );
        compared += 1;
    }
    println!("seed {seed}: {compared} packets, no difference to Linux {}", release.trim());
    assert!(compared * 10 > packets * 9, "only {compared} of {packets} compared");
}
