//! Conversations and what the ends did in them: the files of `testdata/flow/scenarios`.
//!
//! The packets are written as in `testdata/scenarios`, with two words more: `id N` is the IP
//! identification, `invalid` makes the packet INVALID. What stands behind `=>` happened with that
//! packet, in order; `= key value` at the end says what the whole flow showed. `UPDATE_EXPECT=1`
//! writes what follows `=>` and `=` again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tcp_window_audit::conntrack::{Arrival, CtState, Members, Reason, Verdict};
use tcp_window_audit::flow::{FlowAudit, Happening, Observation, SideSummary, Summary};
use tcp_window_audit::segment::Segment;
use tcp_window_audit::time::Timestamp;
use tcp_window_audit::tuple::{FlowKey, TCP};

use crate::scenario::parse::packet_of;
use crate::scenario::{Host, Settings, testdata};

/// The initial numbers of A and B: A's first data lies across the wrap.
const ISN: (u32, u32) = (4_294_967_290, 5_000_000);

struct Line {
    text: String,
    time_us: i64,
    from: Host,
    segment: Segment,
    invalid: bool,
}

fn read(text: &str) -> (String, Vec<Line>) {
    let head = text.lines().take_while(|line| line.starts_with('#') || line.is_empty());
    let mut head = head.collect::<Vec<_>>().join("\n");
    head.push('\n');
    let mut now = 0;
    let packets = text.lines().filter(|line| line.starts_with('+')).map(|line| {
        let left = line.split(" =>").next().unwrap().trim_end();
        let (wait, rest) = left[1..].split_once(' ').unwrap();
        let (seconds, fraction) = wait.split_once('.').unwrap();
        let micros: i64 = format!("{fraction:0<6}").parse().unwrap();
        now += seconds.parse::<i64>().unwrap() * 1_000_000 + micros;
        let (rest, invalid) =
            rest.strip_suffix(" invalid").map_or((rest, false), |rest| (rest, true));
        let (rest, id) = rest.split_once(" id ").unwrap_or((rest, "0"));
        let (from, packet) =
            packet_of(rest.trim(), ISN.0, ISN.1).unwrap_or_else(|error| panic!("{line}: {error}"));
        let ip_id = id.trim().parse().unwrap();
        let segment = Segment { ip_id, ..packet.segment(&Settings::default()) };
        Line { text: left.to_owned(), time_us: now, from, segment, invalid }
    });
    let packets = packets.collect();
    (head, packets)
}

/// Runs the conversation and writes it again with what happened.
fn run(text: &str) -> String {
    let (mut written, lines) = read(text);
    let mut audit: Option<FlowAudit> = None;
    for (frame, line) in (1..).zip(&lines) {
        let (a, b) = (line.from.endpoint(), line.from.flip().endpoint());
        let (_, orientation) = FlowKey::of(TCP, a, b);
        let ts = Timestamp(1_700_000_000_000_000_000 + line.time_us * 1000);
        let arrival = Arrival { segment: &line.segment, orientation, now: ts };
        let audit = audit.get_or_insert_with(|| {
            let mut audit = FlowAudit::new(frame, ts, &arrival);
            audit.tell_all();
            audit
        });
        let (verdict, liberal) = verdict(line.invalid, frame == 1);
        let invalid_for = Members::default();
        audit.observe(&Observation { frame, ts, arrival, verdict, liberal, invalid_for });
        let mut told = audit.take_story().unwrap();
        let happened: Vec<String> = told.events.drain(..).map(|event| word(&event.what)).collect();
        audit.tell_all();
        let right = happened.join(", ");
        let arrow = if right.is_empty() { String::new() } else { format!("  => {right}") };
        writeln!(written, "{}{arrow}", line.text).unwrap();
    }
    written.push('\n');
    written.push_str(&totals(&audit.unwrap().summary()));
    written
}

fn verdict(invalid: bool, opened: bool) -> (Verdict, CtState) {
    let verdict = Verdict::invalid(Reason::AckOver);
    if invalid {
        return (verdict, CtState::Established);
    }
    let ctstate = CtState::Established;
    (Verdict { ctstate, reason: None, opened, ..verdict }, ctstate)
}

