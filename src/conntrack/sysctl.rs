//! The tracker's settings under their kernel names.
//!
//! `nf_conntrack_standalone.c` (Linux 6.18) for the names, `nf_conntrack_proto_tcp.c` for the
//! defaults. Does not: read `/proc`.

use crate::conntrack::datagram::DatagramTimeouts;
use crate::conntrack::policy::{Feature, Features, Limits, Setting};
use crate::conntrack::profile::Profile;
use crate::conntrack::state::TcpState;
use crate::time::NANOS_PER_SEC;

/// The settings that decide verdicts, each a `net.netfilter.` key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sysctls {
    /// `nf_conntrack_tcp_be_liberal`, default 0.
    pub be_liberal: Setting,
    /// `nf_conntrack_tcp_loose`, default 1.
    pub loose: Setting,
    /// `nf_conntrack_tcp_ignore_invalid_rst`, default 0; no effect before 5.14.
    pub ignore_invalid_rst: Setting,
    /// `nf_conntrack_tcp_no_window_check` of `OpenWrt` kernels, default 0.
    pub no_window_check: Setting,
    /// `nf_conntrack_checksum`. The kernel's default is 1; a capture cannot tell offloaded
    /// checksums from wrong ones, so that here the default is 0: checksums are not judged.
    pub checksum: Setting,
    /// `nf_conntrack_tcp_max_retrans` and the `nf_conntrack_tcp_timeout_*`.
    pub limits: Limits,
    /// `nf_conntrack_udp_timeout` and the timeouts of other protocols.
    pub datagram: DatagramTimeouts,
    /// `nf_conntrack_max`, `nf_conntrack_buckets` and `nf_conntrack_expect_max`.
    pub table: TableSize,
}

/// How much the kernel's tables may hold; none where nothing was set, so that the kernel's own
/// default holds.
///
/// The kernel computes its defaults from the memory of the machine when the module is loaded
/// (`nf_conntrack_init_start()`, `nf_conntrack_core.c`), so a capture cannot tell them. On a machine
/// of 64 bits with this much of it, buckets and maximum are:
///
/// | kernels | up to 1 GiB | above 1 GiB | above 4 GiB | maximum for each bucket |
/// | --- | --- | --- | --- | --- |
/// | 2.6.32 to 3.10 | a bucket for 128 KiB | 16,384 and 65,536 | the same | 4 |
/// | 4.19 to 5.14 | the same | 16,384 and 65,536 | 65,536 and 262,144 | 4 |
/// | 5.15 on | the same | 65,536 and 65,536 | 262,144 and 262,144 | 1 |
///
/// There are at least 32 buckets (1,024 from 5.15 on). With the module's parameter `hashsize` the
/// maximum is 8 times as many. Table and maximum are the machine's; a network namespace has a count
/// of its own.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TableSize {
    /// `nf_conntrack_max`: the most entries; 0 is no bound.
    pub max: Option<u32>,
    /// `nf_conntrack_buckets`: the slots of the hash table, at least 1.
    pub buckets: Option<u32>,
    /// `nf_conntrack_expect_max`: the most connections that helpers expect, at least 1.
    pub expect_max: Option<u32>,
}

impl Default for Sysctls {
    fn default() -> Self {
        Self {
            be_liberal: Setting::Off,
            loose: Setting::On,
            ignore_invalid_rst: Setting::Off,
            no_window_check: Setting::Off,
            checksum: Setting::Off,
            limits: Limits::default(),
            datagram: DatagramTimeouts::default(),
            table: TableSize::default(),
        }
    }
}

/// The keys that are modelled, without the prefix `net.netfilter.`.
pub const KEYS: [&str; 26] = [
    "nf_conntrack_buckets",
    "nf_conntrack_checksum",
    "nf_conntrack_expect_max",
    "nf_conntrack_generic_timeout",
    "nf_conntrack_gre_timeout",
    "nf_conntrack_gre_timeout_stream",
    "nf_conntrack_icmp_timeout",
    "nf_conntrack_icmpv6_timeout",
    "nf_conntrack_max",
    "nf_conntrack_tcp_be_liberal",
    "nf_conntrack_tcp_ignore_invalid_rst",
    "nf_conntrack_tcp_loose",
    "nf_conntrack_tcp_max_retrans",
    "nf_conntrack_tcp_no_window_check",
    "nf_conntrack_tcp_timeout_close",
    "nf_conntrack_tcp_timeout_close_wait",
    "nf_conntrack_tcp_timeout_established",
    "nf_conntrack_tcp_timeout_fin_wait",
    "nf_conntrack_tcp_timeout_last_ack",
    "nf_conntrack_tcp_timeout_max_retrans",
    "nf_conntrack_tcp_timeout_syn_recv",
    "nf_conntrack_tcp_timeout_syn_sent",
    "nf_conntrack_tcp_timeout_time_wait",
    "nf_conntrack_tcp_timeout_unacknowledged",
    "nf_conntrack_udp_timeout",
    "nf_conntrack_udp_timeout_stream",
];

