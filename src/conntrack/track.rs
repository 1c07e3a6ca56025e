//! One connection under several policies at once.
//!
//! Policies that have agreed on every feature their decisions asked for share one entry: one
//! history serves them all. The first segment on which they would part forks the entry, one copy
//! for each way of deciding; copies that have become equal again are joined. A clean connection
//! therefore costs the same under two hundred policies as under one.
//!
//! Does not: know what the policies mean.

use crate::conntrack::entry::{Arrival, Entry, judge};
use crate::conntrack::greeting::Timers;
use crate::conntrack::icmp::{ErrorArrival, judge_error};
use crate::conntrack::members::{MAX_POLICIES, Members};
use crate::conntrack::ordinary;
use crate::conntrack::policy::{Choices, Feature, Features, Limits};
use crate::conntrack::state::TcpState;
use crate::conntrack::steady::{Headway, Latest, Next, Renewals, Standing};
use crate::conntrack::verdict::Verdict;
use crate::time::Timestamp;
use crate::tuple::{Orientation, PerOrientation};

/// The policies that judge every packet of a run; number 0 is the one that the report speaks of.
#[derive(Clone, Debug)]
pub struct Panel {
    policies: Vec<Features>,
    /// The features of number 0.
    own: Features,
    /// The policies that have each feature; features that all or none have are left out.
    having: Vec<(Features, Members)>,
    limits: Limits,
    everyone: Group,
    /// Whether all policies do; `OpenWrt` can switch it off.
    checks_windows: bool,
    /// The timeouts of steady connections; none where no connection counts as one.
    renewals: Option<Renewals>,
    /// The timeouts of handshakes by the book; none where all take the long way.
    timers: Option<Timers>,
}

impl Panel {
    /// Makes a panel of at least one policy, given by their features; those beyond
    /// [`MAX_POLICIES`] are left out.
    pub fn new(mut policies: Vec<Features>, limits: Limits) -> Self {
        policies.truncate(MAX_POLICIES);
        let mut members = Members::default();
        (0..policies.len()).for_each(|policy| members.insert(policy));
        let having = having(&policies);
        let varying = varying(&having, members);
        let checks_windows = !policies.iter().any(|policy| policy.contains(Feature::NoWindowCheck));
        let own = policies.first().copied().unwrap_or_default();
        let renewals = Renewals::of(&limits, own).filter(|_| checks_windows);
        let timers = Timers::of(&limits).filter(|_| checks_windows);
        let everyone = Group { members, varying };
        Self { policies, own, having, limits, everyone, checks_windows, renewals, timers }
    }

    /// Returns the number of policies.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Returns whether there is no policy.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Returns whether windows whose low 16 bits are 0 are like any other, to the policies that share an
    /// entry as long as it lives.
    #[inline]
    pub fn takes_cut_windows(&self) -> bool {
        self.renewals.as_ref().is_some_and(Renewals::may_be_cut)
    }

    fn features(&self, policy: usize) -> Features {
        self.policies.get(policy).copied().unwrap_or_default()
    }

    fn group(&self, members: Members) -> Group {
        Group { members, varying: varying(&self.having, members) }
    }

    /// Judges under one policy; returns the verdict and the features that it depended on.
    fn judge_as(
        &self,
        policy: usize,
        slot: &mut Option<Entry>,
        arrival: &Arrival<'_>,
    ) -> (Verdict, Features) {
        if self.checks_windows
            && let Some(entry) = slot
            && let Some(verdict) =
                ordinary::pass(entry, arrival, &self.limits, self.features(policy))
        {
            return (verdict, Features::NONE);
        }
        let mut choices = Choices::new(self.features(policy));
        let verdict = judge(slot, arrival, &self.limits, &mut choices);
        (verdict, choices.consulted())
    }

