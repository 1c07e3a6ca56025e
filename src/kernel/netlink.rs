//! Netlink messages: built attribute by attribute, and taken apart.
//!
//! Does not: know what any attribute means, or sockets.

/// `NLM_F_REQUEST`: a question to the kernel.
pub(super) const REQUEST: u16 = 0x01;
/// `NLM_F_ACK`: the kernel answers even when all is well.
pub(super) const ACK: u16 = 0x04;
/// `NLM_F_DUMP`: all there is.
pub(super) const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`: make what is not there.
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: add behind what is there.
pub(super) const APPEND: u16 = 0x800;
/// `NLMSG_DONE`: the end of a dump.
pub(super) const DONE: u16 = 3;
/// `NLMSG_ERROR`: an error number, 0 for an acknowledgement.
pub(super) const ERROR: u16 = 2;

/// `NFNL_SUBSYS_CTNETLINK`.
pub(super) const CTNETLINK: u16 = 1 << 8;
/// `NFNL_SUBSYS_ULOG`: packet logging.
pub(super) const ULOG: u16 = 4 << 8;
/// `NFNL_SUBSYS_NFTABLES`.
pub(super) const NFTABLES: u16 = 10 << 8;

const NESTED: u16 = 0x8000;
const HEADER_LEN: usize = 16;

/// A buffer of netfilter netlink messages, used again from packet to packet.
#[derive(Default, Debug)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    start: usize,
}

/// What stands at the head of a netfilter message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Subsystem and message number.
    pub(super) kind: u16,
    /// `NLM_F_*`.
    pub(super) flags: u16,
    /// Comes back in the answer.
    pub(super) seq: u32,
    /// Address or table family.
    pub(super) family: u8,
    /// `res_id`: a group or subsystem number.
    pub(super) resource: u16,
}

impl Messages {
    /// Forgets the messages, keeps the buffer.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Returns whether there is no message.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the messages.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a message whose attributes `fill` adds.
    pub(super) fn message(&mut self, head: Head, fill: impl FnOnce(&mut Self)) {
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&head.kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(head.flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&head.seq.to_ne_bytes());
        self.bytes.extend_from_slice(&[0, 0, 0, 0, head.family, 0]);
        self.bytes.extend_from_slice(&head.resource.to_be_bytes());
        fill(self);
        let len = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        self.patch(self.start, &len.to_ne_bytes());
    }

    /// Adds an attribute.
    pub(super) fn attribute(&mut self, kind: u16, payload: &[u8]) {
        let len = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(payload);
        self.align();
    }

    /// Adds a number of 32 bits in network byte order.
    pub(super) fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Adds a text with its final 0.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let start = self.bytes.len();
        self.attribute(kind, value.as_bytes());
        let len = u16::try_from(value.len() + 5).unwrap_or(u16::MAX);
        self.patch(start, &len.to_ne_bytes());
        self.bytes.truncate(start + 4 + value.len());
        self.bytes.push(0);
        self.align();
    }

    /// Adds an attribute that holds the attributes that `fill` adds.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(self);
        let len = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.patch(start, &len.to_ne_bytes());
    }

    fn align(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// A message of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// Subsystem and message number, or [`ERROR`].
    pub(super) kind: u16,
    /// The number of the question.
    pub(super) seq: u32,
    /// What follows the header.
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Returns the error number of an [`ERROR`] message, 0 for an acknowledgement.
    pub(super) fn error_number(&self) -> Option<i32> {
        let (code, _) = self.body.split_first_chunk::<4>()?;
        (self.kind == ERROR).then(|| i32::from_ne_bytes(*code).wrapping_neg())
    }

    /// Returns the resource number of a netfilter message.
    pub(super) fn resource(&self) -> Option<u16> {
        self.body.get(2..4)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// Returns the attributes of a netfilter message.
    pub(super) fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.body.get(4..).unwrap_or_default() }
    }
}

/// Returns the messages of one datagram of the kernel.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let (kind, _) = after.split_first_chunk::<2>()?;
        let seq = rest.get(8..12)?.try_into().ok().map(u32::from_ne_bytes)?;
        let len = u32::from_ne_bytes(*len) as usize;
        let body = rest.get(HEADER_LEN..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind: u16::from_ne_bytes(*kind), seq, body })
    })
}

/// The attributes of a message or of a nest.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Takes the payload of a nest apart.
    pub(super) fn of(nest: &'a [u8]) -> Self {
        Self { rest: nest }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (len, after) = self.rest.split_first_chunk::<2>()?;
        let (kind, _) = after.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_ne_bytes(*len));
        let payload = self.rest.get(4..len)?;
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes(*kind) & 0x3fff, payload))
    }
}

/// Reads a number of 32 bits in network byte order.
pub(super) fn read_be32(payload: &[u8]) -> Option<u32> {
    payload.split_first_chunk::<4>().map(|(bytes, _)| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: u16, seq: u32) -> Head {
        Head { kind, flags: ACK, seq, family: 2, resource: 7 }
    }

    #[test]
    fn what_was_built_can_be_taken_apart() {
        let mut built = Messages::default();
        built.message(head(ULOG | 1, 5), |m| {
            m.text(1, "ab");
            m.nest(2, |m| m.be32(3, 0x0102_0304));
        });
        built.message(head(CTNETLINK, 6), |m| m.attribute(4, &[9]));
        assert_eq!(built.as_bytes().len() % 4, 0);
        let read: Vec<Message<'_>> = messages(built.as_bytes()).collect();
        assert_eq!(
            read.iter().map(|m| (m.kind, m.seq)).collect::<Vec<_>>(),
            [(0x401, 5), (256, 6)]
        );
        assert_eq!(read[0].resource(), Some(7));
        let attributes: Vec<_> = read[0].attributes().collect();
        assert_eq!(attributes[0], (1, &b"ab\0"[..]));
        let inner: Vec<_> = Attributes::of(attributes[1].1).collect();
        assert_eq!((inner[0].0, read_be32(inner[0].1)), (3, Some(0x0102_0304)));
    }

    #[test]
    fn what_is_cut_ends_the_walk() {
        let mut built = Messages::default();
        built.message(head(ULOG, 1), |m| m.be32(1, 1));
        for end in 0..built.as_bytes().len() {
            assert_eq!(messages(&built.as_bytes()[..end]).count(), 0);
        }
    }
}