/// Why a setting was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SysctlError {
    /// No such key is modelled.
    #[error("unknown sysctl {key}; known are: {}", KEYS.join(", "))]
    UnknownKey {
        /// The key as given.
        key: String,
    },
    /// The value is no number, or out of range.
    #[error("{key} takes a whole number from {min} to {max}, not {value:?}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The smallest value.
        min: u32,
        /// The largest value.
        max: u32,
        /// The value as given.
        value: String,
    },
    /// There is no `=`.
    #[error("{0:?} is not of the form KEY=VALUE")]
    NoValue(String),
}

impl Sysctls {
    /// Returns the defaults of a kernel, but for the checksums.
    pub fn of(profile: Profile) -> Self {
        let datagram = DatagramTimeouts::of(profile.features());
        Self { datagram, ..Self::default() }
    }

    /// Applies `KEY=VALUE`, and returns the key; the prefix `net.netfilter.` may be there or not.
    ///
    /// # Errors
    ///
    /// [`SysctlError`] for an unknown key or a value out of range; nothing is changed then.
    pub fn apply(&mut self, assignment: &str) -> Result<&'static str, SysctlError> {
        let (key, value) = assignment
            .split_once('=')
            .ok_or_else(|| SysctlError::NoValue(assignment.to_owned()))?;
        self.set(key.trim(), value.trim())
    }

    /// Sets one key, and returns it bare; the prefix `net.netfilter.` may be there or not.
    ///
    /// # Errors
    ///
    /// As [`Sysctls::apply`].
    pub fn set(&mut self, key: &str, value: &str) -> Result<&'static str, SysctlError> {
        const LARGEST: u32 = i32::MAX.cast_unsigned();
        let bare = key.strip_prefix("net.netfilter.").unwrap_or(key);
        let known = KEYS.iter().find(|known| **known == bare);
        let key = *known.ok_or_else(|| SysctlError::UnknownKey { key: key.to_owned() })?;
        let (min, max) = match key {
            "nf_conntrack_tcp_max_retrans" => (0, 255),
            "nf_conntrack_max" => (0, LARGEST),
            "nf_conntrack_buckets" | "nf_conntrack_expect_max" => (1, LARGEST),
            timeout if timeout.contains("_timeout") => (0, LARGEST),
            _ => (0, 1),
        };
        let number = value.parse::<u32>().ok().filter(|number| (min..=max).contains(number));
        let number = number.ok_or_else(|| SysctlError::BadValue {
            key,
            min,
            max,
            value: value.to_owned(),
        })?;
        self.assign(key, number);
        Ok(key)
    }

    /// Returns the value of a key, in the key's own unit; none where the kernel's own default holds.
    pub fn value(&self, key: &str) -> Option<u32> {
        let switch = |setting| u32::from(setting == Setting::On);
        match key {
            "nf_conntrack_tcp_be_liberal" => Some(switch(self.be_liberal)),
            "nf_conntrack_tcp_loose" => Some(switch(self.loose)),
            "nf_conntrack_tcp_ignore_invalid_rst" => Some(switch(self.ignore_invalid_rst)),
            "nf_conntrack_tcp_no_window_check" => Some(switch(self.no_window_check)),
            "nf_conntrack_checksum" => Some(switch(self.checksum)),
            "nf_conntrack_max" => self.table.max,
            "nf_conntrack_buckets" => self.table.buckets,
            "nf_conntrack_expect_max" => self.table.expect_max,
            "nf_conntrack_tcp_max_retrans" => Some(u32::from(self.limits.max_retrans)),
            _ => u32::try_from(self.timeout(key)? / NANOS_PER_SEC).ok(),
        }
    }

    fn assign(&mut self, key: &str, number: u32) {
        let switch = if number == 0 { Setting::Off } else { Setting::On };
        match key {
            "nf_conntrack_tcp_be_liberal" => self.be_liberal = switch,
            "nf_conntrack_tcp_loose" => self.loose = switch,
            "nf_conntrack_tcp_ignore_invalid_rst" => self.ignore_invalid_rst = switch,
            "nf_conntrack_tcp_no_window_check" => self.no_window_check = switch,
            "nf_conntrack_checksum" => self.checksum = switch,
            "nf_conntrack_max" => self.table.max = Some(number),
            "nf_conntrack_buckets" => self.table.buckets = Some(number),
            "nf_conntrack_expect_max" => self.table.expect_max = Some(number),
            "nf_conntrack_tcp_max_retrans" => {
                self.limits.max_retrans = u8::try_from(number).unwrap_or(u8::MAX);
            }
            _ => {
                if let Some(timeout_ns) = self.timeout_mut(key) {
                    *timeout_ns = i64::from(number) * NANOS_PER_SEC;
                }
            }
        }
    }

    /// Returns the value of a timeout's key, in nanoseconds.
    pub fn timeout(&self, key: &str) -> Option<i64> {
        let mut copy = *self;
        copy.timeout_mut(key).copied()
    }

    /// Finds the field of a timeout's key.
    fn timeout_mut(&mut self, key: &str) -> Option<&mut i64> {
        match key {
            "nf_conntrack_udp_timeout" => return Some(&mut self.datagram.udp),
            "nf_conntrack_udp_timeout_stream" => return Some(&mut self.datagram.udp_stream),
            "nf_conntrack_icmp_timeout" => return Some(&mut self.datagram.icmp),
            "nf_conntrack_icmpv6_timeout" => return Some(&mut self.datagram.icmpv6),
            "nf_conntrack_gre_timeout" => return Some(&mut self.datagram.gre),
            "nf_conntrack_gre_timeout_stream" => return Some(&mut self.datagram.gre_stream),
            "nf_conntrack_generic_timeout" => return Some(&mut self.datagram.generic),
            _ => {}
        }
        let timeouts = &mut self.limits.timeouts;
        let state = match key.strip_prefix("nf_conntrack_tcp_timeout_")? {
            "max_retrans" => return Some(&mut timeouts.max_retrans),
            "unacknowledged" => return Some(&mut timeouts.unacknowledged),
            "syn_sent" => TcpState::SynSent,
            "syn_recv" => TcpState::SynRecv,
            "established" => TcpState::Established,
            "fin_wait" => TcpState::FinWait,
            "close_wait" => TcpState::CloseWait,
            "last_ack" => TcpState::LastAck,
            "time_wait" => TcpState::TimeWait,
            "close" => TcpState::Close,
            _ => return None,
        };
        timeouts.by_state.get_mut(state as usize)
    }
}

