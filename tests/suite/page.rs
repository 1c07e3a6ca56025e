//! The HTML page: what it holds, and that it shows itself, asks for nothing and runs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use crate::capture_writer::{Order, PcapngWriter};
use crate::program::{STORY, Scratch, cases, expect_text, run, status, text};
use crate::scenario::testdata;

/// Writes the page of a capture and returns it.
pub fn page(scratch: &Scratch, folder: &Path, file: &str, options: &[&str]) -> String {
    let target = scratch.0.join("page.html");
    let arguments = [options, &["-q", "-o", target.to_str().unwrap(), file]].concat();
    let output = run(folder, &arguments);
    assert!(status(&output) < 2, "{}", text(&output.stderr));
    std::fs::read_to_string(target).unwrap()
}

#[test]
fn pages_on_the_captures_at_hand_are_as_kept() {
    let scratch = Scratch::new("pages");
    for (folder, file) in cases() {
        let page = page(&scratch, &folder, &file, &[]);
        expect_text(&folder.join("report.html.txt"), &outline(&page));
    }
}

/// The page without its style and its tags: its words, a line an element, and of each picture what it
/// says to those who do not see it, how long it is, and a hash of it.
fn outline(page: &str) -> String {
    let style = page.find("<style>").unwrap()..page.find("</style>").unwrap();
    let page = format!("{}{}", &page[..style.start], &page[style.end..]);
    let mut outline = String::new();
    for (index, part) in page.split("<svg class=\"plot\"").enumerate() {
        let (picture, rest) = part.split_once("</svg>").filter(|_| index > 0).unwrap_or(("", part));
        if index > 0 {
            let said = picture.split_once("</desc>").unwrap().0;
            words(&said[said.find('<').unwrap()..], &mut outline);
            let hash = picture.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            writeln!(outline, "picture: {} bytes, {hash:016x}", picture.len()).unwrap();
        }
        words(rest, &mut outline);
    }
    outline
}

fn words(page: &str, outline: &mut String) {
    for part in page.split('<') {
        let (tag, words) = part.split_once('>').unwrap_or(("", part));
        let words = words.trim().replace('\n', "\n    ");
        if !words.is_empty() {
            writeln!(outline, "{}: {words}", tag.split(' ').next().unwrap()).unwrap();
        }
    }
}

#[test]
fn a_page_is_the_same_for_any_number_of_threads() {
    let folder = testdata().join("captures").join(STORY);
    let scratch = Scratch::new("page-threads");
    let one = page(&scratch, &folder, "capture.pcapng", &["--threads", "1"]);
    for threads in ["2", "7"] {
        let other = page(&scratch, &folder, "capture.pcapng", &["--threads", threads]);
        assert!(one == other, "{threads} threads");
    }
}

#[test]
fn a_page_names_nothing_outside_of_itself() {
    let scratch = Scratch::new("page-self-contained");
    for (folder, file) in cases() {
        let page = page(&scratch, &folder, &file, &[]);
        for outside in ["<script", "<img", "<iframe", "<object", "src=", "@import", "javascript:"] {
            assert!(!page.contains(outside), "{}: {outside}", folder.display());
        }
        for (start, _) in page.match_indices("url(") {
            assert!(page[start..].starts_with("url(#"), "{}", &page[start..start + 40]);
        }
        for (start, _) in page.match_indices("href=\"") {
            let target = page[start + 6..].split('"').next().unwrap();
            assert!(target.starts_with('#') || target == "data:,", "{target}");
        }
        assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none';"));
    }
}

#[test]
fn ids_are_unique_and_what_refers_to_them_finds_them() {
    let scratch = Scratch::new("page-ids");
    for (folder, file) in cases() {
        let page = page(&scratch, &folder, &file, &[]);
        let ids = attributes(&page, " id=\"");
        let unique: BTreeSet<_> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{}", folder.display());
        let labels =
            attributes(&page, "aria-labelledby=\"").into_iter().flat_map(str::split_whitespace);
        let links = attributes(&page, "href=\"#").into_iter();
        let clips = attributes(&page, "clip-path=\"url(#").into_iter();
        for name in labels.chain(links).chain(clips.map(|clip| clip.trim_end_matches(')'))) {
            assert!(unique.contains(name), "{}: {name}", folder.display());
        }
        let pictures = page.matches("<svg class=\"plot\"").count();
        assert!(pictures > 0, "{}", folder.display());
        assert_eq!(page.matches("role=\"img\"").count(), pictures);
        assert_eq!(page.matches("<desc id=").count(), pictures);
    }
}

fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let starts = page.match_indices(name).map(|(start, _)| start + name.len());
    starts.map(|start| page[start..].split('"').next().unwrap()).collect()
}

#[test]
fn each_invalid_packet_of_the_story_is_marked_with_its_frame() {
    let scratch = Scratch::new("page-marks");
    let folder = testdata().join("captures").join(STORY);
    let page = page(&scratch, &folder, "capture.pcapng", &[]);
    let whole = page.split("id=\"sequence-1-t\"").nth(1).unwrap();
    let whole = whole.split("</svg>").next().unwrap();
    // 35 of the 48 INVALID packets are of flow 1.
    assert_eq!(whole.matches("<g class=\"invalid\">").count(), 35);
    assert!(whole.contains("frame 55, +0.121935 s: INVALID"));
    assert!(whole.contains("63 SACK blocks above the picture"));
    for kind in ["data", "again", "ack", "edge", "sack-away", "bound", "cross"] {
        assert!(whole.contains(&format!("<path class=\"{kind}\" d=\"M")), "{kind}");
    }
}

/// What a page must not be made to hold.
const MARKUP: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>";

#[test]
fn names_that_hold_markup_stay_text() {
    let scratch = Scratch::new("page-hostile");
    let capture = std::fs::read(testdata().join("captures/clean_download/capture.pcapng")).unwrap();
    let mut writer = PcapngWriter::new(Order::Little);
    let name = format!("{MARKUP}\u{1b}[2J\u{202e}x");
    let options = [(2, name.into_bytes())];
    writer.interface(101, 0, &options);
    writer.enhanced(0, 1_000_000, 20, &[0x45; 20]);
    let dropped = writer.number(5, 7);
    writer.statistics(0, &[dropped]);
    let file = format!("{}&<b>.pcapng", MARKUP.replace('/', "\\"));
    // Its own section, so that interface and capture are told in one page.
    scratch.write(&file, &[writer.bytes, capture].concat());
    let page = page(&scratch, &scratch.0, &file, &[]);
    let harmful = ["<script", "<img", "<b>", "\u{1b}", "\u{202e}"];
    for harm in harmful {
        assert!(!page.contains(harm), "{harm:?}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)"), "the name is told");
    assert!(page.contains("7 packets dropped by the interface"), "and what it lost");
}

#[test]
fn what_cannot_be_read_twice_is_told() {
    let scratch = Scratch::new("page-stdin");
    let target = scratch.0.join("page.html");
    let capture = testdata().join("captures").join(STORY).join("capture.pcapng");
    let output = std::process::Command::new(crate::program::PROGRAM)
        .args(["-q", "-o", target.to_str().unwrap(), "-"])
        .stdin(std::fs::File::open(capture).unwrap())
        .output()
        .unwrap();
    assert_eq!(status(&output), 1);
    let page = std::fs::read_to_string(target).unwrap();
    assert!(page.contains("an input that is no file cannot be read a second time"));
    assert!(!page.contains("id=\"sequence-1-t\"") && page.contains("id=\"timeline-t\""));
}

#[test]
fn rows_and_cells_are_as_many_as_their_titles() {
    let scratch = Scratch::new("page-tables");
    for (folder, file) in cases() {
        let page = page(&scratch, &folder, &file, &[]);
        let mut tables = BTreeMap::new();
        for table in page.split("<table").skip(1) {
            let table = table.split("</table>").next().unwrap();
            let widths: Vec<_> = table.split("<tr").skip(1).map(cells).collect();
            assert!(widths.len() > 1 && widths.iter().all(|width| *width == widths[0]), "{table}");
            *tables.entry(widths[0]).or_insert(0) += 1;
        }
        assert!(tables.len() <= 3, "{tables:?}");
    }
}

fn cells(row: &str) -> usize {
    row.matches("<th").count() + row.matches("<td").count() - row.matches("<thead").count()
}
