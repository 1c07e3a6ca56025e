//! The `nf_tables` rules of the namespace: they let everything pass and say what they see.
//!
//! Asking for the ct state is also what switches connection tracking and defragmentation on.
//!
//! Does not: know sockets or packets.

use super::netlink::{ACK, APPEND, CREATE, Head, Messages, NFTABLES};
use super::nflog;
use super::verdict::CtState;
use crate::segment::Direction;

/// Set in the mark of every packet that the rules have seen; the ct state stands below it.
const SEEN: u32 = 0x400;
/// Set in the mark of packets that travel in reply direction.
const REPLY: u32 = 0x200;

/// `NF_CT_STATE_*_BIT` (`nf_conntrack_common.h`, Linux 6.18) and what a rule calls it.
const CT_STATES: [(u32, CtState); 5] = [
    (1, CtState::Invalid),
    (2, CtState::Established),
    (4, CtState::Related),
    (8, CtState::New),
    (64, CtState::Untracked),
];

/// Reads the verdict that the rules wrote into the packet's mark.
pub(super) fn verdict_in(mark: u32) -> Option<(CtState, Option<Direction>)> {
    let state = mark & 0xff;
    let (_, state) = *CT_STATES.iter().find(|(bit, _)| mark & SEEN != 0 && *bit == state)?;
    let direction = match state {
        CtState::New | CtState::Established | CtState::Related => Some(direction_in(mark)),
        CtState::Invalid | CtState::Untracked | CtState::FragmentHeld | CtState::Unseen => None,
    };
    Some((state, direction))
}

fn direction_in(mark: u32) -> Direction {
    if mark & REPLY == 0 { Direction::Original } else { Direction::Reply }
}

/// Writes the batch of messages that makes the rules; each is acknowledged, [`MESSAGES`] in all.
pub(super) fn write(messages: &mut Messages) {
    frame(messages, BATCH_BEGIN);
    messages.message(head(NEWTABLE, CREATE), |m| m.text(1, TABLE));
    chain(messages, IN, PRE_ROUTING, AFTER_CONNTRACK, ACCEPT);
    chain(messages, OUT, LOCAL_OUT, BEFORE_DEFRAG, DROP);
    rule(messages, |m| {
        ct(m, CT_STATE);
        or_into_mark(m, SEEN);
    });
    rule(messages, |m| {
        ct(m, CT_DIRECTION);
        expression(m, "cmp", |m| {
            m.be32(1, REGISTER);
            m.be32(2, EQUAL);
            m.nest(3, |m| m.attribute(1, &[Direction::Reply as u8]));
        });
        meta_mark(m, META_DREG);
        or_into_mark(m, REPLY);
    });
    rule(messages, |m| {
        expression(m, "log", |m| m.attribute(1, &nflog::VERDICTS.to_be_bytes()));
    });
    frame(messages, BATCH_END);
}

/// Acknowledgements that [`write()`] asks for: one table, two chains, three rules.
pub(super) const MESSAGES: usize = 6;

const TABLE: &str = "audit";
const IN: &str = "in";
const OUT: &str = "out";
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEWTABLE: u16 = NFTABLES;
const NEWCHAIN: u16 = NFTABLES | 3;
const NEWRULE: u16 = NFTABLES | 6;
const INET: u8 = 1;
const PRE_ROUTING: u32 = 0;
const LOCAL_OUT: u32 = 3;
/// Connection tracking runs at -200.
const AFTER_CONNTRACK: i32 = -150;
/// Defragmentation runs at -400.
const BEFORE_DEFRAG: i32 = -450;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// `NFT_REG_1`.
const REGISTER: u32 = 1;
const CT_STATE: u32 = 0;
const CT_DIRECTION: u32 = 1;
const META_MARK: u32 = 3;
const META_DREG: u16 = 1;
const META_SREG: u16 = 3;
const EQUAL: u32 = 0;

fn head(kind: u16, flags: u16) -> Head {
    Head { kind, flags: flags | ACK, seq: 0, family: INET, resource: 0 }
}

fn frame(messages: &mut Messages, kind: u16) {
    let head = Head { kind, flags: 0, seq: 0, family: 0, resource: NFTABLES >> 8 };
    messages.message(head, |_| {});
}

fn chain(messages: &mut Messages, name: &str, hook: u32, priority: i32, policy: u32) {
    messages.message(head(NEWCHAIN, CREATE), |m| {
        m.text(1, TABLE);
        m.text(3, name);
        m.nest(4, |m| {
            m.be32(1, hook);
            m.be32(2, priority.cast_unsigned());
        });
        m.be32(5, policy);
        m.text(7, "filter");
    });
}

fn rule(messages: &mut Messages, expressions: impl FnOnce(&mut Messages)) {
    messages.message(head(NEWRULE, CREATE | APPEND), |m| {
        m.text(1, TABLE);
        m.text(2, IN);
        m.nest(4, expressions);
    });
}

fn expression(messages: &mut Messages, name: &str, data: impl FnOnce(&mut Messages)) {
    messages.nest(1, |m| {
        m.text(1, name);
        m.nest(2, data);
    });
}

fn ct(messages: &mut Messages, key: u32) {
    expression(messages, "ct", |m| {
        m.be32(1, REGISTER);
        m.be32(2, key);
    });
}

fn meta_mark(messages: &mut Messages, register: u16) {
    expression(messages, "meta", |m| {
        m.be32(2, META_MARK);
        m.be32(register, REGISTER);
    });
}

/// Sets the mark to the register's value with the bits set: value & !bits ^ bits.
fn or_into_mark(messages: &mut Messages, bits: u32) {
    expression(messages, "bitwise", |m| {
        m.be32(1, REGISTER);
        m.be32(2, REGISTER);
        m.be32(3, 4);
        m.nest(4, |m| m.attribute(1, &(!bits).to_ne_bytes()));
        m.nest(5, |m| m.attribute(1, &bits.to_ne_bytes()));
    });
    meta_mark(messages, META_SREG);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_the_rules_write_them() {
        assert_eq!(verdict_in(0x408), Some((CtState::New, Some(Direction::Original))));
        assert_eq!(verdict_in(0x602), Some((CtState::Established, Some(Direction::Reply))));
        assert_eq!(verdict_in(0x401), Some((CtState::Invalid, None)));
        assert_eq!(verdict_in(0x440), Some((CtState::Untracked, None)));
        assert_eq!(verdict_in(0x002), None);
        assert_eq!(verdict_in(0x400), None);
    }
}