    /// Divides a group into those who agree with `policy` on the features asked for, and the others
    /// if there are any.
    fn divide(&self, group: Group, policy: usize, consulted: Features) -> (Group, Option<Group>) {
        let deciding = consulted.and(group.varying);
        if deciding.is_empty() {
            return (group, None);
        }
        let features = self.features(policy);
        let mut agreeing = group.members;
        for (feature, having) in
            self.having.iter().filter(|(feature, _)| !deciding.and(*feature).is_empty())
        {
            let lacks = features.and(*feature).is_empty();
            agreeing = if lacks { agreeing.minus(*having) } else { agreeing.and(*having) };
        }
        let others = group.members.minus(agreeing);
        (self.group(agreeing), (!others.is_empty()).then(|| self.group(others)))
    }
}

/// Finds the policies that have each feature, where not all agree.
fn having(policies: &[Features]) -> Vec<(Features, Members)> {
    let of_feature = |feature: Features| {
        let mut members = Members::default();
        let having = policies.iter().enumerate().filter(|(_, set)| !set.and(feature).is_empty());
        having.for_each(|(policy, _)| members.insert(policy));
        (feature, members)
    };
    let all = Features::singles().map(of_feature);
    all.filter(|(_, members)| (1..policies.len()).contains(&members.iter().count())).collect()
}

/// Returns the features that some of the members have and some have not.
fn varying(having: &[(Features, Members)], members: Members) -> Features {
    let parts =
        |having: Members| !members.and(having).is_empty() && !members.minus(having).is_empty();
    let parting = having.iter().filter(|(_, having)| parts(*having));
    parting.fold(Features::NONE, |set, (feature, _)| set.or(*feature))
}

/// Policies that share an entry, and the features in which they differ.
#[derive(Clone, Copy, Default, Debug)]
struct Group {
    members: Members,
    varying: Features,
}

/// An entry of its own for the policies that have parted from number 0.
#[derive(Clone, Debug)]
struct Branch {
    group: Group,
    entry: Option<Entry>,
}

/// The policies that stayed with number 0, and the others.
#[derive(Clone, Default, Debug)]
struct Forks {
    main: Group,
    branches: Vec<Branch>,
}

/// What the policies that differ from number 0 said of one packet; reused from packet to packet.
#[derive(Clone, Default, Debug)]
pub struct Opinions {
    others: Vec<(Members, Verdict)>,
    /// The branches before the packet, while they are judged one by one.
    earlier: Vec<Branch>,
    /// Forks of connections on which all policies agree again.
    #[expect(clippy::vec_box, reason = "the boxes themselves are used again")]
    spare: Vec<Box<Forks>>,
}

impl Opinions {
    /// Returns the verdict of a policy, given that of number 0.
    #[inline]
    pub fn of(&self, policy: usize, main: &Verdict) -> Verdict {
        if self.others.is_empty() {
            return *main;
        }
        let other = self.others.iter().find(|(members, _)| members.contains(policy));
        other.map_or(*main, |(_, verdict)| *verdict)
    }

    /// Returns the policies for which the packet is INVALID, given the verdict of number 0.
    pub fn invalid_for(&self, panel: &Panel, main: &Verdict) -> Members {
        let parted =
            self.others.iter().fold(Members::default(), |set, (members, _)| set.or(*members));
        let with_main = if main.is_invalid() {
            panel.everyone.members.minus(parted)
        } else {
            Members::default()
        };
        let invalid = self.others.iter().filter(|(_, verdict)| verdict.is_invalid());
        invalid.fold(with_main, |set, (members, _)| set.or(*members))
    }

    /// Returns whether all policies said the same.
    #[inline]
    pub fn is_unanimous(&self) -> bool {
        self.others.is_empty()
    }
}

/// One connection as all policies of a panel see it.
#[derive(Clone, Default, Debug)]
#[repr(C)]
pub struct Track {
    entry: Option<Entry>,
    forks: Option<Box<Forks>>,
}

impl From<Entry> for Track {
    /// Goes on with an entry, the same for all policies.
    fn from(entry: Entry) -> Self {
        Self { entry: Some(entry), forks: None }
    }
}

impl Track {
    /// Judges a segment under every policy, and returns the verdict of number 0. An entry that may have
    /// fallen behind is to be brought up to date first.
    #[inline]
    pub fn judge(
        &mut self,
        arrival: &Arrival<'_>,
        panel: &Panel,
        opinions: &mut Opinions,
    ) -> Verdict {
        if let Some(entry) = self.shared(panel)
            && let Some(verdict) = ordinary::pass(entry, arrival, &panel.limits, panel.own)
        {
            opinions.others.clear();
            return verdict;
        }
        self.judge_any(arrival, panel, opinions)
    }

