//! The causes that are known, one file each: what there is to know of it, and how the facts of a run
//! are searched for it.
//!
//! A new cause is a file, its `mod` line, and its line in the list.
//!
//! Does not: weigh one cause against another.

pub(super) mod capture_loss;
pub(super) mod checksum;
pub(super) mod flag_combination;
pub(super) mod idle_timeout;
pub(super) mod injected_reset;
pub(super) mod load_balancer;
pub(super) mod mid_stream;
pub(super) mod not_the_firewall;
pub(super) mod offload;
pub(super) mod one_way;
pub(super) mod overrun;
pub(super) mod path_mtu;
pub(super) mod payload_length;
pub(super) mod port_reuse;
pub(super) mod refused_reset;
pub(super) mod sack_shift;
pub(super) mod second_syn_ack;
pub(super) mod stale_packet;
pub(super) mod superpacket;
pub(super) mod syn_proxy;
pub(super) mod table_full;
pub(super) mod timestamps;
pub(super) mod tracked_twice;
pub(super) mod untranslated;
pub(super) mod wan_optimiser;
pub(super) mod window_scale;

use crate::diagnose::Cause;

/// All causes, in the order in which equals are shown.
pub(super) const ALL: &[Cause] = &[
    sack_shift::CAUSE,
    payload_length::CAUSE,
    window_scale::CAUSE,
    load_balancer::CAUSE,
    overrun::CAUSE,
    stale_packet::CAUSE,
    offload::CAUSE,
    one_way::CAUSE,
    untranslated::CAUSE,
    refused_reset::CAUSE,
    injected_reset::CAUSE,
    idle_timeout::CAUSE,
    port_reuse::CAUSE,
    second_syn_ack::CAUSE,
    syn_proxy::CAUSE,
    timestamps::CAUSE,
    path_mtu::CAUSE,
    checksum::CAUSE,
    flag_combination::CAUSE,
    mid_stream::CAUSE,
    table_full::CAUSE,
    tracked_twice::CAUSE,
    superpacket::CAUSE,
    not_the_firewall::CAUSE,
    wan_optimiser::CAUSE,
    capture_loss::CAUSE,
];
