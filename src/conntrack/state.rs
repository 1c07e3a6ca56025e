//! The TCP states of the tracker and the table of transitions between them.
//!
//! `tcp_conntracks` in `nf_conntrack_proto_tcp.c`, Linux 6.18. Does not: know windows or time.

use crate::conntrack::policy::{Choices, Feature};
use crate::segment::{Direction, Flags};

/// The state of a tracked connection: `enum tcp_conntrack`, with the kernel's names.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Debug,
    serde::Serialize,
    serde::Deserialize,
)]
#[repr(u8)]
pub enum TcpState {
    /// No packet yet.
    #[default]
    None = 0,
    /// A SYN was seen.
    SynSent,
    /// A SYN/ACK answered it.
    SynRecv,
    /// The handshake is complete.
    Established,
    /// A FIN was seen.
    FinWait,
    /// The FIN was acknowledged.
    CloseWait,
    /// A second FIN was seen.
    LastAck,
    /// The second FIN was acknowledged.
    TimeWait,
    /// A RST was seen.
    Close,
    /// Both sides sent a SYN.
    SynSent2,
}

impl TcpState {
    /// All states, in the kernel's order.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
    ];

    /// Returns the kernel's name of the state, as `conntrack -L` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }
}

/// The class of a segment, by which the table is indexed: `enum tcp_bit_set`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Class {
    /// SYN without ACK.
    Syn = 0,
    /// SYN and ACK.
    Synack,
    /// FIN.
    Fin,
    /// ACK and nothing of the above.
    Ack,
    /// RST, whatever else is set.
    Rst,
    /// None of these flags.
    None,
}

impl Class {
    /// All classes, in the kernel's order.
    pub const ALL: [Self; 6] =
        [Self::Syn, Self::Synack, Self::Fin, Self::Ack, Self::Rst, Self::None];

    /// Classifies a segment by its flags: `get_conntrack_index()`.
    #[inline]
    pub const fn of(flags: Flags) -> Self {
        if flags.contains(Flags::RST) {
            Self::Rst
        } else if flags.contains(Flags::SYN) {
            if flags.contains(Flags::ACK) { Self::Synack } else { Self::Syn }
        } else if flags.contains(Flags::FIN) {
            Self::Fin
        } else if flags.contains(Flags::ACK) {
            Self::Ack
        } else {
            Self::None
        }
    }

    /// Returns the name of the class in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::Synack => "synack",
            Self::Fin => "fin",
            Self::Ack => "ack",
            Self::Rst => "rst",
            Self::None => "none",
        }
    }
}

/// What the table says of a segment of one class in one state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transition {
    /// The entry goes to this state, if the window check agrees.
    To(TcpState),
    /// The segment passes but changes nothing, `sIG`.
    Ignore,
    /// The segment is INVALID, `sIV`.
    Invalid,
}

/// One cell of the table: the same for all kernels, or one of two by a feature.
#[derive(Clone, Copy)]
enum Cell {
    Always(Transition),
    Either { feature: Feature, with: Transition, without: Transition },
}

const IV: Cell = Cell::Always(Transition::Invalid);
const IG: Cell = Cell::Always(Transition::Ignore);
const SS: Cell = Cell::Always(Transition::To(TcpState::SynSent));
const SR: Cell = Cell::Always(Transition::To(TcpState::SynRecv));
const ES: Cell = Cell::Always(Transition::To(TcpState::Established));
const FW: Cell = Cell::Always(Transition::To(TcpState::FinWait));
const CW: Cell = Cell::Always(Transition::To(TcpState::CloseWait));
const LA: Cell = Cell::Always(Transition::To(TcpState::LastAck));
const TW: Cell = Cell::Always(Transition::To(TcpState::TimeWait));
const CL: Cell = Cell::Always(Transition::To(TcpState::Close));
const S2: Cell = Cell::Always(Transition::To(TcpState::SynSent2));

/// INVALID where SYN/ACK handling was reworked, ignored before.
const IV_IG: Cell = Cell::Either {
    feature: Feature::SynackReworked,
    with: Transition::Invalid,
    without: Transition::Ignore,
};
/// `SYN_RECV` where SYN/ACK handling was reworked, ignored before.
const SR_IG: Cell = Cell::Either {
    feature: Feature::SynackReworked,
    with: Transition::To(TcpState::SynRecv),
    without: Transition::Ignore,
};
/// Ignored where SYN/ACK handling was reworked, `SYN_RECV` before.
const IG_SR: Cell = Cell::Either {
    feature: Feature::SynackReworked,
    with: Transition::Ignore,
    without: Transition::To(TcpState::SynRecv),
};
/// `SYN_SENT` where the former server may reopen a connection in `TIME_WAIT`, INVALID elsewhere.
const SS_IV: Cell = Cell::Either {
    feature: Feature::ReplySynReopens,
    with: Transition::To(TcpState::SynSent),
    without: Transition::Invalid,
};