/// A kernel with the switches that change verdicts: one member of a panel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The kernel.
    pub profile: Profile,
    /// `nf_conntrack_tcp_be_liberal`.
    pub be_liberal: Setting,
    /// `nf_conntrack_tcp_loose`.
    pub loose: Setting,
    /// `nf_conntrack_tcp_ignore_invalid_rst`.
    pub ignore_invalid_rst: Setting,
    /// `nf_conntrack_tcp_no_window_check`.
    pub no_window_check: Setting,
}

impl Policy {
    /// Joins a kernel with settings.
    pub const fn new(profile: Profile, sysctls: &Sysctls) -> Self {
        Self {
            profile,
            be_liberal: sysctls.be_liberal,
            loose: sysctls.loose,
            ignore_invalid_rst: sysctls.ignore_invalid_rst,
            no_window_check: sysctls.no_window_check,
        }
    }

    /// Returns the same policy with `nf_conntrack_tcp_be_liberal` = 1.
    #[must_use]
    pub const fn liberal(self) -> Self {
        Self { be_liberal: Setting::On, ..self }
    }

    /// Returns the features that this policy amounts to.
    pub fn features(&self) -> Features {
        let ignores = match self.ignore_invalid_rst {
            Setting::On if self.profile.has_ignore_invalid_rst() => Setting::On,
            _ => Setting::Off,
        };
        self.profile
            .features()
            .set(Feature::BeLiberal, self.be_liberal)
            .set(Feature::Loose, self.loose)
            .set(Feature::IgnoreInvalidRst, ignores)
            .set(Feature::NoWindowCheck, self.no_window_check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_with_and_without_prefix() {
        let mut sysctls = Sysctls::default();
        sysctls.apply("net.netfilter.nf_conntrack_tcp_be_liberal=1").unwrap();
        sysctls.apply("nf_conntrack_tcp_loose = 0").unwrap();
        sysctls.apply("nf_conntrack_tcp_timeout_established=600").unwrap();
        sysctls.apply("nf_conntrack_tcp_max_retrans=255").unwrap();
        assert_eq!((sysctls.be_liberal, sysctls.loose), (Setting::On, Setting::Off));
        let established = TcpState::Established as usize;
        assert_eq!(sysctls.limits.timeouts.by_state[established], 600 * NANOS_PER_SEC);
        assert_eq!(sysctls.limits.max_retrans, 255);
    }

    #[test]
    fn every_key_that_is_listed_changes_something() {
        for key in KEYS {
            let mut sysctls = Sysctls::default();
            let value = if key.ends_with("_loose") { "0" } else { "1" };
            sysctls.set(key, value).unwrap();
            assert_ne!(sysctls, Sysctls::default(), "{key}");
            assert_eq!(sysctls.value(key).unwrap().to_string(), value, "{key}");
        }
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused_with_what_is_known() {
        let mut sysctls = Sysctls::default();
        let unknown = sysctls.apply("nf_conntrack_tcp_be_librel=1").unwrap_err().to_string();
        assert!(unknown.contains("nf_conntrack_tcp_be_liberal"), "{unknown}");
        for bad in [
            "nf_conntrack_tcp_loose=2",
            "nf_conntrack_tcp_max_retrans=256",
            "nf_conntrack_checksum=x",
            "nf_conntrack_buckets=0",
            "nf_conntrack_max=-1",
        ] {
            assert!(matches!(sysctls.apply(bad), Err(SysctlError::BadValue { .. })), "{bad}");
        }
        assert!(matches!(sysctls.apply("loose"), Err(SysctlError::NoValue(_))));
        assert_eq!(sysctls, Sysctls::default());
    }
}