fn word(what: &Happening) -> String {
    match what {
        Happening::Gap { bytes }
        | Happening::Overrun { bytes }
        | Happening::Shrunk { bytes }
        | Happening::AckedUnseen { bytes } => format!("{} {bytes}", what.code()),
        Happening::Effect { frame, effect } => format!("{} frame {frame}", effect.code()),
        Happening::Stalled(stall) => {
            format!("stall for {} ended by {}", stall.waiting.code(), stall.end.code())
        }
        _ => what.code().to_owned(),
    }
}

/// Says what the whole flow showed, leaving out what is zero.
fn totals(summary: &Summary) -> String {
    let mut text = format!("= {} {}\n", summary.conn_state.name(), summary.history());
    let mut tell = |key: &str, value: u64| {
        if value > 0 {
            writeln!(text, "= {key} {value}").unwrap();
        }
    };
    let handshake = &summary.handshake;
    tell("missed_bytes", summary.missed_bytes());
    tell("dropped", summary.effects.dropped);
    tell("not_dropped", summary.effects.not_dropped);
    tell("unknown", summary.effects.unknown);
    tell("syn_retries", handshake.syn_retries_us.len() as u64);
    tell("syn_acks_reset", handshake.syn_acks_reset.into());
    tell("challenge_acks", handshake.challenge_acks.into());
    tell("other_syn_acks", handshake.other_syn_acks.into());
    tell("options_changed", handshake.options_changed.into());
    tell("options_rewritten", handshake.options_rewritten.into());
    for (name, side) in [(">", &summary.sides.original), ("<", &summary.sides.reply)] {
        for (key, value) in of_side(side) {
            tell(&format!("{name} {key}"), value);
        }
    }
    text
}

fn of_side(side: &SideSummary) -> [(&'static str, u64); 16] {
    [
        ("sent_again", side.retransmitted.packets),
        ("sent_again_bytes", side.retransmitted.bytes),
        ("acked_before", side.acked_before.into()),
        ("longest_backoff", side.longest_backoff.into()),
        ("proofs_dsack", side.proofs.dsack.into()),
        ("proofs_eifel", side.proofs.eifel.into()),
        ("proofs_too_early", side.proofs.too_early.into()),
        ("zero_window_us", side.window.zero_us),
        ("silly", side.window.silly.into()),
        ("hidden_shift", side.hidden_shift.unwrap_or(0).into()),
        ("suspected_shift", side.suspected_shift.unwrap_or(0).into()),
        ("peer_is_blind", side.peer_is_blind.into()),
        ("rtt_min_us", side.rtt_min_us.unwrap_or(0).into()),
        ("rtt_handshake_us", side.rtt_handshake_us.unwrap_or(0).into()),
        ("sack_outside", (side.sack.beyond + side.sack.below).into()),
        ("max_flight", side.max_flight.into()),
    ]
}

fn files() -> Vec<PathBuf> {
    let folder: PathBuf = testdata().join("flow").join("scenarios");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn each_conversation_shows_what_its_file_says() {
    let files = files();
    assert!(files.len() >= 12);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let found = run(&text);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        assert!(text.starts_with("# "), "{} has no purpose", name(&path));
        assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{}", name(&path));
    }
}

#[test]
fn numbers_on_the_circle_change_nothing() {
    // The same conversation, moved by the constants of each side, is the same story: all files lie
    // across the wrap for A, and far from it for B; exchanging the roles exchanges the sides.
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let exchanged: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with('+'))
            .map(|line| {
                let left = line.split(" =>").next().unwrap();
                let (wait, rest) = left.split_once(' ').unwrap();
                let arrow = if rest.starts_with('>') { '<' } else { '>' };
                format!("{wait} {arrow}{}", &rest[1..])
            })
            .collect();
        let events = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| line.starts_with('+'));
            lines.map(|line| line.split_once("=>").unwrap_or_default().1.to_owned()).collect()
        };
        assert_eq!(events(&run(&exchanged.join("\n"))), events(&text), "{}", name(&path));
    }
}
