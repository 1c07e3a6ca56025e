//! C03: window scaling is removed or changed between the ends.
//!
//! Does not: take a single small window for hidden scaling.

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::causes::load_balancer::Balanced;
use crate::diagnose::remedy::{COUNT_INVALID, Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted, remedy};
use crate::flow::{Offer, Scaling};
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C03",
    name: "window_scale_removed_or_changed",
    title: "window scaling removed or changed on the path",
    blames_a_device: true,
    mechanism: "The shift counts only if SYN and SYN-ACK both carry the option. A device that \
                removes or changes it on one leg leaves the ends, or an end and the tracker, with \
                different windows: the tracker takes 502 for 502 bytes where 64256 are meant, or a \
                sender fills a window that was never offered.",
    signature: "The first window after the SYN is a power of two smaller than that of the SYN \
                although nothing was negotiated; data beyond the window is acknowledged for several \
                round trips; or a sender stops at the unscaled window each time. From Linux 6.1 on \
                only flows with more than about 64 kB in flight are hit.",
    look_alikes: "SYN not captured (scaling unknown); acknowledgements missing in the capture, which \
                  makes a window look overrun.",
    remedy: "Have the device keep the option; SYN proxies must answer with the server's shift. \
             be_liberal=1 helps the tracker, never a sender that does not know the scale.",
    references: "RFC 7323, section 2; tcp_options() (nf_conntrack_proto_tcp.c)",
    diagnose: Some(diagnose),
    remedies: |_| vec![allow_window_scale(), no_scaling_here()],
});

/// The rules that refuse what a scaled window allows.
const RULES: &[Reason] = &[Reason::SeqOver, Reason::SeqOvershoot, Reason::AckOver];
/// Segments beyond the window that make a suspected scale count.
const LEAST_OVERRUN: u32 = 3;
/// Windows filled that make a suspected scale count.
const LEAST_FULL: u32 = 5;
/// The flows whose scaling is listed.
const LISTED: usize = 8;

/// How the scaling is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// The ends scale, and the capture point has not seen that they agreed to.
    NotNegotiatedHere,
    /// The shift in use is another than the handshake shows.
    Changed,
    /// The receiver scales, and the sender does not know.
    SenderBlind,
}

