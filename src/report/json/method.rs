//! How it was judged, by what, and what the report gives away, as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::{Addresses, Audit, Hits, Origin, Times};
use crate::conntrack::{Policy, Setting};
use crate::report::view::{ASSUMPTION, switches};

/// What wrote the report.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Tool {
    name: &'static str,
    version: &'static str,
    /// The options that decide what the report says, as on the command line; no key is among them.
    args: Vec<String>,
}

/// What judged, and what it assumed.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Method {
    /// The kernel, as a profile that it was compared with.
    kernel_profile: &'static str,
    /// Who chose it: `default`, `option` or `host`.
    kernel_source: &'static str,
    /// The settings that decide verdicts.
    sysctl: BTreeMap<&'static str, u32>,
    /// Who chose those that are not defaults: `option`, or `host` for the machine of the audit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sysctl_source: BTreeMap<&'static str, &'static str>,
    /// Expressions that exempt packets from tracking.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notrack: Vec<String>,
    assumption: &'static str,
}

/// What the report gives away of the capture.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Privacy {
    /// `plain`, or `mapped` when every address is replaced by another.
    addresses: &'static str,
    /// How they are replaced; absent when they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<&'static str>,
    payload: &'static str,
    macs: &'static str,
    /// `absolute`, or `relative` to the earliest frame, which stands at 1970-01-01T00:00:00Z.
    timestamps: &'static str,
}

/// One policy of the panel and what it calls INVALID.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Judge {
    profile: &'static str,
    /// `nf_conntrack_tcp_be_liberal`.
    be_liberal: u8,
    /// `nf_conntrack_tcp_loose`.
    loose: u8,
    /// `nf_conntrack_tcp_ignore_invalid_rst`.
    ignore_invalid_rst: u8,
    invalid_packets: u64,
    /// Flows with at least one of them.
    flows_hit: u64,
}

impl Tool {
    pub(super) fn of(audit: &Audit) -> Self {
        let args = audit.provenance.options.clone();
        Self { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), args }
    }
}

impl Method {
    pub(super) fn of(audit: &Audit) -> Self {
        let provenance = &audit.provenance;
        let chosen = provenance.sysctls.iter().filter(|(_, origin)| **origin != Origin::Default);
        Self {
            kernel_profile: audit.method.policies.first().map_or("", |own| own.profile.name()),
            kernel_source: provenance.kernel.code(),
            sysctl: switches(audit),
            sysctl_source: chosen.map(|(key, origin)| (*key, origin.code())).collect(),
            notrack: audit.method.notrack.clone(),
            assumption: ASSUMPTION,
        }
    }
}

impl Privacy {
    pub(super) fn of(audit: &Audit) -> Self {
        let provenance = &audit.provenance;
        let (addresses, mapping) = match provenance.addresses {
            Addresses::Plain => ("plain", None),
            Addresses::Mapped => ("mapped", Some("prefix-preserving, keyed")),
        };
        let timestamps = match provenance.times {
            Times::Absolute => "absolute",
            Times::Relative => "relative",
        };
        Self { addresses, mapping, payload: "never", macs: "omitted", timestamps }
    }
}

impl Judge {
    /// Returns the panel beyond the run's own policy and its twin, when anything is INVALID.
    pub(super) fn all(audit: &Audit) -> Vec<Self> {
        if audit.strict().packets == 0 {
            return Vec::new();
        }
        let policies = audit.method.policies.iter().zip(&audit.totals.hits).skip(2);
        policies.map(|(policy, hits)| Self::of(*policy, *hits)).collect()
    }

    fn of(policy: Policy, hits: Hits) -> Self {
        let value = |setting| u8::from(setting == Setting::On);
        Self {
            profile: policy.profile.name(),
            be_liberal: value(policy.be_liberal),
            loose: value(policy.loose),
            ignore_invalid_rst: value(policy.ignore_invalid_rst),
            invalid_packets: hits.packets,
            flows_hit: hits.flows,
        }
    }
}
