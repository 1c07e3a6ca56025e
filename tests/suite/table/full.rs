//! What a full table refuses, beside what a real kernel refused: `testdata/conntrack/table_full.md`.

use tcp_window_audit::conntrack::TcpState;
use tcp_window_audit::conntrack::profile::TableEra;
use tcp_window_audit::occupancy::{After, Life, Phase, simulation};
use tcp_window_audit::time::Timestamp;
use tcp_window_audit::tuple::FlowKey;

use crate::generate::Random;

/// So many open connections, then so many single packets of UDP, one each 2 ms.
fn lives(connections: u32, queries: u32, seed: u64) -> Vec<Life> {
    let mut random = Random(seed);
    let mut end = || {
        let word = random.word();
        (0x0a01_0000 | word >> 16, 1024 + (word & 0x7fff) as u16)
    };
    let mut lives = Vec::new();
    for n in 0..connections + queries {
        let start = Timestamp(i64::from(n) * 2_000_000);
        let is_open = n < connections;
        let (protocol, port) = if is_open { (6, 443) } else { (17, 53) };
        let (key, original) = FlowKey::of_v4(protocol, end(), (0x0a02_0001, port));
        let phase = if is_open { Phase::Tcp(TcpState::Established) } else { Phase::UdpUnreplied };
        let mut life = Life { original, ..Life::new(key, u64::from(n), start, phase) };
        life.end = start.plus_nanos(30_000_000_000);
        life.assured = if is_open { After::between(start, start) } else { After::NEVER };
        lives.push(life);
    }
    lives
}

/// Means of dropped and of early dropped over several seeds.
fn refused(connections: u32, queries: u32) -> (f64, f64) {
    const SEEDS: u64 = 40;
    let (mut dropped, mut early) = (0, 0);
    for seed in 0..SEEDS {
        let lives = lives(connections, queries, seed);
        let outcome = simulation::run(&lives, Some(500), 512, TableEra::OneEntryABucket);
        dropped += outcome.dropped.values().sum::<u64>();
        early += outcome.early_dropped.values().sum::<u64>();
        assert_eq!(outcome.highest, 500);
    }
    (dropped as f64 / SEEDS as f64, early as f64 / SEEDS as f64)
}

#[test]
fn a_full_table_refuses_as_many_flows_as_a_real_kernel_did() {
    // Six runs of the kernel scatter by 7 and 6 around their means.
    for (traffic, kernel) in [((450, 400), (72.3, 277.7)), ((490, 300), (215.7, 74.3))] {
        let (dropped, early) = refused(traffic.0, traffic.1);
        println!("{traffic:?}: {dropped} dropped, {early} given up; kernel {kernel:?}");
        assert!((dropped - kernel.0).abs() < 8.0, "{traffic:?}: {dropped} dropped");
        assert!((early - kernel.1).abs() < 8.0, "{traffic:?}: {early} given up");
    }
}
