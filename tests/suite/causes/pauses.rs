//! Idle timeouts: pauses after which nobody answers, and those that are survived.

use super::{WIN, healthy, later, level, line, report, verdict};
use crate::conversation::{ACK, From, Line, RST, handshake};

/// What happens after a pause.
#[derive(Clone, Copy)]
enum After {
    Silence,
    Reset,
    Answer,
}

/// A request and its answer, a pause, and another request.
fn paused(seconds: u64, after: After) -> Vec<Line> {
    let mut lines = handshake(WIN);
    lines.extend([
        line(21, From::Client, ACK, (1, 1), 100),
        line(31, From::Server, ACK, (1, 101), 1000),
        line(32, From::Client, ACK, (101, 1001), 0),
    ]);
    let resumed = 32 + 1000 * seconds;
    lines.push(line(resumed, From::Client, ACK, (101, 1001), 100));
    match after {
        After::Silence => {
            for wait in [300, 900, 2100, 4500, 9300] {
                lines.push(line(resumed + wait, From::Client, ACK, (101, 1001), 100));
            }
        }
        After::Reset => lines.push(line(resumed + 10, From::Server, RST, (1001, 0), 0)),
        After::Answer => lines.push(line(resumed + 10, From::Server, ACK, (1001, 201), 500)),
    }
    lines
}

fn timeout(report: &serde_json::Value) -> String {
    let causes = report["causes"].as_array().unwrap();
    let cause = causes.iter().find(|cause| cause["id"] == "C12").unwrap();
    cause["params"]["timeout"].as_str().unwrap().to_owned()
}

#[test]
fn the_timeout_lies_between_the_longest_pause_survived_and_the_shortest_that_was_not() {
    for (name, after) in [("silent", After::Silence), ("reset", After::Reset)] {
        let report = report(
            name,
            &[
                paused(400, after),
                paused(360, after),
                paused(120, After::Answer),
                paused(340, After::Answer),
                later(450_000, &healthy()),
            ],
        );
        assert_eq!(verdict(&report), ("confirmed", Some("C12")), "{name}");
        assert_eq!(timeout(&report), "after more than 340 s and at most 360 s");
        let known = report["causes"][0]["params"]["known defaults"].as_str().unwrap();
        assert!(known.contains("AWS NLB"), "{known}");
    }
}

#[test]
fn pauses_that_are_survived_are_none() {
    let report = report("survived", &[paused(400, After::Answer), paused(4000, After::Answer)]);
    assert_eq!(level(&report, "C12"), None);
}

#[test]
fn a_server_that_never_comes_back_may_be_down() {
    let report = report("gone", &[paused(60, After::Silence), paused(62, After::Silence)]);
    assert!(matches!(level(&report, "C12"), Some("possible" | "probable")));
}

#[test]
fn longer_pauses_survived_speak_against_it() {
    let alive = later(450_000, &healthy());
    let report = report("contrary", &[paused(60, After::Reset), paused(400, After::Answer), alive]);
    assert!(matches!(level(&report, "C12"), None | Some("possible")));
}