    /// Returns the entry that all policies share, if all check windows.
    #[inline]
    fn shared(&mut self, panel: &Panel) -> Option<&mut Entry> {
        self.entry.as_mut().filter(|_| panel.checks_windows && self.forks.is_none())
    }

    /// Returns the entry that all policies share, and its timeouts while its handshake goes by the book.
    #[inline]
    fn by_the_book<'a>(&'a mut self, panel: &'a Panel) -> Option<(&'a mut Entry, &'a Timers)> {
        self.entry.as_mut().filter(|_| self.forks.is_none()).zip(panel.timers.as_ref())
    }

    /// Starts a connection that has no entry with a SYN without data, with an open window: what
    /// [`Track::judge`] makes of it. None where that takes the long way.
    #[inline]
    pub fn greeted_by(arrival: &Arrival<'_>, panel: &Panel) -> Option<Self> {
        let timers = panel.timers.as_ref()?;
        Some(Self { entry: Some(Entry::greeted_by(arrival, timers)), forks: None })
    }

    /// Takes a SYN-ACK without data and SACK blocks, with an open window, if it is the first answer to
    /// the SYN, and the tracker lets it pass without a word: what [`Track::judge`] does with it. Else
    /// nothing changes.
    #[inline]
    pub fn take_syn_ack(&mut self, arrival: &Arrival<'_>, panel: &Panel) -> bool {
        self.by_the_book(panel).is_some_and(|(entry, timers)| entry.take_syn_ack(arrival, timers))
    }

    /// The same for a RST with ACK, without data, after which there is no entry.
    #[inline]
    pub fn take_refusal(&mut self, arrival: &Arrival<'_>, panel: &Panel) -> bool {
        let is_refused =
            self.by_the_book(panel).is_some_and(|(entry, _)| entry.is_refused_by(arrival));
        if is_refused {
            self.entry = None;
        }
        is_refused
    }

    /// The same for an ACK without data that answers the SYN-ACK.
    #[inline]
    pub fn take_first_ack(&mut self, arrival: &Arrival<'_>, panel: &Panel) -> bool {
        self.by_the_book(panel).is_some_and(|(entry, timers)| entry.take_first_ack(arrival, timers))
    }

    /// Lets a segment pass that is ordinary to all policies: what [`Track::judge`] does with it. Else
    /// nothing changes.
    #[inline]
    pub fn pass(&mut self, arrival: &Arrival<'_>, panel: &Panel) -> bool {
        let shared = self.shared(panel);
        shared.is_some_and(|entry| ordinary::let_pass(entry, arrival, &panel.limits, panel.own))
    }

    /// Returns the entry that all policies share, if its connection runs steadily.
    pub fn steady(&self, panel: &Panel) -> Option<&Entry> {
        let is_shared = self.forks.is_none() && panel.renewals.is_some();
        self.entry.as_ref().filter(|entry| is_shared && entry.is_steady())
    }

    /// Returns whether the entry of a steady connection may fall behind: it is established, both ends
    /// have come just as far as `headway` says and read windows by these shift counts, where there are
    /// any to come, and every segment that begins at the end of its side, keeps to the window that was
    /// announced last, and acknowledges what was sent, within the [acknowledgement window], is let pass
    /// without a word.
    /// [`Track::remember_latest`] and [`Track::catch_up`] are to be called before the entry is asked for more
    /// than when it expires.
    ///
    /// [acknowledgement window]: crate::conntrack::window::MAX_ACK_WINDOW
    #[inline]
    pub fn can_fall_behind(&self, headway: &Headway, shifts: PerOrientation<Option<u8>>) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.can_fall_behind(headway, shifts))
    }

    /// Returns whether there is an entry, and it has expired for no policy.
    #[inline]
    pub fn lives_at(&self, now: Timestamp) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.lives_at(now))
    }

    /// Returns the largest window that a side has announced, if its windows are read by this shift count.
    #[inline]
    pub fn largest_window(&self, way: Orientation, shift: u8) -> Option<u32> {
        let side = self.entry.as_ref().map(|entry| &entry.sides[entry.direction_of(way)]);
        side.filter(|side| side.scale == shift).map(|side| side.max_win)
    }

    /// Renews the entry of a connection whose entry may fall behind.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    pub fn renew(&mut self, now: Timestamp, standing: Standing, panel: &Panel) {
        if let (Some(entry), Some(renewals)) = (&mut self.entry, &panel.renewals) {
            entry.renew(now, standing, renewals);
        }
    }

    /// Brings the sides of an entry that fell behind up to date.
    pub fn catch_up(&mut self, headway: &Headway) {
        if let Some(entry) = &mut self.entry {
            entry.catch_up(headway);
        }
    }

    /// Brings what an entry that fell behind remembers of the last segment up to date.
    pub fn remember_latest(&mut self, latest: &Latest) {
        if let Some(entry) = &mut self.entry {
            entry.remember_latest(latest);
        }
    }

    /// Takes a segment that ends a connection whose entry may fall behind, or follows upon one that did,
    /// and keeps to the bounds of [`Track::can_fall_behind`], with an open window, if the tracker lets it pass
    /// without a word: what [`Track::judge`] does with it, but for the sides of the entry, which fall behind.
    /// `is_due` says whether data of one of them is not acknowledged afterwards. Else nothing changes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    pub fn close(&mut self, next: &Next, is_due: bool, panel: &Panel) -> bool {
        self.entry.as_mut().is_some_and(|entry| entry.close(next, is_due, &panel.limits))
    }

    /// Takes the next segment of a steady connection, if the tracker lets it pass without a word:
    /// what [`Track::judge`] does with it. Else nothing changes.
    pub fn take_next(&mut self, next: &Next, panel: &Panel) -> bool {
        let (Some(entry), Some(renewals)) = (&mut self.entry, &panel.renewals) else {
            return false;
        };
        if !entry.admits(next, renewals) {
            return false;
        }
        if next.is_fin || entry.state != TcpState::Established {
            return !next.is_cut() && entry.end(next, &panel.limits);
        }
        entry.go_on(next, renewals);
        true
    }

    /// Judges a segment that is not ordinary, or on which policies have parted.
    fn judge_any(
        &mut self,
        arrival: &Arrival<'_>,
        panel: &Panel,
        opinions: &mut Opinions,
    ) -> Verdict {
        opinions.others.clear();
        let before = self.entry;
        let mut choices = Choices::new(panel.features(0));
        let verdict = judge(&mut self.entry, arrival, &panel.limits, &mut choices);
        let consulted = choices.consulted();
        let varying = self.forks.as_ref().map_or(panel.everyone.varying, |f| f.main.varying);
        if self.forks.is_some() || !consulted.and(varying).is_empty() {
            self.judge_apart(before, consulted, (arrival, panel), opinions);
        }
        verdict
    }

    /// Judges an ICMP error about the connection under one policy; it changes nothing.
    pub fn judge_error(&self, arrival: &ErrorArrival, panel: &Panel, policy: usize) -> Verdict {
        let mut choices = Choices::new(panel.features(policy));
        judge_error(self.entry_of(policy), arrival, &mut choices)
    }

    /// Returns the bytes that this takes outside of its own place.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        let branches = |forks: &Forks| forks.branches.len() * size_of::<Branch>();
        self.forks.as_ref().map_or(0, |forks| size_of::<Forks>() + branches(forks))
    }

    /// Returns the entry of policy number 0.
    #[inline]
    pub const fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// Returns the entry of any policy.
    pub fn entry_of(&self, policy: usize) -> Option<&Entry> {
        let branches = self.forks.as_ref().map_or(&[][..], |forks| &forks.branches);
        branches
            .iter()
            .find(|branch| branch.group.members.contains(policy))
            .map_or(self.entry.as_ref(), |branch| branch.entry.as_ref())
    }

    /// Returns when the last entry of the connection expires; none when there is no entry.
    #[inline]
    pub fn expires(&self) -> Option<Timestamp> {
        let own = self.entry.as_ref().map(|entry| entry.expires);
        let Some(forks) = &self.forks else { return own };
        let others = forks.branches.iter().filter_map(|branch| branch.entry.as_ref());
        others.map(|entry| entry.expires).chain(own).max()
    }

    /// Judges under the policies that part from number 0 at this segment, or have parted before.
    #[cold]
    fn judge_apart(
        &mut self,
        before: Option<Entry>,
        consulted: Features,
        (arrival, panel): (&Arrival<'_>, &Panel),
        opinions: &mut Opinions,
    ) {
        let spare = &mut opinions.spare;
        let mut forks = self.forks.take().or_else(|| spare.pop()).unwrap_or_default();
        if forks.branches.is_empty() {
            forks.main = panel.everyone;
        }
        let mut earlier = std::mem::take(&mut opinions.earlier);
        std::mem::swap(&mut earlier, &mut forks.branches);
        if let (stay, Some(leave)) = panel.divide(forks.main, 0, consulted) {
            forks.main = stay;
            self.judge_branch(
                &Branch { group: leave, entry: before },
                &mut forks,
                (arrival, panel),
                opinions,
            );
        }
        for branch in earlier.drain(..) {
            self.judge_branch(&branch, &mut forks, (arrival, panel), opinions);
        }
        opinions.earlier = earlier;
        if forks.branches.is_empty() {
            opinions.spare.push(forks);
        } else {
            self.forks = Some(forks);
        }
    }

    /// Judges under the policies of one branch, which may part further or join others.
    fn judge_branch(
        &self,
        branch: &Branch,
        forks: &mut Forks,
        (arrival, panel): (&Arrival<'_>, &Panel),
        opinions: &mut Opinions,
    ) {
        let mut waiting = Some(branch.group);
        while let Some(group) = waiting {
            let Some(speaker) = group.members.iter().next() else { return };
            let mut entry = branch.entry;
            let (verdict, consulted) = panel.judge_as(speaker, &mut entry, arrival);
            let (agreeing, rest) = panel.divide(group, speaker, consulted);
            waiting = rest;
            opinions.others.push((agreeing.members, verdict));
            if entry == self.entry {
                forks.main = panel.group(forks.main.members.or(agreeing.members));
            } else if let Some(twin) = forks.branches.iter_mut().find(|b| b.entry == entry) {
                twin.group = panel.group(twin.group.members.or(agreeing.members));
            } else {
                forks.branches.push(Branch { group: agreeing, entry });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::policy::{Feature, Setting};
    use crate::conntrack::verdict::CtState;
    use crate::conntrack::{Profile, Reason};
    use crate::segment::{Flags, Segment};
    use crate::seq::SeqNum;
    use crate::tuple::Orientation;

    fn everyone() -> Panel {
        let mut policies = Vec::new();
        for profile in [Profile::DEFAULT].into_iter().chain(Profile::all()) {
            for liberal in [Setting::Off, Setting::On] {
                let features = profile.features().with(Feature::Loose);
                policies.push(features.set(Feature::BeLiberal, liberal));
            }
        }
        Panel::new(policies, Limits::default())
    }

    fn conversation() -> Vec<(Orientation, Segment)> {
        let step = |way, flags: u8, seq, ack, len| {
            let segment = Segment {
                seq: SeqNum(seq),
                ack: SeqNum(ack),
                len,
                win: 8000,
                flags: Flags(flags),
                header_len: 20,
                ..Segment::default()
            };
            (way, segment)
        };
        let (there, back) = (Orientation::LowToHigh, Orientation::HighToLow);
        vec![
            step(there, 0x02, 1000, 0, 0),
            step(back, 0x12, 5000, 1001, 0),
            step(there, 0x10, 1001, 5001, 0),
            step(back, 0x18, 13_002, 1001, 100), // one byte beyond the window
            step(there, 0x10, 1001, 13_102, 0),  // acknowledges it
            step(there, 0x10, 1001, 90_000, 0),  // acknowledges what nobody sent
            step(back, 0x14, 5050, 1001, 0),     // an inexact RST
            step(there, 0x18, 1001, 5001, 100),
            step(there, 0x11, 1101, 5001, 0),
            step(back, 0x04, 4000, 0, 0),
        ]
    }

    #[test]
    fn every_policy_gets_the_verdict_and_the_entry_it_would_have_alone() {
        let steps =
            (100..).zip(conversation()).map(|(second, (way, segment))| (second, way, segment));
        compare_with_each_alone(steps);
    }

    #[test]
    fn kernels_part_over_a_window_cut_to_zero_only_when_one_of_them_forgets() {
        let (there, back) = (Orientation::LowToHigh, Orientation::HighToLow);
        let step = |second: i64, way, flags: u8, win, (seq, ack, len)| {
            let mut segment = Segment {
                seq: SeqNum(seq),
                ack: SeqNum(ack),
                len,
                win,
                flags: Flags(flags),
                header_len: 24,
                ..Segment::default()
            };
            segment.options.wscale = (flags & 2 != 0).then_some(7);
            (second, way, segment)
        };
        let opened = [
            step(0, there, 0x02, 64_240, (1000, 0, 0)),
            step(0, back, 0x12, 64_240, (5000, 1001, 0)),
            step(0, there, 0x10, 512, (1001, 5001, 0)),
            step(1, back, 0x18, 512, (5001, 1001, 100)),
            step(1, there, 0x10, 512, (1001, 5101, 0)),
        ];
        let later = |second| {
            let repeats = [step(second, there, 0x10, 512, (1001, 5101, 0)); 5];
            let closed = step(second + 1, back, 0x10, 0, (5101, 1001, 0));
            let more = step(second + 1, back, 0x18, 512, (5101, 1001, 100));
            let answer = step(second + 2, there, 0x18, 512, (1001, 5201, 10));
            repeats.into_iter().chain([more, answer, closed])
        };
        for pause in [10, 299, 300, 301, 302, 400, 500_000] {
            compare_with_each_alone(opened.into_iter().chain(later(pause)).chain(later(pause * 2)));
        }
    }

    /// Feeds segments with their seconds to all policies at once, and to each one alone.
    fn compare_with_each_alone(steps: impl Iterator<Item = (i64, Orientation, Segment)>) {
        let panel = everyone();
        let (mut track, mut opinions) = (Track::default(), Opinions::default());
        let mut alone: Vec<Option<Entry>> = vec![None; panel.len()];
        for (index, (second, orientation, segment)) in steps.enumerate() {
            let now = Timestamp::from_parts(second, 0);
            let (orientation, segment) = (&orientation, &segment);
            let arrival = Arrival { segment, orientation: *orientation, now };
            let main = track.judge(&arrival, &panel, &mut opinions);
            let invalid = opinions.invalid_for(&panel, &main);
            for (policy, slot) in alone.iter_mut().enumerate() {
                let (verdict, _) = panel.judge_as(policy, slot, &arrival);
                assert_eq!(opinions.of(policy, &main), verdict, "packet {index} policy {policy}");
                let features = panel.features(policy);
                let shared = track.entry_of(policy).map(|entry| entry.under(features));
                let own = slot.map(|entry| entry.under(features));
                assert_eq!(shared, own, "packet {index} policy {policy}");
                assert_eq!(invalid.contains(policy), verdict.is_invalid());
            }
        }
    }

    #[test]
    fn policies_share_one_entry_until_they_disagree() {
        let panel = everyone();
        let (mut track, mut opinions) = (Track::default(), Opinions::default());
        for (index, (orientation, segment)) in conversation().iter().take(4).enumerate() {
            assert!(track.forks.is_none(), "forked before packet {index}");
            let arrival = Arrival { segment, orientation: *orientation, now: Timestamp(1) };
            track.judge(&arrival, &panel, &mut opinions);
        }
        assert!(track.forks.is_some());
        let strict = opinions.of(0, &Verdict::invalid(Reason::NotTrackable));
        assert_ne!(opinions.of(1, &strict).ctstate, CtState::Invalid);
    }
}
