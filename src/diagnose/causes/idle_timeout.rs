//! C12: a box on the path forgets connections that pause, and what follows gets no answer or a RST.
//!
//! Does not: speak of a pause after which the connection goes on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::audit::Server;
use crate::diagnose::case::{Case, count, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};
use crate::flow::Pause;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C12",
    name: "idle_timeout",
    title: "a stateful box forgets idle connections",
    blames_a_device: true,
    mechanism: "A load balancer, NAT gateway or firewall drops its entry after some idle time. \
                The next segment gets no answer or draws a RST, and the application learns of it \
                minutes later.",
    signature: "The first segment after a pause is sent again and again, with doubling gaps, or \
                is reset, while shorter pauses of other flows go well: the timeout lies between \
                the longest pause survived and the shortest that was not.",
    look_alikes: "The peer was restarted or shut down; the path failed for all flows at once; a \
                  capture that begins within the pause.",
    remedy: "Keepalives more often than the timeout (net.ipv4.tcp_keepalive_time and \
             SO_KEEPALIVE), or a longer timeout on the box; nf_conntrack_tcp_loose=1 where the \
             box is Linux.",
    references: "RFC 1122, section 4.2.3.6; RFC 5382, section 5 (REQ-5); AWS NLB idle timeout \
                 (350 s)",
    diagnose: Some(diagnose),
    remedies,
});

/// How often the first packet after a pause must be sent again, without any answer.
const LEAST_REPEATS: u32 = 3;
/// The flows whose pause is listed.
const LISTED: usize = 8;
/// Idle timeouts in use, in seconds: those of the vendors' documents.
const DEFAULTS: [(u16, &str); 9] = [
    (60, "HTTP balancers (AWS ALB 60 s)"),
    (240, "Azure load balancer and NAT gateway (4 min)"),
    (300, "Linux while data is unacknowledged, F5 (5 min)"),
    (350, "AWS NLB and NAT gateway (350 s)"),
    (600, "Google Cloud (10 min)"),
    (900, "Linux IPVS (15 min)"),
    (1800, "Juniper SRX (30 min)"),
    (3600, "Cisco PIX and ASA, Palo Alto, FortiGate (1 h)"),
    (7440, "the least that RFC 5382 allows a NAT (2 h 4 min)"),
];

/// A flow that did not survive a pause.
struct Dead<'a> {
    case: &'a Case<'a>,
    pause: Pause,
}

/// What bounds the timeout, in seconds.
struct Bounds {
    /// The longest pause survived that is shorter than every one that was not.
    survived: u16,
    /// The shortest pause that was not survived.
    died: u16,
    /// Longer pauses survived towards the same servers.
    contradicting: u64,
}

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let dead: Vec<_> = facts.cases.iter().filter_map(find).collect();
    let died = dead.iter().map(|dead| dead.pause.seconds).min()?;
    let cases: Vec<_> = dead.iter().map(|dead| dead.case).collect();
    let servers = servers(facts, &dead);
    let bounds = bounds(facts, &servers, died);
    let finding = format!(
        "something on the path forgets {} that pause: {}",
        counted(count(&cases), "connection"),
        bounds.words()
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.score = score(facts, &dead, &servers, &bounds);
    diagnosis.notes = notes(&dead, &bounds);
    if bounds.contradicting > 0 {
        let servers = counted(bounds.contradicting, "server");
        diagnosis.against.push(format!("longer pauses went well towards {servers} of these"));
    }
    if !outlived(&dead, &servers) {
        diagnosis.against.push(
            "no new connection to the same server is answered afterwards: it may be down"
                .to_owned(),
        );
    }
    diagnosis.parameters =
        vec![("timeout".to_owned(), bounds.words()), ("known defaults".to_owned(), bounds.known())];
    diagnosis.parameters.extend(dead.iter().take(LISTED).map(parameter));
    diagnosis.evidence = first_frames(
        dead.iter().flat_map(|dead| [dead.pause.frame, dead.pause.reset_frame.unwrap_or(0)]),
    );
    diagnosis.remedies = vec![keep_alive(&bounds), longer_timeout(), pick_up()];
    Some(diagnosis)
}

