//! The model against the recorded conversations: verdict, reasons, state, timeout and every
//! internal number, for every kernel; alone and as members of one panel.

use tcp_window_audit::conntrack::entry::judge;
use tcp_window_audit::conntrack::{
    Arrival, Choices, Entry, Feature, Features, Limits, Opinions, Panel, Policy, Profile, Reason,
    Setting, Side, Sysctls, Track, Verdict,
};
use tcp_window_audit::segment::Direction;
use tcp_window_audit::time::Timestamp;
use tcp_window_audit::tuple::{FlowKey, TCP};

use crate::scenario::{
    Check, PROFILES, Scenario, Settings, SideMark, for_each_expectation, scenarios, vectors,
};

#[test]
fn the_model_judges_every_conversation_as_each_kernel_did() {
    let checks: usize = scenarios().iter().map(replay).sum();
    assert!(checks > 13_000, "only {checks} packets compared");
}

#[test]
fn the_model_judges_every_random_trace_as_each_kernel_did() {
    let checks: usize = vectors().iter().map(replay).sum();
    assert!(checks > 54_000, "only {checks} packets compared");
}

#[test]
fn all_kernels_in_one_panel_judge_as_each_alone() {
    for scenario in scenarios().iter().chain(&vectors()) {
        let limits = limits(&scenario.settings);
        let features = PROFILES.map(|name| features(name, &scenario.settings)).to_vec();
        let panel = Panel::new(features.clone(), limits);
        let (mut track, mut opinions) = (Track::default(), Opinions::default());
        let mut alone: Vec<Option<Entry>> = vec![None; features.len()];
        // What was expected is compared above; here the packets alone matter.
        for check in &scenario.checks(0) {
            let arrival = arrival(check);
            let main = track.judge(&arrival, &panel, &mut opinions);
            for (policy, slot) in alone.iter_mut().enumerate() {
                let verdict = judge(slot, &arrival, &limits, &mut Choices::new(features[policy]));
                let place = format!("{} line {}", scenario.name, check.line);
                assert_eq!(opinions.of(policy, &main), verdict, "{place} {policy}");
                assert_eq!(track.entry_of(policy), slot.as_ref(), "{place} {policy}");
            }
        }
    }
}

/// Compares a conversation with what each kernel said; returns how many packets were compared.
pub(crate) fn replay(scenario: &Scenario) -> usize {
    let mut checks = 0;
    for_each_expectation(std::slice::from_ref(scenario), |scenario, profile, expected| {
        checks += expected.len();
        compare_alone(scenario, profile, expected);
    });
    checks
}

fn compare_alone(scenario: &Scenario, profile: &str, checks: &[Check<'_>]) {
    let features = features(profile, &scenario.settings);
    let limits = limits(&scenario.settings);
    let mut slot = None;
    for check in checks {
        let arrival = arrival(check);
        let verdict = judge(&mut slot, &arrival, &limits, &mut Choices::new(features));
        let place = format!("{} line {} as {profile}", scenario.name, check.line);
        compare(&place, check, features, &verdict, slot.as_ref());
    }
}

fn compare(
    place: &str,
    check: &Check<'_>,
    features: Features,
    verdict: &Verdict,
    entry: Option<&Entry>,
) {
    let expected = check.expected;
    assert_eq!(verdict.ctstate.name(), expected.ctstate, "{place}: ctstate");
    assert_eq!(logged(verdict, features), expected.reasons, "{place}: reasons");
    let state = entry.map(|entry| entry.state.name().to_owned());
    assert_eq!(state, expected.state, "{place}: state");
    let Some(entry) = entry else { return };
    let ttl_ms = entry.expires.nanos_since(arrival(check).now) / 1_000_000;
    assert_eq!(Some(ttl_ms), expected.ttl_ms, "{place}: timeout");
    let Some(mark) = &expected.mark else { return };
    let direction = entry.direction_of(arrival(check).orientation);
    assert_eq!(direction, mark.pkt_dir, "{place}: direction");
    assert_eq!(entry.seen_reply, mark.seen_reply, "{place}: seen_reply");
    assert_eq!(entry.assured, mark.assured, "{place}: assured");
    for direction in Direction::BOTH {
        let (found, wanted) = (&entry.sides[direction], &mark.sides[direction]);
        assert_eq!(numbers(found), numbers_of(wanted), "{place}: {direction:?}");
    }
    let (last, wanted) = (&entry.last, &mark.last);
    let unscaled = features.contains(Feature::LastWinUnscaled);
    let win = if unscaled { last.win } else { last.scaled_win };
    assert_eq!(
        (
            last.direction,
            last.class as u8,
            entry.retrans.of(features),
            win,
            last.wscale,
            last.flags.0
        ),
        (wanted.dir, wanted.index, wanted.retrans, wanted.win, wanted.wscale, wanted.flags),
        "{place}: last"
    );
    assert_eq!(
        [last.seq.0, last.ack.0, last.end.0],
        [wanted.seq, wanted.ack, wanted.end],
        "{place}: last numbers"
    );
}

fn numbers(side: &Side) -> [u32; 6] {
    let Side { end, max_end, max_ack, max_win, scale, flags } = *side;
    [end.0, max_end.0, max_win, max_ack.0, u32::from(scale), u32::from(flags.0)]
}

fn numbers_of(side: &SideMark) -> [u32; 6] {
    let (scale, flags) = (u32::from(side.scale), u32::from(side.flags));
    [side.end, side.max_end, side.max_win, side.max_ack, scale, flags]
}

/// The reasons that this kernel logs, in lower case.
fn logged(verdict: &Verdict, features: Features) -> Vec<String> {
    let is_silent = |reason: &Reason| match reason {
        Reason::PickupDisabled => true,
        Reason::InvalidNew => !features.contains(Feature::LogInvalidNew),
        Reason::TcpShort => !features.contains(Feature::HeaderCheckBeforeLookup),
        _ => false,
    };
    let reason = verdict.reason.filter(|reason| !is_silent(reason));
    let lowered = verdict.timeout_lowered.then_some("timeout_lowered");
    reason.map(Reason::code).into_iter().chain(lowered).map(str::to_owned).collect()
}

fn arrival<'a>(check: &'a Check<'_>) -> Arrival<'a> {
    let (src, dst) = (check.from.endpoint(), check.from.flip().endpoint());
    let (_, orientation) = FlowKey::of(TCP, src, dst);
    // The origin is arbitrary, but an entry that expires at 0 would be one that never was.
    let now = Timestamp::from_parts(1_000_000, check.time.0);
    Arrival { segment: &check.segment, orientation, now }
}

fn features(profile: &str, settings: &Settings) -> Features {
    let switch = |value: u32| if value == 0 { Setting::Off } else { Setting::On };
    let sysctls = Sysctls {
        be_liberal: switch(settings.be_liberal),
        loose: switch(settings.loose),
        ignore_invalid_rst: switch(settings.ignore_invalid_rst),
        ..Sysctls::default()
    };
    Policy::new(Profile::named(profile).unwrap(), &sysctls).features()
}

fn limits(settings: &Settings) -> Limits {
    let max_retrans = u8::try_from(settings.max_retrans).unwrap();
    Limits { max_retrans, ..Limits::default() }
}
