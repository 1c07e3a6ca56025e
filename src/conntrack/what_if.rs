//! The panel of a run: its own policy, its liberal twin, and every kernel with every switch.
//!
//! Does not: judge.

use crate::conntrack::policy::Setting;
use crate::conntrack::profile::Profile;
use crate::conntrack::sysctl::Policy;

/// Returns the policies of a run, its own first, its liberal twin second; the others are all
/// kernels with all values of `be_liberal`, `loose` and `ignore_invalid_rst`, in a fixed order.
///
/// A kernel that lacks `ignore_invalid_rst` stands there once, with 0.
pub fn panel(own: Policy) -> Vec<Policy> {
    let mut policies = vec![own, own.liberal()];
    for profile in Profile::all() {
        for be_liberal in [Setting::Off, Setting::On] {
            for loose in [Setting::On, Setting::Off] {
                for ignore_invalid_rst in [Setting::Off, Setting::On] {
                    let exists =
                        ignore_invalid_rst == Setting::Off || profile.has_ignore_invalid_rst();
                    let policy = Policy { profile, be_liberal, loose, ignore_invalid_rst, ..own };
                    if exists {
                        policies.push(policy);
                    }
                }
            }
        }
    }
    policies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::MAX_POLICIES;
    use crate::conntrack::sysctl::Sysctls;

    #[test]
    fn a_panel_has_room_for_every_kernel_with_every_switch() {
        let panel = panel(Policy::new(Profile::DEFAULT, &Sysctls::default()));
        assert!(panel.len() <= MAX_POLICIES, "{}", panel.len());
        assert_eq!(panel[1], panel[0].liberal());
        for profile in Profile::all() {
            let of_kernel = panel[2..].iter().filter(|policy| policy.profile == profile).count();
            assert_eq!(of_kernel, if profile.has_ignore_invalid_rst() { 8 } else { 4 });
        }
    }
}