fn find<'a>(case: &'a Case<'a>) -> Option<Dead<'a>> {
    let pause = case.summary.signs.as_ref()?.pause?;
    let is_dead = pause.reset_frame.is_some() || pause.repeats >= LEAST_REPEATS;
    (is_dead && !pause.answered && case.is_two_way()).then_some(Dead { case, pause })
}

/// Returns the servers of these flows, as far as they are known.
fn servers<'a>(facts: &Facts<'a>, dead: &[Dead<'_>]) -> Vec<&'a Server> {
    let endpoints: BTreeSet<_> = dead.iter().map(|dead| dead.case.server()).collect();
    let known = facts.audit.totals.peers.servers();
    known.filter(|server| endpoints.contains(&server.endpoint)).collect()
}

fn bounds(facts: &Facts<'_>, servers: &[&Server], died: u16) -> Bounds {
    let all = facts.audit.totals.peers.servers().map(|server| server.survived_s);
    let of_cases = facts.cases.iter().flat_map(|case| {
        let ways = case.audit.directions();
        [ways.original.survived_s, ways.reply.survived_s]
    });
    let survived = all.chain(of_cases).filter(|survived| *survived < died).max().unwrap_or(0);
    let contradicting = servers.iter().filter(|server| server.survived_s >= died).count();
    Bounds { survived, died, contradicting: contradicting as u64 }
}

impl Bounds {
    fn words(&self) -> String {
        match self.survived {
            0 => format!("after {} s at most", self.died),
            survived => format!("after more than {survived} s and at most {} s", self.died),
        }
    }

    /// Names the known timeouts that lie within.
    fn known(&self) -> String {
        // A pause is counted in whole seconds: it may have been one longer.
        let within = |seconds: u16| seconds > self.survived && seconds <= self.died + 1;
        let names = DEFAULTS.iter().rev().filter(|(seconds, _)| within(*seconds));
        let names: Vec<_> = names.map(|(_, name)| *name).take(2).collect();
        if names.is_empty() { "none lies between".to_owned() } else { names.join("; ") }
    }
}

/// Returns whether a server answered new connections after it had not answered after a pause.
fn outlived(dead: &[Dead<'_>], servers: &[&Server]) -> bool {
    servers.iter().any(|server| {
        let of_server = dead.iter().filter(|dead| dead.case.server() == server.endpoint);
        let first = of_server.map(|dead| dead.case.audit.last_ts).min();
        first.is_some() && server.answered.last_ts > first
    })
}

fn score(facts: &Facts<'_>, dead: &[Dead<'_>], servers: &[&Server], bounds: &Bounds) -> Score {
    let mut score = Score::new(40, facts.quality.percent);
    if outlived(dead, servers) {
        score.add("new connections are answered meanwhile", 20);
    } else {
        score.at_most = Level::Probable;
    }
    if dead.len() >= 2 {
        score.add("several flows", 15);
    }
    if bounds.survived > 0 {
        score.add("shorter pauses survived", 15);
    }
    if bounds.contradicting > 0 {
        score.add("longer pauses survived", -40);
    }
    score
}

fn notes(dead: &[Dead<'_>], bounds: &Bounds) -> Vec<String> {
    let reset = dead.iter().filter(|dead| dead.pause.reset_frame.is_some()).count();
    let silent = dead.len() - reset;
    vec![
        format!(
            "After the pause {reset} were reset, and {silent} got no answer at all, however often \
             the packet was sent again."
        ),
        format!("Timeouts in use within these bounds: {}.", bounds.known()),
    ]
}

fn parameter(dead: &Dead<'_>) -> (String, String) {
    let side = dead.case.summary.paused_side(&dead.pause);
    let end = match dead.pause.reset_frame {
        Some(_) => "RST".to_owned(),
        None => format!("no answer to {} repetitions", dead.pause.repeats),
    };
    let name = format!("flow {}", dead.case.audit.first_frame);
    (name, format!("pause of {} s, then {} speaks: {end}", dead.pause.seconds, side.name()))
}

/// Has connections speak before the box forgets them.
fn keep_alive(bounds: &Bounds) -> Remedy {
    // Twice within the time that is known to be survived, or within half of what was not.
    let most = if bounds.survived > 0 { bounds.survived } else { bounds.died / 2 };
    let seconds = (most / 2).max(1);
    let persist = format!(
        "printf 'net.ipv4.tcp_keepalive_time = {seconds}\\nnet.ipv4.tcp_keepalive_intvl = 15\\n' \
         > /etc/sysctl.d/90-keepalive.conf"
    );
    Remedy {
        id: "C12-keepalive",
        title: "keepalives before the timeout, on an end host; the application must set SO_KEEPALIVE",
        steps: vec![
            Step::new(Runner::Sysctl, &format!("net.ipv4.tcp_keepalive_time={seconds}")),
            Step::new(Runner::Sysctl, "net.ipv4.tcp_keepalive_intvl=15"),
        ],
        persist: vec![Step::new(Runner::Shell, &persist)],
        risk: "small packets on idle connections; mobile hosts wake up for them",
        check: "ss -to shows timer:(keepalive, and idle connections outlive the timeout",
        undo: "sysctl -w net.ipv4.tcp_keepalive_time=7200; net.ipv4.tcp_keepalive_intvl=75",
    }
}

/// Raises the timeout of the box.
fn longer_timeout() -> Remedy {
    let lines = "# AWS NLB\n\
                 aws elbv2 modify-listener-attributes --listener-arn ARN \
                 --attributes Key=tcp.idle_timeout.seconds,Value=3600\n\
                 # Azure load balancer\n\
                 az network lb rule update -g GROUP --lb-name LB -n RULE --idle-timeout 30 \
                 --enable-tcp-reset true\n\
                 ! Cisco ASA\n\
                 timeout conn 4:00:00";
    Remedy {
        id: "C12-timeout",
        title: "or a longer timeout on the box, and have it send RSTs when it forgets",
        steps: vec![Step::new(Runner::Vendor, lines)],
        persist: Vec::new(),
        risk: "its table holds dead connections for longer",
        check: "capture again: a pause as long as before is survived",
        undo: "the value as it was",
    }
}

/// Has a Linux tracker keep idle connections, and take up those that it forgot.
fn pick_up() -> Remedy {
    let persist = "echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf\n\
                   printf 'net.netfilter.nf_conntrack_tcp_loose = 1\\n\
                   net.netfilter.nf_conntrack_tcp_timeout_established = 432000\\n' \
                   > /etc/sysctl.d/90-conntrack-idle.conf";
    Remedy {
        id: "C12-linux",
        title: "where the box is Linux: the default timeout of five days, and pick up what is left",
        steps: vec![
            Step::new(Runner::Sysctl, "net.netfilter.nf_conntrack_tcp_timeout_established=432000"),
            Step::new(Runner::Sysctl, "net.netfilter.nf_conntrack_tcp_loose=1"),
        ],
        persist: vec![Step::new(Runner::Shell, persist)],
        risk: "picked-up connections are judged liberally, and translated ones cannot be picked up; \
               the table holds dead connections for longer",
        check: "conntrack -L -p tcp shows the idle connections with their time left",
        undo: "the values as they were: sysctl -n before",
    }
}

/// Every remedy, so that it can be tried.
fn remedies(_: &[IpAddr]) -> Vec<Remedy> {
    let bounds = Bounds { survived: 120, died: 400, contradicting: 0 };
    vec![keep_alive(&bounds), longer_timeout(), pick_up()]
}
