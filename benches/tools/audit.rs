//! Whole audits within this process, by one worker, as the program does them.

use std::path::Path;

use tcp_window_audit::audit::{Inputs, Method, PacketVerdict};
use tcp_window_audit::conntrack::{Policy, Profile, Sysctls, what_if};
use tcp_window_audit::frame::Batch;
use tcp_window_audit::pipeline::{Observer, Plan, Run};
use tcp_window_audit::source::{self, FrameSource, Timeline};

/// Listens to nothing.
pub struct Silent;

impl Observer for Silent {
    fn verdicts(&mut self, _: &[PacketVerdict], _: &Inputs) -> std::io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, _: u64, _: &dyn FrameSource) {}
}

/// Returns the policy that judges when nothing is said.
pub fn own_policy() -> Policy {
    Policy::new(Profile::DEFAULT, &Sysctls::default())
}

/// Returns the policies that judge when nothing is said: every kernel with every switch.
pub fn all_policies() -> Vec<Policy> {
    what_if::panel(own_policy())
}

/// Plans a run as the program does without options, but for one worker.
pub fn plan(policies: Vec<Policy>) -> Plan {
    let method = Method { policies, sysctls: Sysctls::default(), notrack: Vec::new() };
    Plan::new(method)
}

/// Audits a capture.
pub fn whole(path: &Path, policies: Vec<Policy>) -> tcp_window_audit::audit::Audit {
    let mut run = Run::new(&plan(policies));
    let mut capture = source::open(path, Timeline::default()).unwrap();
    run.read(&mut capture, &mut Silent);
    run.finish()
}

/// Audits a capture batch by batch, and shows the run after each; ends none of its flows.
pub fn step_through(path: &Path, mut look: impl FnMut(&Run)) -> Run {
    let mut run = Run::new(&plan(all_policies()));
    let mut capture = source::open(path, Timeline::default()).unwrap();
    let mut batch = Batch::default();
    while run.step(&mut capture, &mut batch, &mut Silent).expect("the capture should be whole") {
        look(&run);
    }
    run
}
