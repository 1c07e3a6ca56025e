//! Packet logging (`nfnetlink_log`): the verdicts of the rules and the texts of the tracker.
//!
//! Does not: know what a mark or a text means.

use super::netlink::{self, ACK, Head, Message, Messages, ULOG};

/// The group to which the kernel's loggers send when nothing else is said: the tracker's texts.
pub(super) const TEXTS: u16 = 0;
/// The group to which the rules send every packet with its verdict.
pub(super) const VERDICTS: u16 = 1;
/// `NFULNL_MSG_PACKET`.
pub(super) const PACKET: u16 = ULOG;

/// Bytes of each packet that come back: two IP headers with the first bytes of two others.
const COPY_LEN: u32 = 192;
/// `NFULNL_MSG_CONFIG`.
const CONFIG: u16 = ULOG | 1;

/// A packet that the kernel has logged.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Logged<'a> {
    /// `meta mark` of the packet.
    pub(super) mark: Option<u32>,
    /// The link header it arrived with.
    pub(super) link_header: Option<&'a [u8]>,
    /// Its first bytes, from the IP header.
    pub(super) bytes: &'a [u8],
    /// The text that goes with it, without blanks at its end.
    pub(super) text: &'a [u8],
}

impl<'a> Logged<'a> {
    /// Reads a message of kind [`PACKET`].
    pub(super) fn read(message: &Message<'a>) -> Self {
        let mut logged = Self::default();
        for (kind, payload) in message.attributes() {
            match kind {
                NFULA_MARK => logged.mark = netlink::read_be32(payload),
                NFULA_HWHEADER => logged.link_header = Some(payload),
                NFULA_PAYLOAD => logged.bytes = payload,
                NFULA_PREFIX => {
                    let text = payload.strip_suffix(&[0]).unwrap_or(payload);
                    logged.text = text.trim_ascii_end();
                }
                _ => {}
            }
        }
        logged
    }
}

/// Writes the messages that make the socket the listener of a group, every packet at once.
pub(super) fn listen(messages: &mut Messages, group: u16) {
    let head = |seq| Head { kind: CONFIG, flags: ACK, seq, family: 0, resource: group };
    messages.message(head(1), |m| m.attribute(NFULA_CFG_CMD, &[CMD_BIND]));
    messages.message(head(2), |m| {
        let [a, b, c, d] = COPY_LEN.to_be_bytes();
        m.attribute(NFULA_CFG_MODE, &[a, b, c, d, COPY_PACKET, 0]);
        m.be32(NFULA_CFG_NLBUFSIZ, 512);
        m.be32(NFULA_CFG_QTHRESH, 1);
    });
}

const NFULA_MARK: u16 = 2;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_PREFIX: u16 = 10;
const NFULA_HWHEADER: u16 = 16;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_NLBUFSIZ: u16 = 3;
const NFULA_CFG_QTHRESH: u16 = 5;
const CMD_BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
