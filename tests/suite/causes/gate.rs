//! What the capture itself leaves out: whatever carries no payload, one direction, some fragments; and
//! what looks as if it left something out, or as if packets were lost.

use serde_json::Value;

use super::{WIN, healthy, later, level, line, only, report, report_on, verdict};
use crate::conversation::{ACK, FIN, From, Line, SYN, capture_with, handshake};

/// A question and its answer, as a filter on content leaves them.
fn messages() -> Vec<Line> {
    vec![line(21, From::Client, ACK, (1, 1), 100), line(31, From::Server, ACK, (1, 101), 1000)]
}

/// The percent that a shortcoming leaves of a score, if it is told.
fn leaves(report: &Value, code: &str) -> Option<u64> {
    let shortcomings = report["quality"]["shortcomings"].as_array().unwrap();
    let found = shortcomings.iter().find(|found| found["code"] == code)?;
    Some(found["percent"].as_u64().unwrap())
}

#[test]
fn messages_alone_were_filtered_and_not_begun_before() {
    let report = report("messages", &[messages(), messages(), later(1000, &messages())]);
    assert_eq!(verdict(&report), ("cannot_judge", None));
    let sentence = report["verdict"]["sentence"].as_str().unwrap();
    assert!(sentence.ends_with("capture without it."), "{sentence}");
    assert_eq!(leaves(&report, "filtered"), Some(0));
    assert_eq!((level(&report, "C20"), leaves(&report, "mid_stream")), (None, None));
}

#[test]
fn messages_beside_whole_connections_leave_those_to_be_judged() {
    let whole = later(1000, &healthy());
    let report = report("beside_messages", &[messages(), messages(), whole]);
    assert_eq!(verdict(&report), ("none", None));
    assert_eq!((leaves(&report, "filtered"), level(&report, "C20")), (Some(100), None));
}

/// Acknowledgements that may still come, or that are there, show no filter; nor does one connection,
/// of which the capture may have lost one.
#[test]
fn connections_begun_before_are_told_as_such() {
    let mut acknowledged = messages();
    acknowledged.push(line(41, From::Client, ACK, (101, 1001), 0));
    let end = later(1000, &healthy());
    for (name, conversations) in [
        ("cut_at_the_end", vec![messages(), messages()]),
        ("acknowledged", vec![messages(), messages(), acknowledged, end.clone()]),
        ("one_alone", vec![messages(), end]),
    ] {
        let report = report(name, &conversations);
        assert_eq!(leaves(&report, "filtered"), None, "{name}");
        assert!(level(&report, "C20").is_some(), "{name}");
    }
}

#[test]
fn a_direction_from_its_syn_ack_on_did_not_begin_before() {
    let half = only(From::Server, &healthy());
    let report = report("answers", &[half.clone(), half]);
    assert_eq!((leaves(&report, "one_sided"), level(&report, "C20")), (Some(0), None));
    assert_eq!(leaves(&report, "mid_stream"), None);
}

/// A cause that speaks of the capture says that its quality does not matter, and does not claim another.
#[test]
fn no_score_claims_a_quality_that_the_report_does_not_have() {
    let mut half = only(From::Client, &healthy());
    half.retain(|line| line.flags & SYN == 0);
    let report = report("one_quality", &[half.clone(), half]);
    assert_eq!(report["quality"]["percent"], 0);
    assert_eq!(level(&report, "C20"), Some("probable"));
}

/// A connection that nothing but keep-alives was captured of.
fn kept_alive() -> Vec<Line> {
    vec![
        line(0, From::Client, ACK, (1000, 501), 0),
        line(20, From::Server, ACK, (501, 1001), 0),
        line(45_000, From::Client, ACK, (1000, 501), 0),
        line(45_020, From::Server, ACK, (501, 1001), 0),
    ]
}

