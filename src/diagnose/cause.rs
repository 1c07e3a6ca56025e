//! What a cause is: an id, what there is to know of it, and how facts are searched for it.
//!
//! Does not: know any of them; each has a file of its own in `causes`.

use std::fmt;
use std::net::IpAddr;

use crate::diagnose::causes::ALL;
use crate::diagnose::{Diagnosis, Facts, Remedy};

/// A cause of trouble.
#[derive(Clone, Copy)]
pub struct Cause(&'static Knowledge);

/// What there is to know of a cause.
pub(super) struct Knowledge {
    /// The stable id.
    pub(super) id: &'static str,
    /// The stable name.
    pub(super) name: &'static str,
    /// The name in words.
    pub(super) title: &'static str,
    /// Whether something on the path or in the tracker is at fault, and not the capture or the ends.
    pub(super) blames_a_device: bool,
    pub(super) mechanism: &'static str,
    pub(super) signature: &'static str,
    pub(super) look_alikes: &'static str,
    pub(super) remedy: &'static str,
    pub(super) references: &'static str,
    /// Searches the facts of a run for it; none where no capture can show it.
    pub(super) diagnose: Option<fn(&Facts<'_>) -> Option<Diagnosis>>,
    /// Returns the remedies that only this cause has, for some hosts, so that they can be tried.
    pub(super) remedies: fn(&[IpAddr]) -> Vec<Remedy>,
}

impl Cause {
    /// Makes a cause of what there is to know of it.
    pub(super) const fn known(knowledge: &'static Knowledge) -> Self {
        Self(knowledge)
    }

    /// Returns all causes, in the order in which equals are shown.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().copied()
    }

    /// Returns the stable id.
    pub const fn id(self) -> &'static str {
        self.0.id
    }

    /// Returns the stable name.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// Returns the name in words.
    pub const fn title(self) -> &'static str {
        self.0.title
    }

    /// Returns whether something on the path or in the tracker is at fault, and not the capture or
    /// the ends.
    pub const fn blames_a_device(self) -> bool {
        self.0.blames_a_device
    }

    /// Returns what there is to know.
    pub(super) const fn knowledge(self) -> &'static Knowledge {
        self.0
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Cause {}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_and_names_are_unique() {
        let ids: BTreeSet<_> = Cause::all().map(Cause::id).collect();
        let names: BTreeSet<_> = Cause::all().map(Cause::name).collect();
        assert_eq!((ids.len(), names.len()), (ALL.len(), ALL.len()));
    }
}
