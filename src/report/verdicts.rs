//! The verdict stream: one JSON object a line for every TCP packet and every ICMP error about one.

use std::io::{self, Write};

use crate::audit::{Inputs, PacketVerdict, Place};
use crate::conntrack::Margins;

/// Writes the verdicts, a line each, in the order given.
///
/// # Errors
///
/// Those of `out`.
pub fn write_verdicts(
    verdicts: &[PacketVerdict],
    inputs: &Inputs,
    out: &mut dyn Write,
) -> io::Result<()> {
    verdicts.iter().try_for_each(|verdict| write_line(verdict, inputs.place(verdict.frame), out))
}

/// Every text here is a name of this program's own, so that nothing needs escaping.
fn write_line(line: &PacketVerdict, place: Place, out: &mut dyn Write) -> io::Result<()> {
    let PacketVerdict { ts, flow, direction, verdict, liberal, .. } = line;
    write!(out, "{{")?;
    if let Some(file) = place.file {
        write!(out, "\"file\":{file},")?;
    }
    write!(out, "\"frame\":{},\"ts\":\"{ts}\",\"flow\":", place.frame)?;
    match flow {
        Some(flow) => write!(out, "{flow}")?,
        None => write!(out, "null")?,
    }
    write!(out, ",\"dir\":")?;
    write_name(direction.map(super::super::segment::Direction::name), out)?;
    write!(out, ",\"ctstate\":\"{}\",\"reason\":", verdict.ctstate.name())?;
    write_name(verdict.reason.map(super::super::conntrack::verdict::Reason::code), out)?;
    write!(out, ",\"state\":")?;
    write_name(verdict.state.map(super::super::conntrack::state::TcpState::name), out)?;
    write!(out, ",\"liberal\":\"{}\",\"margins\":", liberal.name())?;
    write_margins(verdict.margins.as_ref(), out)?;
    writeln!(out, "}}")
}

fn write_name(name: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    match name {
        Some(name) => write!(out, "\"{name}\""),
        None => write!(out, "null"),
    }
}

fn write_margins(margins: Option<&Margins>, out: &mut dyn Write) -> io::Result<()> {
    let Some(Margins { seq_upper, seq_lower, ack_upper, ack_lower }) = margins else {
        return write!(out, "null");
    };
    write!(
        out,
        "{{\"seq_upper\":{seq_upper},\"seq_lower\":{seq_lower},\
         \"ack_upper\":{ack_upper},\"ack_lower\":{ack_lower}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::{CtState, Reason, TcpState, Verdict};
    use crate::segment::Direction;
    use crate::time::Timestamp;
    use crate::tuple::{FlowKey, Orientation};

    #[test]
    fn a_line_has_the_documented_keys_in_their_order() {
        let margins = Margins { seq_upper: 6001, seq_lower: 12, ack_upper: -998, ack_lower: 400 };
        let verdict = Verdict {
            direction: Some(Direction::Reply),
            state: Some(TcpState::Established),
            margins: Some(margins),
            ..Verdict::invalid(Reason::AckOver)
        };
        let line = PacketVerdict {
            part: 0,
            frame: 7,
            ts: Timestamp(1_430_820_131_000_123_456),
            clock: Timestamp(1_430_820_131_000_123_456),
            flow: Some(1),
            key: FlowKey::default(),
            orientation: Orientation::default(),
            direction: verdict.direction,
            verdict,
            liberal: CtState::Established,
        };
        let mut out = Vec::new();
        write_verdicts(&[line], &Inputs::default(), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"frame\":7,\"ts\":\"2015-05-05T10:02:11.000123456Z\",\"flow\":1,\"dir\":\"reply\",\
             \"ctstate\":\"INVALID\",\"reason\":\"ack_over\",\"state\":\"ESTABLISHED\",\
             \"liberal\":\"ESTABLISHED\",\"margins\":{\"seq_upper\":6001,\"seq_lower\":12,\
             \"ack_upper\":-998,\"ack_lower\":400}}\n"
        );
    }
}