/// A row for each class, in the order of [`Class`]; a column for each state, in that of
/// [`TcpState`].
type Rows = [[Cell; 10]; 6];

#[rustfmt::skip]
const ORIGINAL: Rows = [
    //          NO  SS  SR     ES     FW     CW     LA     TW     CL     S2
    /* syn    */ [SS, SS, IG,    IG,    IG,    IG,    IG,    SS,    SS,    S2],
    /* synack */ [IV, IV, SR_IG, IV_IG, IV_IG, IV_IG, IV_IG, IV_IG, IV_IG, SR],
    /* fin    */ [IV, IV, FW,    FW,    LA,    LA,    LA,    TW,    CL,    IV],
    /* ack    */ [ES, IV, ES,    ES,    CW,    CW,    TW,    TW,    CL,    IV],
    /* rst    */ [IV, CL, CL,    CL,    CL,    CL,    CL,    CL,    CL,    CL],
    /* none   */ [IV, IV, IV,    IV,    IV,    IV,    IV,    IV,    IV,    IV],
];

#[rustfmt::skip]
const REPLY: Rows = [
    //          NO  SS  SR     ES     FW     CW     LA     TW     CL     S2
    /* syn    */ [IV, S2, IV,    IV,    IV,    IV,    IV,    SS_IV, IV,    S2],
    /* synack */ [IV, SR, IG_SR, IG,    IG,    IG,    IG,    IG,    IG,    SR],
    /* fin    */ [IV, IV, FW,    FW,    LA,    LA,    LA,    TW,    CL,    IV],
    /* ack    */ [IV, IG, SR,    ES,    CW,    CW,    TW,    TW,    CL,    IG],
    /* rst    */ [IV, CL, CL,    CL,    CL,    CL,    CL,    CL,    CL,    CL],
    /* none   */ [IV, IV, IV,    IV,    IV,    IV,    IV,    IV,    IV,    IV],
];

impl TcpState {
    /// Returns whether both sides are known in this state, and none has reset the connection.
    pub(super) const fn is_between_handshake_and_end(self) -> bool {
        matches!(
            self,
            Self::Established | Self::FinWait | Self::CloseWait | Self::LastAck | Self::TimeWait
        )
    }
}

/// What becomes of a connection between handshake and end on an acknowledgement, and on a FIN: read from
/// the table, where that says the same of both directions to all kernels, and leads to no other state.
const ONWARD: [[Option<TcpState>; 10]; 2] = [onward(Class::Ack), onward(Class::Fin)];

#[expect(clippy::indexing_slicing, reason = "all indices are states and classes")]
const fn onward(class: Class) -> [Option<TcpState>; 10] {
    let mut row = [None; 10];
    let mut state = 0;
    while state < row.len() {
        let cells = (ORIGINAL[class as usize][state], REPLY[class as usize][state]);
        if TcpState::ALL[state].is_between_handshake_and_end()
            && let (Cell::Always(there), Cell::Always(back)) = cells
            && let (Transition::To(new), Transition::To(same)) = (there, back)
            && new as u8 == same as u8
            && new.is_between_handshake_and_end()
        {
            row[state] = Some(new);
        }
        state += 1;
    }
    row
}

/// Looks up what becomes of a connection between handshake and end on a FIN, or else on an acknowledgement:
/// what [`transition`] says for all kernels and both directions; none where a closer look is needed.
#[inline]
#[expect(clippy::indexing_slicing, reason = "an enum as large as its dimension, and one of two")]
pub(super) fn goes_on_to(state: TcpState, class: Class) -> Option<TcpState> {
    ONWARD[usize::from(class == Class::Fin)][state as usize]
}

/// Looks up what becomes of a connection in `state` on a segment of `class`.
#[inline]
#[expect(clippy::indexing_slicing, reason = "both indices are enums as large as their dimension")]
pub fn transition(
    direction: Direction,
    class: Class,
    state: TcpState,
    choices: &mut Choices,
) -> Transition {
    let rows = match direction {
        Direction::Original => &ORIGINAL,
        Direction::Reply => &REPLY,
    };
    match rows[class as usize][state as usize] {
        Cell::Always(transition) => transition,
        Cell::Either { feature, with, without } => {
            if choices.has(feature) {
                with
            } else {
                without
            }
        }
    }
}
