//! Text that comes from a capture, or from its name, is data in every format: it moves no cursor, and
//! is no markup.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag};
use serde_json::Value;

use crate::capture_writer::{Order, PcapngWriter};
use crate::conversation::{ACK, From, Line, capture, handshake};
use crate::program::{Scratch, run, text};

/// What somebody might call an interface, or write into a comment.
const HOSTILE: [&str; 12] = [
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{9b}31m\u{90}",
    "\u{202e}gnp.exe\u{2066}\u{200b}\u{feff}",
    "\r\n\n# heading\n\n- item",
    "`` ` ``` ~~~",
    "a|b|c | --- |",
    "[x](javascript:alert(1)) ![y](http://example.net/z) <https://example.net>",
    "</td></title><script>alert(1)</script><img src=x onerror=alert(1)>",
    "\"},{\"event_type\":\"alert\",\"x\":\"",
    "\\\" \\u0022 \\n",
    "@everyone #1 *b* _i_ ~s~ $m$ &lt;",
    "=cmd|' /C calc'!A0",
];

/// A capture of one INVALID packet whose interface, comments and statistics say `words`.
pub fn named_interface(words: &str) -> Vec<u8> {
    let mut lines = handshake(1000);
    let far = Line {
        millis: 30,
        from: From::Server,
        flags: ACK,
        seq: 500_000,
        ack: 1,
        win: 1000,
        len: 100,
        ..Line::PLAIN
    };
    lines.push(far);
    let classic = capture(&[lines]);
    let said = || words.as_bytes().to_vec();
    let mut writer = PcapngWriter::new(Order::Little);
    // Name, description, filter and operating system of the interface.
    let options = [(2, said()), (3, said()), (11, said()), (12, said())];
    writer.interface(101, 0, &options);
    let mut rest = &classic[24..];
    for millis in 0.. {
        let Some(head) = rest.get(..16) else { break };
        let len = u32::from_le_bytes(head[8..12].try_into().unwrap());
        let packet = &rest[16..16 + len as usize];
        writer.enhanced_with(0, millis * 1000, (len, packet), &[(1, said())]);
        rest = &rest[16 + len as usize..];
    }
    // Interface statistics with a comment and drops, so that the name is told.
    let mut statistics = vec![0; 12];
    for (code, value) in [(1u16, said()), (4, 7u64.to_le_bytes().to_vec())] {
        statistics.extend(code.to_le_bytes());
        statistics.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        statistics.extend(&value);
        statistics.resize(statistics.len().next_multiple_of(4), 0);
    }
    statistics.extend([0; 4]);
    writer.block(5, &statistics);
    writer.bytes
}

/// Runs the program on a hostile capture in a folder of its own.
fn report(scratch: &Scratch, words: &str, options: &[&str]) -> String {
    scratch.write("a.pcapng", &named_interface(words));
    text(&run(&scratch.0, &[options, &["a.pcapng"]].concat()).stdout).to_owned()
}

fn is_harmful(c: char) -> bool {
    let is_bidi =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\n') || is_bidi || c == '\u{feff}'
}

#[test]
fn no_format_holds_a_character_that_steers_a_terminal() {
    let scratch = Scratch::new("hostile-terminal");
    for words in HOSTILE {
        for format in ["text", "json", "markdown", "ndjson", "html"] {
            let report = report(&scratch, words, &["-v", "--format", format]);
            assert!(report.len() > 100, "{format}");
            let harmful: Vec<_> = report.chars().filter(|c| is_harmful(*c)).collect();
            assert!(harmful.is_empty(), "{format}: {harmful:?} of {words:?}");
        }
        let verdicts = report(&scratch, words, &["--verdicts", "-"]);
        assert_eq!(verdicts.lines().count(), 4, "{verdicts}");
    }
}

#[test]
fn the_name_of_a_file_is_data_too() {
    let scratch = Scratch::new("hostile-name");
    let capture = named_interface("eth0");
    for words in HOSTILE {
        // What no file can be called is called otherwise.
        let name = format!("{}.pcapng", words.replace('/', "_"));
        scratch.write(&name, &capture);
        for format in ["text", "json", "markdown", "ndjson", "html"] {
            let output = run(&scratch.0, &["-v", "--format", format, &name]);
            assert!(!text(&output.stdout).contains(is_harmful), "{format}: {words:?}");
            assert!(!text(&output.stderr).contains(is_harmful), "{format}: {words:?}");
        }
        let json = run(&scratch.0, &["--format", "json", &name]);
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(json["capture"]["files"][0]["name"], name.as_str());
    }
}

#[test]
fn json_says_exactly_what_the_capture_says() {
    let scratch = Scratch::new("hostile-json");
    for words in HOSTILE {
        let json = report(&scratch, words, &["--format", "json"]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["capture"]["files"][0]["interfaces"][0]["name"], words);
        let harmless = report(&scratch, "eth0", &["--format", "ndjson"]).lines().count();
        let lines = report(&scratch, words, &["--format", "ndjson"]);
        assert_eq!(lines.lines().count(), harmless, "{words:?}");
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).expect(line);
            assert_eq!(line["event_type"], "tcp_window_audit");
            assert_eq!(line["in_iface"], words);
        }
    }
}

#[test]
fn text_has_the_same_lines_whatever_an_interface_is_called() {
    let scratch = Scratch::new("hostile-text");
    let first_words = |report: &str| -> Vec<String> {
        let outline = report.lines().filter(|line| !line.starts_with(' ') && !line.is_empty());
        outline.map(str::to_owned).collect()
    };
    let harmless = first_words(&report(&scratch, "eth0", &[]));
    for words in HOSTILE {
        assert_eq!(first_words(&report(&scratch, words, &[])), harmless, "{words:?}");
    }
}

/// What a renderer makes of Markdown, but for the words.
fn structure(markdown: &str) -> Vec<Event<'_>> {
    let words = |event| match event {
        Event::Text(_) | Event::SoftBreak => None,
        Event::Code(_) => Some(Event::Code(CowStr::Borrowed(""))),
        other => Some(other),
    };
    Parser::new_ext(markdown, Options::all()).filter_map(words).collect()
}

#[test]
fn markdown_has_the_same_structure_whatever_an_interface_is_called() {
    let scratch = Scratch::new("hostile-markdown");
    let harmless = report(&scratch, "eth0", &["--format", "markdown"]);
    for words in HOSTILE {
        let hostile = report(&scratch, words, &["--format", "markdown"]);
        assert_eq!(structure(&hostile), structure(&harmless), "{words:?}");
    }
    let is_markup = |event: &Event<'_>| {
        matches!(
            event,
            Event::Html(_)
                | Event::InlineHtml(_)
                | Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::HtmlBlock)
        )
    };
    assert!(!structure(&harmless).iter().any(is_markup), "a link or HTML of our own");
}

#[test]
fn html_holds_no_element_of_the_capture() {
    let scratch = Scratch::new("hostile-html");
    let elements = |page: &str| page.matches('<').count();
    let harmless = elements(&report(&scratch, "eth0", &["--format", "html"]));
    for words in HOSTILE {
        let page = report(&scratch, words, &["--format", "html"]);
        assert_eq!(elements(&page), harmless, "{words:?}");
    }
}
