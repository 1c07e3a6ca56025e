//! Devices that answer in the name of another host.

use std::collections::BTreeSet;

use super::{bench, download, upload};
use crate::bench::device::blocker::Loses;
use crate::bench::device::injector::TwoBackends;
use crate::bench::device::randomiser::{Randomiser, Sack};
use crate::bench::device::syn_proxy::SynProxy;
use crate::bench::device::{Choice, Link, put, some_data};
use crate::bench::judge::Expected;
use crate::bench::packet::Packet;
use crate::bench::path::Way;
use crate::bench::scene::{BALANCER, DROP_INVALID, SERVER};

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_syn_proxy_is_recognised_and_harms_nobody() {
    let expected = [Expected::named("client", "C15"), Expected::none("server")];
    bench("syn_proxy", 6, &expected, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        scene.server.nft(DROP_INVALID)?;
        scene.between_taps(vec![put(SynProxy::new(7)), put(Loses(some_data(10, Way::Home, 6)))]);
        scene.flows([download(150_000), upload(100_000), download(20_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_syn_proxy_with_another_shift_than_the_server_is_found() {
    // The proxy's SYN-ACK offers no window to compare with: the client's side shows the proxy only.
    let expected = [Expected::named("client", "C15"), Expected::probable("server", "C03")];
    bench("syn_proxy_wrong_scale", 6, &expected, |scene| {
        scene.clients.nft(DROP_INVALID)?;
        scene.between_taps(vec![put(SynProxy::new(0))]);
        scene.flows([upload(40_000), upload(30_000), upload(30_000)]);
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn connections_through_a_load_balancer_are_the_control_group() {
    let expected = [Expected::confirmed("server", "C01"), Expected::named("server", "C04")];
    bench("load_balancer", 8, &expected, |scene| {
        scene.server.nft(DROP_INVALID)?;
        let elements = vec![
            Link::of(10, 11),
            put(Loses(some_data(45, Way::Home, 7))),
            put(Randomiser::new(Sack::LeftAlone, 3)),
        ];
        scene.before_clients(elements);
        scene.balancer(vec![Link::of(0, 1), put(Loses(some_data(25, Way::Home, 8)))])?;
        let tap = scene.tap("server");
        scene.before_server(vec![tap]);
        for number in 0..12 {
            let to = if number % 2 == 0 { SERVER } else { BALANCER };
            // Of those straight to the server every second is shifted up.
            scene.flow(number, to, download(40_000));
        }
        Ok(())
    });
}

#[test]
#[ignore = "between real kernels; takes seconds"]
fn a_second_syn_ack_with_another_number_is_found() {
    let expected = [
        Expected::none("client"),
        Expected::probable("router", "C14"),
        Expected::probable("far", "C14"),
        Expected::none("server"),
    ];
    bench("second_syn_ack", 8, &expected, |scene| {
        let mut answered = BTreeSet::new();
        let first: Choice = Box::new(move |_, packet: &Packet| {
            packet.is_syn_ack() && answered.insert(packet.ends())
        });
        let elements = vec![
            scene.tap("client"),
            Link::of(5, 3),
            put(Loses(first)),
            scene.tap("router"),
            scene.router(DROP_INVALID)?,
            scene.tap("far"),
            Link::of(5, 8),
            put(TwoBackends { apart: 700_000_000, ttl: 61, flows: Vec::new() }),
            scene.tap("server"),
        ];
        scene.before_clients(elements);
        scene.flows([download(20_000), download(20_000), download(20_000), download(20_000)]);
        Ok(())
    });
}
