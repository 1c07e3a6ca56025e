//! The corpus of the fuzz targets, made here and replayed here: what once was found stays found.

use std::path::{Path, PathBuf};

use crate::capture_writer::{MICROSECONDS, MODIFIED, NANOSECONDS, Order, PcapWriter, PcapngWriter};
use crate::fuzz;
use crate::scenario::testdata;
use tcp_window_audit::frame::Batch;
use tcp_window_audit::source::{self, FrameSource, Timeline};

/// A target, and what it does with an input.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 4] = [
    ("file", fuzz::file),
    ("frame", fuzz::frame),
    ("conversation", fuzz::conversation),
    ("report", fuzz::report),
];

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target)
}

#[test]
fn each_input_of_the_corpus_passes_its_target() {
    let mut replayed = 0;
    for (target, check) in TARGETS {
        for entry in std::fs::read_dir(folder(target)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            check(&std::fs::read(path).unwrap());
            replayed += 1;
        }
    }
    println!("{replayed} inputs replayed");
    assert!(replayed >= 60, "{replayed} inputs");
}

#[test]
fn each_input_passes_cut_anywhere_and_with_any_bit_turned() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for (target, check) in TARGETS {
        for entry in std::fs::read_dir(folder(target)).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            for len in (0..input.len()).step_by(1 + input.len() / 60) {
                check(&input[..len]);
            }
            for _ in 0..60.min(input.len()) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let bit = usize::try_from(random >> 20).unwrap() % (input.len() * 8);
                let mut turned = input.clone();
                turned[bit / 8] ^= 1 << (bit % 8);
                check(&turned);
            }
        }
    }
}

/// The seeds are made from the captures of the project and from its generators.
#[test]
fn the_seeds_are_as_they_are_made() {
    for (target, seeds) in [
        ("file", files()),
        ("frame", frames()),
        ("conversation", conversations()),
        ("report", reports()),
    ] {
        for (name, bytes) in seeds {
            let path = folder(target).join(name);
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, &bytes).unwrap();
            }
            let kept = std::fs::read(&path).unwrap_or_default();
            assert!(kept == bytes, "{} differs; UPDATE_EXPECT=1 rewrites it", path.display());
        }
    }
}

/// The first frames of each capture at hand: case, link type, original length, bytes.
fn first_frames(most: usize) -> Vec<(String, u16, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut cases: Vec<_> = std::fs::read_dir(testdata().join("captures"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    cases.sort();
    for case in cases {
        let path = ["capture.pcap", "capture.pcapng"].map(|name| case.join(name));
        let path = path.iter().find(|path| path.is_file()).unwrap();
        let mut source = source::open(path, Timeline::default()).unwrap();
        let mut batch = Batch::default();
        assert!(source.fill(&mut batch).unwrap());
        for frame in batch.frames(0..most) {
            let name = case.file_name().unwrap().to_str().unwrap();
            let name = format!("{name}_{}", frame.number);
            let bytes = frame.bytes.get(..200).unwrap_or(frame.bytes).to_vec();
            found.push((name, frame.link.0, frame.original_len, bytes));
        }
    }
    found
}

fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (order, name) in [(Order::Little, "little"), (Order::Big, "big")] {
        for (magic, kind) in
            [(MICROSECONDS, "micro"), (NANOSECONDS, "nano"), (MODIFIED, "modified")]
        {
            let mut writer = PcapWriter::new(order, magic, 1);
            writer.frame(1_000_000_000, 60, &[7; 40]);
            writer.frame(2_000_000_001, 1, &[]);
            files.push((format!("pcap_{kind}_{name}"), writer.bytes));
        }
        let mut writer = PcapngWriter::new(order);
        writer.interface(1, 64, &[(2, b"eth\x1b0".to_vec()), (9, vec![0x8a])]);
        writer.enhanced(0, 5, 60, &[7; 41]);
        writer.obsolete((0, 3), 6, &[8; 3]);
        writer.simple(9, &[9; 9]);
        writer.statistics(0, &[writer.number(5, 1), writer.number(7, u64::MAX)]);
        writer.block(0x0bad, &[1, 2, 3, 4, 5]);
        writer.section(order);
        writer.interface(101, 0, &[writer.number(14, u64::MAX)]);
        writer.enhanced(0, u64::MAX, 60, &[7; 41]);
        files.push((format!("pcapng_{name}"), writer.bytes));
    }
    let plain = files[0].1.clone();
    for (name, compressed) in compressed(&plain) {
        files.push((format!("pcap_{name}"), compressed));
    }
    files
}

fn compressed(plain: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain).unwrap();
    // Whole frames as the formats define them, stored without compression.
    let len = u32::try_from(plain.len()).unwrap();
    let mut lz4 = vec![0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0];
    lz4.extend((len | 1 << 31).to_le_bytes());
    lz4.extend(plain);
    lz4.extend([0; 4]);
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    zstd.extend(&((len << 3) | 1).to_le_bytes()[..3]);
    zstd.extend(plain);
    let mut xz = vec![0xfd, b'7', b'z', b'X', b'Z', 0];
    xz.extend(plain);
    let mut bzip2 = b"BZh91AY&SY".to_vec();
    bzip2.extend(plain);
    let gzip = gzip.finish().unwrap();
    vec![("gzip", gzip), ("lz4", lz4), ("zstd", zstd), ("xz", xz), ("bzip2", bzip2)]
}