impl Form {
    const fn words(self) -> &'static str {
        match self {
            Self::NotNegotiatedHere => "scaled windows that the handshake seen here does not allow",
            Self::Changed => "windows scaled by another shift than the handshake shows",
            Self::SenderBlind => "a sender that takes scaled windows for unscaled",
        }
    }
}

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let mut found: Vec<_> =
        facts.cases.iter().filter_map(|case| form(case).map(|form| (form, case))).collect();
    let form = found.iter().map(|(form, _)| *form).min()?;
    found.retain(|(other, _)| *other == form);
    let cases: Vec<_> = found.into_iter().map(|(_, case)| case).collect();
    let flows = count(&cases);
    let finding = format!(
        "window scaling is removed or changed on the path: {} in {}",
        form.words(),
        counted(flows, "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.score = score(facts, form, &cases);
    diagnosis.notes = notes(form, &cases);
    diagnosis.notes.extend(Balanced::find(facts).map(|balanced| balanced.sentence()));
    diagnosis.against = against(&cases);
    diagnosis.parameters = cases.iter().take(LISTED).flat_map(|case| parameters(case)).collect();
    diagnosis.evidence = evidence(&cases, RULES, MAX_EVIDENCE);
    diagnosis.remedies = match form {
        Form::SenderBlind => vec![allow_window_scale(), no_scaling_here()],
        Form::NotNegotiatedHere | Form::Changed => {
            vec![allow_window_scale(), remedy::be_liberal(), no_scaling_here()]
        }
    };
    Some(diagnosis)
}

/// Returns how the scaling of a flow is wrong, if it is.
fn form(case: &Case<'_>) -> Option<Form> {
    if case.misses_frames() || case.audit.picked_up || !case.is_two_way() {
        return None;
    }
    let overrun = case.sides().any(|(_, side)| side.window.overrun >= LEAST_OVERRUN);
    let mut forms = case.sides().filter_map(|(_, side)| {
        let is_suspected = side.suspected_shift.is_some();
        // A sender that fills windows far smaller than that of the SYN takes them as they stand.
        let obeys = is_suspected && side.window.full >= LEAST_FULL;
        match side.scaling {
            Scaling::Off if side.hidden_shift.is_some() || is_suspected && overrun => {
                Some(Form::NotNegotiatedHere)
            }
            // Without the word of the SYN's window a sender may as well overrun what it was offered.
            Scaling::By(_) if is_suspected && (side.hidden_shift.is_some() || obeys) => {
                Some(Form::Changed)
            }
            Scaling::By(_) | Scaling::Off if side.peer_is_blind || obeys => Some(Form::SenderBlind),
            Scaling::Unknown | Scaling::By(_) | Scaling::Off => None,
        }
    });
    forms.next()
}

/// Returns whether one of the SYNs offers scaling and the other does not.
fn offered_once(case: &Case<'_>) -> bool {
    let sides = &case.summary.sides;
    matches!(
        (sides.original.offer, sides.reply.offer),
        (Offer::Shift(_), Offer::NotOffered) | (Offer::NotOffered, Offer::Shift(_))
    )
}

fn score(facts: &Facts<'_>, form: Form, cases: &[&Case<'_>]) -> Score {
    let mut score = Score::new(40, facts.quality.percent);
    let any = |holds: fn(&Case<'_>) -> bool| cases.iter().any(|case| holds(case));
    if any(|case| case.invalid(RULES) > 0) {
        score.add("packets INVALID by it", 20);
    }
    if any(|case| {
        case.sides().any(|(_, s)| s.hidden_shift.is_some() && s.suspected_shift.is_some())
    }) {
        score.add("two tests agree", 10);
    }
    if any(offered_once) {
        score.add("offered by one SYN only", 10);
    }
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    if facts.controls(cases) > 0 {
        score.add("clean control flows", 15);
    }
    if form != Form::NotNegotiatedHere {
        score.at_most = Level::Probable;
    }
    score
}

fn notes(form: Form, cases: &[&Case<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    let reply_lacks = |case: &&&Case<'_>| {
        let sides = &case.summary.sides;
        matches!((sides.original.offer, sides.reply.offer), (Offer::Shift(_), Offer::NotOffered))
    };
    let lacking = cases.iter().filter(reply_lacks).count();
    if lacking > 0 {
        notes.push(format!(
            "In {lacking} of them the SYN offers scaling and the SYN-ACK seen here does not: the \
             option was removed between the responder and the capture point."
        ));
    }
    notes.push(match form {
        Form::NotNegotiatedHere => {
            "A tracker here takes the windows unscaled, and from Linux 6.1 on refuses what goes \
             more than one window beyond: transfers with more than about 64 kB in flight."
                .to_owned()
        }
        Form::Changed => "A tracker here computes another window than the ends.".to_owned(),
        Form::SenderBlind => {
            "Nothing of that is INVALID: the connection crawls, and be_liberal=1 changes nothing."
                .to_owned()
        }
    });
    notes
}

fn against(cases: &[&Case<'_>]) -> Vec<String> {
    let passed: u64 = cases.iter().map(|case| case.summary.effects.not_dropped).sum();
    let dropped: u64 = cases.iter().map(|case| case.summary.effects.dropped).sum();
    if passed > 0 && dropped == 0 {
        return vec![format!(
            "{passed} INVALID packets were processed all the same: no firewall behind the capture \
             point drops them"
        )];
    }
    Vec::new()
}

fn parameters(case: &Case<'_>) -> Vec<(String, String)> {
    let flow = case.audit.first_frame;
    let told = |(direction, side): (Direction, &crate::flow::SideSummary)| {
        let seen = match side.offer {
            Offer::NotSeen => "SYN not seen".to_owned(),
            Offer::NotOffered => "no wscale".to_owned(),
            Offer::Shift(shift) => format!("wscale {shift}"),
        };
        let used = match (side.hidden_shift, side.suspected_shift) {
            (Some(shift), _) => format!(", data accepted that needs a shift of {shift}"),
            (None, Some(shift)) => format!(", first window suggests {shift}"),
            (None, None) => String::new(),
        };
        (format!("flow {flow} {}", direction.name()), format!("{seen}{used}"))
    };
    case.sides().map(told).collect()
}

/// Lets the device keep window scaling.
fn allow_window_scale() -> Remedy {
    let lines = "tcp-map WSCALE\n tcp-options window-scale allow\n\
                 policy-map global_policy\n class TCP-CM\n  \
                 set connection advanced-options WSCALE";
    Remedy {
        id: "C03-device",
        title: "have the device keep the window scale option of SYN and SYN-ACK (Cisco ASA)",
        steps: vec![Step::new(Runner::Vendor, lines)],
        persist: vec![Step::new(Runner::Vendor, "write memory")],
        risk: "none known; SYN cookies and SYN proxies must answer with the server's own shift",
        check: "capture again: SYN and SYN-ACK both carry wscale on every hop",
        undo: "no set connection advanced-options WSCALE",
    }
}

/// Keeps the windows of this host below what needs scaling.
fn no_scaling_here() -> Remedy {
    Remedy {
        id: "C03-host",
        title: "stop-gap on an end host: do not scale at all",
        steps: vec![Step::new(Runner::Sysctl, "net.ipv4.tcp_window_scaling=0")],
        persist: vec![Step::new(
            Runner::Shell,
            "echo net.ipv4.tcp_window_scaling = 0 > /etc/sysctl.d/90-no-wscale.conf",
        )],
        risk: "64 KiB a round trip at most, for every connection of the host",
        check: COUNT_INVALID,
        undo: "sysctl -w net.ipv4.tcp_window_scaling=1",
    }
}