#[test]
fn keepalives_of_connections_met_in_the_middle_miss_no_byte() {
    let report = report("kept_alive", &[kept_alive(), kept_alive(), healthy()]);
    assert_eq!(leaves(&report, "missed_frames"), None);
    assert_eq!(report["quality"]["percent"], 100);
}

/// A handshake and an exchange in which the server sends SYN-ACK and FIN twice at once, and the client
/// shuts its window once it has closed.
fn doubled() -> Vec<Line> {
    vec![
        line(0, From::Client, SYN, (0, 0), 0),
        line(10, From::Server, SYN | ACK, (0, 1), 0),
        line(11, From::Client, ACK, (1, 1), 0),
        line(12, From::Server, SYN | ACK, (0, 1), 0),
        line(21, From::Client, ACK, (1, 1), 100),
        line(31, From::Server, ACK, (1, 101), 1000),
        line(32, From::Client, ACK | FIN, (101, 1001), 0),
        line(42, From::Server, ACK | FIN, (1001, 102), 0),
        Line { win: 0, ..line(43, From::Client, ACK, (102, 1002), 0) },
        line(44, From::Server, ACK | FIN, (1001, 102), 0),
        Line { win: 0, ..line(1045, From::Client, ACK, (102, 1002), 0) },
    ]
}

#[test]
fn what_a_host_sends_twice_at_once_is_no_loss() {
    let report = report("doubled", &[doubled(), healthy()]);
    assert_eq!(verdict(&report), ("none", None));
    assert_eq!(level(&report, "C24"), None);
    assert_eq!(report["endpoints"]["segments"]["unprompted"]["packets"], 2);
    assert_eq!(report["quality"]["percent"], 100);
}

/// The later fragment of a datagram from the server, whose first is not there.
fn later_fragment(id: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 60];
    packet.extend(id.to_be_bytes());
    packet.extend([0, 93, 64, 6, 0, 0, 198, 51, 100, 1, 192, 0, 2, 1]);
    packet.resize(60, 0);
    packet
}

#[test]
fn where_fragments_are_missing_no_larger_buffer_is_advised() {
    let mut lines = handshake(WIN);
    lines.extend([
        line(21, From::Client, ACK, (1, 1), 100),
        line(41, From::Client, ACK | FIN, (101, 1001), 0),
        line(51, From::Server, ACK | FIN, (1001, 102), 0),
        line(61, From::Client, ACK, (102, 1002), 0),
    ]);
    let advice = |name: &str, others: &[(u64, Vec<u8>)]| {
        let report = report_on(name, &capture_with(&[lines.clone(), healthy()], others), &[]);
        assert_eq!(verdict(&report).1, Some("capture_loss"), "{report}");
        report["causes"][0]["notes"].to_string()
    };
    let whole = advice("lost_whole", &[]);
    assert!(whole.contains("larger buffer and a filter"), "{whole}");
    let pieces = advice("lost_pieces", &[(31, later_fragment(900)), (31, later_fragment(901))]);
    assert!(pieces.contains("2 fragments are there of datagrams"), "{pieces}");
}

#[test]
fn where_the_capture_exchanged_packets_nothing_is_called_lost() {
    let mut lines = handshake(WIN);
    lines.push(line(21, From::Client, ACK, (1, 1), 100));
    for n in 0..12 {
        let (millis, seq) = (31 + 20 * u64::from(n), 1 + 1000 * n);
        lines.push(line(millis, From::Client, ACK, (101, seq + 1000), 0));
        lines.push(line(millis + 1, From::Server, ACK, (seq, 101), 1000));
    }
    let report = report("exchanged", &[lines, healthy()]);
    assert_eq!(verdict(&report).1, Some("capture_loss"), "{report}");
    let notes = report["causes"][0]["notes"].as_array().unwrap();
    let [note] = &notes[..] else { panic!("no gap makes all that follows INVALID: {notes:?}") };
    assert!(note.as_str().unwrap().starts_with("No frame is missing, and no larger"), "{note}");
}