fn frames() -> Vec<(String, Vec<u8>)> {
    let input = |link: u16, bytes: &[u8]| [&link.to_be_bytes(), &[0][..], bytes].concat();
    let found = first_frames(2).into_iter();
    let mut frames: Vec<_> =
        found.map(|(name, link, _, bytes)| (name, input(link, &bytes))).collect();
    // One frame behind each header that a link layer or tunnel may put in front of it.
    let tcp = [0x9c, 0x40, 0, 80, 0, 0, 3, 232, 0, 0, 0, 77, 0x50, 0x10, 1, 2, 0, 0, 0, 0];
    let ip = |protocol: u8, payload: &[u8]| {
        let len = (20 + payload.len()) as u8;
        let header = [0x45, 0, 0, len, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        [&header[..], payload].concat()
    };
    let inner = ip(6, &tcp);
    let ethernet = [&[2; 12][..], &[8, 0], &inner].concat();
    let udp = |port: u16, payload: &[u8]| {
        let ports = [[0xc0, 0], port.to_be_bytes(), [0, (8 + payload.len()) as u8], [0, 0]];
        ip(17, &[ports.as_flattened(), payload].concat())
    };
    let of = |header: &[u8], inside: &[u8]| [header, inside].concat();
    let tunnels = [
        ("ipip", ip(4, &inner)),
        ("gre", ip(47, &of(&[0xb0, 0, 8, 0, 1, 1, 0, 0, 2, 2, 2, 2, 3, 3, 3, 3], &inner))),
        (
            "erspan",
            ip(47, &of(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 9, 0x10, 0, 0, 0, 0, 0, 0, 0], &ethernet)),
        ),
        ("vxlan", udp(4789, &of(&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet))),
        ("geneve", udp(6081, &of(&[1, 0, 0x65, 0x58, 0, 0, 1, 0, 1, 1, 1, 1], &ethernet))),
        (
            "gtp",
            udp(2152, &of(&[0x34, 0xff, 0, 60, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 9, 0], &inner)),
        ),
        ("l2tp", udp(1701, &of(&[0, 2, 0, 1, 0, 2, 0xff, 3, 0, 0x21], &inner))),
        (
            "teredo",
            udp(3544, &of(&[0, 0, 1, 2, 3, 4, 5, 6, 0x60, 0, 0, 0, 0, 20, 6, 64, 0x20, 1], &tcp)),
        ),
        ("ah", ip(51, &of(&[6, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], &tcp))),
        ("fragment", {
            let mut fragment = ip(6, &tcp);
            fragment[6] = 0x20;
            fragment
        }),
        ("icmp", ip(1, &of(&[3, 4, 0, 0, 0, 0, 5, 0], &inner))),
    ];
    frames.extend(tunnels.into_iter().map(|(name, packet)| (name.to_owned(), input(101, &packet))));
    let nsh = of(&[0x0f, 0xc2, 2, 3, 0, 0, 1, 0xff], &ethernet);
    frames.push(("nsh".to_owned(), input(1, &of(&[&[2; 12][..], &[0x89, 0x4f]].concat(), &nsh))));
    let mpls = of(&[0, 1, 1, 64, 0, 0, 0, 0], &ethernet);
    frames.push(("mpls".to_owned(), input(1, &of(&[&[2; 12][..], &[0x88, 0x47]].concat(), &mpls))));
    let v6 =
        of(&[0x60, 0, 0, 0, 0, 36, 0, 64], &[&[0xfd; 32][..], &[44, 0, 1, 4, 0, 0, 0, 0]].concat());
    let v6 = of(&v6, &[&[6, 0, 0, 1, 0, 0, 0, 9][..], &tcp].concat());
    frames.push(("ipv6_fragment".to_owned(), input(101, &v6)));
    frames
}

fn conversations() -> Vec<(String, Vec<u8>)> {
    let handshake =
        [[0x40, 2, 0, 0, 0, 0, 7, 9], [0x41, 0x12, 0, 0, 0, 1, 7, 9], [0, 0x10, 0, 1, 0, 1, 9, 9]];
    let beyond = [[0x80, 0x10, 0, 9, 0, 9, 0, 12], [1, 0x18, 0x7f, 0xff, 0x80, 0, 200, 20]];
    let closing =
        [[0, 0x11, 0, 1, 0, 1, 0, 8], [1, 4, 0, 1, 0, 2, 0, 39], [0, 2, 1, 0, 0, 0, 3, 200]];
    let joined = |parts: &[&[[u8; 8]]]| parts.concat().as_flattened().to_vec();
    vec![
        ("handshake".to_owned(), joined(&[&handshake])),
        ("beyond_the_window".to_owned(), joined(&[&handshake, &beyond])),
        (
            "closed_and_opened_again".to_owned(),
            joined(&[&handshake, &closing, &handshake, &beyond]),
        ),
        ("picked_up".to_owned(), joined(&[&beyond, &closing, &beyond])),
        (
            "every_flag".to_owned(),
            (0..=255).flat_map(|flags| [0x40, flags, 0, 1, 0, 1, 1, 3]).collect(),
        ),
    ]
}

fn reports() -> Vec<(String, Vec<u8>)> {
    let mut reports = Vec::new();
    let mut writer = PcapngWriter::new(Order::Little);
    writer.interface(1, 0, &[(2, "eth0\u{202e}\u{1b}[2J".as_bytes().to_vec())]);
    for (time, (name, link, original_len, bytes)) in (1..).zip(first_frames(6)) {
        let mut pcap = PcapWriter::new(Order::Little, MICROSECONDS, u32::from(link));
        pcap.frame(time * 1_000_000, original_len, &bytes);
        if name.ends_with("_1") {
            reports.push((name, pcap.bytes));
        }
        if link == 1 {
            writer.enhanced(0, time, original_len, &bytes);
        }
    }
    reports.push(("all_at_once".to_owned(), writer.bytes));
    reports
}
