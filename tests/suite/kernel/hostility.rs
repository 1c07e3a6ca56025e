//! Hostile traffic through the live kernel: it is judged, and what it is made for happens.

use std::collections::BTreeMap;

use tcp_window_audit::kernel::{Oracle, OracleSettings, TimeMode};

use super::oracle;
use crate::hostile::Hostile;

#[test]
fn hostile_traffic_meets_every_rule() {
    let Some(mut oracle) = oracle(&OracleSettings::default()) else { return };
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (time_ns, packet) in Hostile::new(1).take(200_000) {
        let verdict = oracle.judge(&packet, time_ns).unwrap();
        *seen.entry(verdict.state.name().to_owned()).or_default() += 1;
        if let Some(tcp) = verdict.entry.and_then(|entry| entry.tcp) {
            *seen.entry(tcp.state.name().to_owned()).or_default() += 1;
        }
        for text in verdict.reasons {
            let text: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
            *seen.entry(text).or_default() += 1;
        }
    }
    for (k, v) in &seen {
        println!("{v:8} {k}");
    }
}

#[test]
#[ignore = "measures: run with --release --nocapture"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn packets_per_second() {
    let packets: Vec<_> = Hostile::new(2).take(500_000).collect();
    for time in [TimeMode::Fast, TimeMode::Virtual] {
        let settings = OracleSettings { time, ..OracleSettings::default() };
        let Some(mut oracle) = oracle(&settings) else { return };
        let start = std::time::Instant::now();
        let count = judge_all(&mut oracle, &packets);
        let rate = count as u128 * 1_000_000 / start.elapsed().as_micros();
        println!("{time:?}: {rate} packets/s");
    }
}

fn judge_all(oracle: &mut Oracle, packets: &[(i64, Vec<u8>)]) -> usize {
    packets.iter().filter(|(time_ns, packet)| oracle.judge(packet, *time_ns).is_ok()).count()
}
