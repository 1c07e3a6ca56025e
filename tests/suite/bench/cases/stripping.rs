//! Every way of taking an option from the handshake, and of writing another shift.

use super::{bench, download, exchange, upload};
use crate::bench::device::options::{Puts, Stripping, Strips};
use crate::bench::device::{Choice, put};
use crate::bench::judge::Expected;
use crate::bench::packet::{Packet, SACK_PERMITTED, SYN, TIMESTAMPS, WSCALE};

/// The segments of a handshake from which something is taken.
const SYNS: [&str; 3] = ["syn", "syn_ack", "both"];

fn chosen(syns: &str) -> Choice {
    match syns {
        "syn" => Box::new(|_, packet: &Packet| packet.is_bare_syn()),
        "syn_ack" => Box::new(|_, packet: &Packet| packet.is_syn_ack()),
        _ => Box::new(|_, packet: &Packet| packet.has(SYN)),
    }
}

/// Takes an option away in each manner from each of these segments: nobody is harmed.
fn strip(option: &str, kinds: &'static [u8], from: &[&str]) {
    for (manner, how) in [("nop", Stripping::Nops), ("removed", Stripping::Removal)] {
        for syns in from {
            let expected = [Expected::none("client"), Expected::none("server")];
            bench(&format!("{option}_{manner}_{syns}_in_turn"), 5, &expected, |scene| {
                scene.between_firewalls(vec![put(Strips { kinds, how, from: chosen(syns) })])?;
                scene.flows([upload(15_000), upload(14_000), download(60_000)]);
                Ok(())
            });
        }
    }
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn scaling_taken_from_the_syn_harms_nobody() {
    // A SYN without the option is answered by none: neither side scales.
    strip("wscale", &[WSCALE], &["syn", "both"]);
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn sack_taken_away_harms_nobody() {
    strip("sack", &[SACK_PERMITTED], &SYNS);
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn timestamps_taken_from_the_handshake_harm_nobody() {
    strip("timestamps", &[TIMESTAMPS], &SYNS);
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_shift_of_the_server_written_down_makes_the_client_crawl() {
    let expected = [Expected::probable("client", "C03"), Expected::none("server")];
    bench("scale_rewriter_down_syn_ack", 6, &expected, |scene| {
        scene.between_firewalls(vec![put(Puts::wscale(2, chosen("syn_ack")))])?;
        scene.flows([upload(60_000), upload(60_000), upload(60_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_shift_of_the_client_written_up_harms_nobody_who_needs_less() {
    let expected = [Expected::none("client"), Expected::none("server")];
    bench("scale_rewriter_up_syn", 6, &expected, |scene| {
        scene.between_firewalls(vec![put(Puts::wscale(12, chosen("syn")))])?;
        scene.flows([vec![exchange(0, 400, 50_000), exchange(50, 400, 60_000)], download(90_000)]);
        Ok(())
    });
}
