//! Writes pcap and pcapng as bytes, the regular and the odd.

/// The byte order of what is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    pub fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }
}

/// A classic pcap file.
pub struct PcapWriter {
    pub bytes: Vec<u8>,
    order: Order,
    tick_ns: u64,
    is_modified: bool,
}

/// Magic number of microseconds.
pub const MICROSECONDS: u32 = 0xa1b2_c3d4;
/// Magic number of nanoseconds.
pub const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Magic number of Kuznetzov's records.
pub const MODIFIED: u32 = 0xa1b2_cd34;

impl PcapWriter {
    /// Begins a file; `link` is the whole link type field.
    pub fn new(order: Order, magic: u32, link: u32) -> Self {
        Self::with_version(order, magic, link, (2, 4))
    }

    pub fn with_version(order: Order, magic: u32, link: u32, version: (u16, u16)) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(order.u32(magic));
        bytes.extend(order.u16(version.0));
        bytes.extend(order.u16(version.1));
        for word in [0, 0, 65_535, link] {
            bytes.extend(order.u32(word));
        }
        let tick_ns = if magic == NANOSECONDS { 1 } else { 1000 };
        Self { bytes, order, tick_ns, is_modified: magic == MODIFIED }
    }

    /// Adds a frame captured `nanos` after 1970, of `original_len` bytes on the wire.
    pub fn frame(&mut self, nanos: u64, original_len: u32, data: &[u8]) {
        let captured_len = u32::try_from(data.len()).unwrap();
        self.record(nanos, [captured_len, original_len], data);
    }

    /// Adds a record with any two lengths.
    pub fn record(&mut self, nanos: u64, lengths: [u32; 2], data: &[u8]) {
        let seconds = u32::try_from(nanos / 1_000_000_000).unwrap();
        let ticks = u32::try_from(nanos % 1_000_000_000 / self.tick_ns).unwrap();
        for word in [seconds, ticks, lengths[0], lengths[1]] {
            self.bytes.extend(self.order.u32(word));
        }
        if self.is_modified {
            self.bytes.extend([0xee; 8]);
        }
        self.bytes.extend(data);
    }
}

/// A pcapng file.
pub struct PcapngWriter {
    pub bytes: Vec<u8>,
    order: Order,
}

impl PcapngWriter {
    /// Begins a file with a section of this byte order.
    pub fn new(order: Order) -> Self {
        let mut writer = Self { bytes: Vec::new(), order };
        writer.section(order);
        writer
    }

    /// Begins a section.
    pub fn section(&mut self, order: Order) {
        self.order = order;
        let mut body = Vec::new();
        body.extend(order.u32(0x1a2b_3c4d));
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body);
    }

    /// Adds a block of any kind; the body is padded.
    pub fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let len = u32::try_from(padded + 12).unwrap();
        self.bytes.extend(self.order.u32(kind));
        self.bytes.extend(self.order.u32(len));
        self.bytes.extend(body);
        self.bytes.extend(vec![0; padded - body.len()]);
        self.bytes.extend(self.order.u32(len));
    }

    /// Describes an interface; each option is a code and a value.
    pub fn interface(&mut self, link: u16, snaplen: u32, options: &[(u16, Vec<u8>)]) {
        let mut body = Vec::new();
        body.extend(self.order.u16(link));
        body.extend([0, 0]);
        body.extend(self.order.u32(snaplen));
        body.extend(self.options(options));
        self.block(1, &body);
    }

    /// Adds an enhanced packet block.
    pub fn enhanced(&mut self, interface: u32, ticks: u64, original_len: u32, data: &[u8]) {
        self.enhanced_with(interface, ticks, (original_len, data), &[]);
    }

    pub fn enhanced_with(
        &mut self,
        interface: u32,
        ticks: u64,
        (original_len, data): (u32, &[u8]),
        options: &[(u16, Vec<u8>)],
    ) {
        let mut body = self.order.u32(interface).to_vec();
        body.extend(self.packet_body(ticks, original_len, data));
        body.extend(self.options(options));
        self.block(6, &body);
    }

    /// Adds an obsolete packet block.
    pub fn obsolete(&mut self, (interface, drops): (u16, u16), ticks: u64, data: &[u8]) {
        let mut body = self.order.u16(interface).to_vec();
        body.extend(self.order.u16(drops));
        body.extend(self.packet_body(ticks, u32::try_from(data.len()).unwrap(), data));
        self.block(2, &body);
    }

    /// Adds a simple packet block.
    pub fn simple(&mut self, original_len: u32, data: &[u8]) {
        let mut body = self.order.u32(original_len).to_vec();
        body.extend(data);
        self.block(3, &body);
    }

    /// Adds interface statistics.
    pub fn statistics(&mut self, interface: u32, options: &[(u16, Vec<u8>)]) {
        let mut body = self.order.u32(interface).to_vec();
        body.extend([0; 8]);
        body.extend(self.options(options));
        self.block(5, &body);
    }

    /// An option of a 64-bit number.
    pub fn number(&self, code: u16, value: u64) -> (u16, Vec<u8>) {
        (code, self.order.u64(value).to_vec())
    }

    fn packet_body(&self, ticks: u64, original_len: u32, data: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        let halves = [u32::try_from(ticks >> 32).unwrap(), (ticks & 0xffff_ffff) as u32];
        let captured_len = u32::try_from(data.len()).unwrap();
        for word in [halves[0], halves[1], captured_len, original_len] {
            body.extend(self.order.u32(word));
        }
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        body
    }

    fn options(&self, options: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (code, value) in options {
            bytes.extend(self.order.u16(*code));
            bytes.extend(self.order.u16(u16::try_from(value.len()).unwrap()));
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            bytes.extend([0; 4]);
        }
        bytes
    }
}
