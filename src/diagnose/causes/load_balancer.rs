//! C04: some hosts are reached through a load balancer or proxy, which spares them.
//!
//! Does not: blame the load balancer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::audit::Opening;
use crate::diagnose::case::Case;
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_NAMED_FLOWS, counted};
use crate::segment::{Flags, Layout};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C04",
    name: "behind_a_load_balancer",
    title: "connections through a load balancer: a control group",
    blames_a_device: false,
    mechanism: "A proxy in front of some hosts ends the connections of clients and opens its own: \
                its sequence numbers, SACK blocks and windows are made locally, so that faults of \
                the path beyond it cannot reach them. One that only strips options makes \
                connections that need neither SACK nor scaling.",
    signature: "The flows of some hosts share one fingerprint of options, segment size and TTL \
                from few addresses, or lack options or have runs of NOPs where others have them, \
                and they show none of the trouble.",
    look_alikes: "Hosts of one kind and one image, which share a fingerprint without any proxy.",
    remedy: "None: compare the connections through it with the others, for that tells on which \
             leg the fault is.",
    references: "RFC 9293, section 3.2",
    diagnose: Some(diagnose),
    remedies: |_| Vec::new(),
});

/// Connections that make a group where options were removed.
const LEAST_STRIPPED: usize = 5;
/// Connections that make a group where nothing but one fingerprint tells.
const LEAST_ALIKE: usize = 20;
/// Addresses that are more than a single busy host.
const LEAST_ADDRESSES: usize = 2;
/// The most addresses that a balancer connects from.
const MOST_ADDRESSES: usize = 8;
/// No-operations in a row that no stack needs: what stood there was removed.
const NOP_RUN: u8 = 4;

/// What a stack, and the path to it, show in a SYN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fingerprint {
    layout: Layout,
    mss: Option<u16>,
    wscale: Option<u8>,
    sack_permitted: bool,
    timestamps: bool,
    ttl: u8,
}

impl Fingerprint {
    fn of(opening: &Opening) -> Self {
        let options = &opening.segment.options;
        Self {
            layout: options.layout,
            mss: options.mss,
            wscale: options.wscale,
            sack_permitted: options.sack_permitted,
            timestamps: options.timestamps.is_some(),
            ttl: opening.segment.ttl,
        }
    }

    /// Returns whether options were removed from the SYN, or never were there.
    const fn is_stripped(&self) -> bool {
        self.layout.longest_nops >= NOP_RUN || self.wscale.is_none() && !self.sack_permitted
    }
}

/// Some connections whose SYNs, or SYN-ACKs, are alike.
#[derive(Default)]
struct Group {
    flows: BTreeSet<u64>,
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
}

/// The connections that come through a balancer, and how it is known.
pub(in crate::diagnose) struct Balanced {
    flows: BTreeSet<u64>,
    addresses: BTreeSet<IpAddr>,
    is_stripped: bool,
}

impl Balanced {
    /// Finds connections of a few addresses that share a fingerprint which none of those in trouble
    /// has, to the services that these use: by the SYNs of clients, or by the SYN-ACKs of servers.
    pub(in crate::diagnose) fn find(facts: &Facts<'_>) -> Option<Self> {
        let affected = affected(facts);
        let by_clients = Self::among(facts, &affected, Flags::SYN);
        by_clients.or_else(|| Self::among(facts, &affected, Flags::SYN.with(Flags::ACK)))
    }

    fn among(facts: &Facts<'_>, affected: &BTreeSet<u64>, flags: Flags) -> Option<Self> {
        let kind =
            |opening: &&Opening| opening.segment.has(Flags::ACK) == flags.contains(Flags::ACK);
        let mut groups: BTreeMap<Fingerprint, Group> = BTreeMap::new();
        for opening in facts.audit.openings.iter().filter(kind) {
            let (sender, receiver) = opening.endpoints();
            let service = if flags.contains(Flags::ACK) { sender } else { receiver };
            let group = groups.entry(Fingerprint::of(opening)).or_default();
            group.flows.insert(opening.flow);
            group.addresses.insert(sender.addr);
            group.ports.insert(service.port);
        }
        let is_hit = |group: &Group| !group.flows.is_disjoint(affected);
        let ports: BTreeSet<u16> =
            groups.values().filter(|group| is_hit(group)).flat_map(|g| g.ports.clone()).collect();
        let is_balanced = |(fingerprint, group): &(Fingerprint, Group)| {
            let (flows, addresses) = (group.flows.len(), group.addresses.len());
            let is_alike = flows >= LEAST_ALIKE && addresses >= LEAST_ADDRESSES;
            let stands_out = fingerprint.is_stripped() && flows >= LEAST_STRIPPED || is_alike;
            stands_out
                && addresses <= MOST_ADDRESSES
                && !is_hit(group)
                && !group.ports.is_disjoint(&ports)
        };
        let found = groups.into_iter().filter(is_balanced);
        let (fingerprint, group) = found.max_by_key(|(_, group)| group.flows.len())?;
        let Group { flows, addresses, .. } = group;
        Some(Self { flows, addresses, is_stripped: fingerprint.is_stripped() })
    }

    /// Says what the group means for a cause that others suffer from.
    pub(in crate::diagnose) fn sentence(&self) -> String {
        let count = u64::try_from(self.flows.len()).unwrap_or(u64::MAX);
        format!(
            "The {} through what looks like a load balancer show none of it.",
            counted(count, "connection")
        )
    }
}

/// Returns the flows in which anything points at a device or a tracker.
fn affected(facts: &Facts<'_>) -> BTreeSet<u64> {
    let is_affected = |case: &&Case<'_>| {
        let shifted = case.sides().any(|(_, side)| side.sack.beyond + side.sack.below > 0);
        let scaled = case.sides().any(|(_, side)| side.hidden_shift.is_some());
        case.all_invalid() > 0 || shifted || scaled
    };
    facts.cases.iter().filter(is_affected).map(|case| case.audit.first_frame).collect()
}

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let affected = affected(facts);
    if affected.is_empty() || facts.quality.cannot_judge() {
        return None;
    }
    let balanced = Balanced::find(facts)?;
    let count = u64::try_from(balanced.flows.len()).unwrap_or(u64::MAX);
    let addresses: Vec<_> = balanced.addresses.iter().map(ToString::to_string).collect();
    let finding = format!(
        "{} from {} share one fingerprint, as through a load balancer, and show none of the \
         trouble of {} others",
        counted(count, "connection"),
        addresses.join(", "),
        affected.len()
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &[]);
    diagnosis.flow_count = count;
    diagnosis.flows = balanced.flows.iter().copied().take(MAX_NAMED_FLOWS).collect();
    let mut score = Score::new(40, facts.quality.percent);
    // Hosts of one image look the same.
    score.at_most = Level::Probable;
    if balanced.is_stripped {
        score.add("options removed", 15);
    }
    if balanced.flows.len() >= LEAST_ALIKE {
        score.add("many flows from few addresses", 15);
    }
    diagnosis.score = score;
    diagnosis.notes.push(
        "A proxy ends the connections of clients and opens its own, with its own numbers and SACK \
         blocks: the fault lies on a leg that these connections do not have."
            .to_owned(),
    );
    diagnosis.against.push("hosts of one image share a fingerprint without any proxy".to_owned());
    Some(diagnosis)
}
