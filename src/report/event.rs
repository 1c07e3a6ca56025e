//! A line for each INVALID packet at once, in the manner of Suricata's EVE log: what a live capture
//! tells a SIEM before the report.
//!
//! The fields are those of the NDJSON report, with `kind` `packet`.

use std::io::{self, Write};

use serde::Serialize;

use crate::audit::{Inputs, PacketVerdict};
use crate::conntrack::{Reason, TcpState};
use crate::flow::community_id::community_id;

/// Writes a line for each of the verdicts that is INVALID.
///
/// # Errors
///
/// Those of `out`.
pub fn write_invalid(
    verdicts: &[PacketVerdict],
    inputs: &Inputs,
    out: &mut dyn Write,
) -> io::Result<()> {
    for verdict in verdicts.iter().filter(|told| told.verdict.is_invalid()) {
        serde_json::to_writer(&mut *out, &Event::of(verdict, inputs))?;
        writeln!(out)?;
    }
    Ok(())
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of EVE")]
struct Event<'a> {
    timestamp: String,
    event_type: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    pcap_cnt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<u64>,
    community_id: String,
    src_ip: String,
    src_port: u16,
    dest_ip: String,
    dest_port: u16,
    proto: &'static str,
    ctstate: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_state: Option<&'static str>,
    ctstate_if_liberal: &'static str,
    /// Bytes beyond the bound that the reason names.
    #[serde(skip_serializing_if = "Option::is_none")]
    excess: Option<u32>,
}

impl<'a> Event<'a> {
    fn of(told: &PacketVerdict, inputs: &'a Inputs) -> Self {
        let place = inputs.place(told.frame);
        let input = inputs.read.get(place.file.unwrap_or_default());
        let interfaces = input.map_or(&[][..], |input| input.summary.interfaces.as_slice());
        let in_iface = match interfaces {
            [only] => only.name.as_deref(),
            _ => None,
        };
        let (src, dst) = told.key.endpoints(told.orientation);
        Self {
            timestamp: told.ts.to_string(),
            event_type: "tcp_window_audit",
            kind: "packet",
            in_iface,
            pcap_cnt: place.frame,
            flow_id: told.flow,
            community_id: community_id(&told.key),
            src_ip: src.addr.to_string(),
            src_port: src.port,
            dest_ip: dst.addr.to_string(),
            dest_port: dst.port,
            proto: "TCP",
            ctstate: told.verdict.ctstate.name(),
            reason: told.verdict.reason.map(Reason::code),
            tcp_state: told.verdict.state.map(TcpState::name),
            ctstate_if_liberal: told.liberal.name(),
            excess: told.verdict.margins.zip(told.verdict.reason).and_then(|(m, r)| m.excess(r)),
        }
    }
}
