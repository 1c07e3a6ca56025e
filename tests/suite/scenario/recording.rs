//! Proof of the reader: what it reads from our text is what was recorded.
//!
//! `CONNTRACK_RECORDINGS` names the folder with the recordings that `tests/convert_scenarios.py`
//! was given; without it there is nothing to compare with and the test says so.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use serde_json::Value;
use tcp_window_audit::segment::{Direction, PerDirection};

use super::{
    Expected, Host, LastMark, Mark, PROFILES, Packet, START, Scenario, Settings, SideMark, Step,
};

#[test]
fn the_text_files_say_what_was_recorded() {
    let Some(folder) = std::env::var_os("CONNTRACK_RECORDINGS").map(PathBuf::from) else {
        eprintln!("skipped: CONNTRACK_RECORDINGS does not name the folder of recordings");
        return;
    };
    let plain = std::fs::read_to_string(folder.join("conntrack-scenarios.jsonl")).unwrap();
    assert_eq!(compare(&plain, &super::scenarios()), 769 * PROFILES.len());
    let packed = std::fs::read(folder.join("conntrack-vectors.jsonl.gz")).unwrap();
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut unpacked).unwrap();
    assert_eq!(compare(&unpacked, &super::vectors()), 3200 * PROFILES.len());
}

/// Compares everything and returns the number of expectations compared.
fn compare(recording: &str, scenarios: &[Scenario]) -> usize {
    let by_id: BTreeMap<&str, &Scenario> =
        scenarios.iter().map(|scenario| (scenario.id.as_str(), scenario)).collect();
    let mut compared = 0;
    for line in recording.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let scenario = by_id[record["id"].as_str().unwrap()];
        assert_eq!(scenario.settings, settings(&record["cfg"]), "{}", scenario.name);
        let packets = record["packets"].as_array().unwrap();
        assert_eq!(scenario.steps.len(), packets.len(), "{}", scenario.name);
        for (step, packet) in scenario.steps.iter().zip(packets) {
            compare_packet(&scenario.name, step, packet);
        }
        for group in record["expect"].as_array().unwrap() {
            compared += compare_group(scenario, group);
        }
    }
    compared
}

fn compare_packet(name: &str, step: &Step, packet: &Value) {
    let from = if packet["from"] == "A" { Host::A } else { Host::B };
    let at = format!("{name}:{}", step.line);
    assert_eq!(step.from, from, "{at}");
    assert_eq!(step.time.nanos_since(START), int::<i64>(&packet["t_ms"]) * 1_000_000, "{at}");
    if let Some(raw) = packet["raw"].as_str() {
        assert_eq!(step.packet.raw, Some(bytes(raw)), "{at}");
        assert_eq!(raw.len() / 2, int::<usize>(&packet["raw_len"]), "{at}");
        return;
    }
    let recorded = Packet {
        seq: int(&packet["seq"]),
        ack: int(&packet["ack"]),
        flags: int(&packet["flags"]),
        win: int(&packet["win"]),
        options: bytes(packet["opts"].as_str().unwrap()),
        len: int(&packet["payload_len"]),
        bad_checksum: !packet["bad_checksum"].is_null(),
        raw: None,
    };
    assert_eq!(step.packet, recorded, "{at}");
}

fn compare_group(scenario: &Scenario, group: &Value) -> usize {
    let mut compared = 0;
    for profile in group["profiles"].as_array().unwrap() {
        let index = PROFILES.iter().position(|name| profile == *name).unwrap();
        let checks = scenario.checks(index);
        for (check, row) in checks.iter().zip(group["rows"].as_array().unwrap()) {
            assert_eq!(*check.expected, expected(row), "{}:{}", scenario.name, check.line);
            compared += 1;
        }
    }
    compared
}

fn settings(cfg: &Value) -> Settings {
    assert_eq!(cfg.as_object().unwrap().len(), 5);
    Settings {
        loose: int(&cfg["loose"]),
        be_liberal: int(&cfg["be_liberal"]),
        max_retrans: int(&cfg["max_retrans"]),
        ignore_invalid_rst: int(&cfg["ignore_invalid_rst"]),
        checksum: int(&cfg["checksum"]),
    }
}

fn expected(row: &Value) -> Expected {
    let state = row["state"].as_str().map(str::to_owned);
    Expected {
        ctstate: row["ct"].as_str().unwrap().to_owned(),
        reasons: row["rc"]
            .as_array()
            .unwrap()
            .iter()
            .map(|code| code.as_str().unwrap().to_lowercase())
            .collect(),
        ttl_ms: state.as_ref().map(|_| int(&row["ttl_ms"])),
        mark: state.as_ref().map(|_| mark(row)),
        log: row["log"].as_str().map(str::to_owned),
        state,
    }
}

fn mark(row: &Value) -> Mark {
    let last = &row["last"];
    assert_eq!(last.as_array().unwrap().len(), 9);
    Mark {
        pkt_dir: match row["pkt_dir"].as_str().unwrap() {
            "original" => Direction::Original,
            "reply" => Direction::Reply,
            other => panic!("direction {other}"),
        },
        seen_reply: row["seen_reply"].as_bool().unwrap(),
        assured: row["assured"].as_bool().unwrap(),
        sides: PerDirection { original: side(&row["orig"]), reply: side(&row["reply"]) },
        last: LastMark {
            dir: Direction::BOTH[int::<usize>(&last[0])],
            index: int(&last[1]),
            retrans: int(&last[2]),
            seq: int(&last[3]),
            ack: int(&last[4]),
            end: int(&last[5]),
            win: int(&last[6]),
            wscale: int(&last[7]),
            flags: int(&last[8]),
        },
    }
}

fn side(numbers: &Value) -> SideMark {
    assert_eq!(numbers.as_array().unwrap().len(), 6);
    SideMark {
        end: int(&numbers[0]),
        max_end: int(&numbers[1]),
        max_win: int(&numbers[2]),
        max_ack: int(&numbers[3]),
        scale: int(&numbers[4]),
        flags: int(&numbers[5]),
    }
}

fn int<T: TryFrom<i64>>(value: &Value) -> T {
    let number = value.as_i64().unwrap();
    T::try_from(number).ok().unwrap_or_else(|| panic!("{number} is out of range"))
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
