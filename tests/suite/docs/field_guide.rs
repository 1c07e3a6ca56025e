//! The field guide is what `explain` says, in Markdown: nothing is said twice, and nothing is missing.

use std::fmt::Write as _;

use tcp_window_audit::diagnose::{Cause, explain, known_ids};

use super::pages::root;
use crate::program::expect_text;

const WIDTH: usize = 110;

const HEAD: &str = "\
# Field guide

Every cause and every reason, as `tcp-window-audit explain ID` tells it: what happens, how it shows in a
capture, what looks like it and is not, what helps, and where that stands. A cause is what went wrong; a
reason is the rule by which the tracker refused one packet. Several causes lead to one reason.
";

/// Markdown of a text in which nothing is meant as markup.
fn escaped(words: &str) -> String {
    let mut escaped = String::new();
    for c in words.chars() {
        if matches!(c, '<' | '[' | ']' | '*' | '_' | '`' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Appends a paragraph, wrapped.
fn paragraph(words: &str, page: &mut String) {
    let mut width = 0;
    for word in words.split_whitespace() {
        if width > 0 && width + 1 + word.chars().count() > WIDTH {
            page.push('\n');
            width = 0;
        }
        if width > 0 {
            page.push(' ');
            width += 1;
        }
        page.push_str(word);
        width += word.chars().count();
    }
    page.push('\n');
}

/// Appends what `explain` says of an id.
fn entry(id: &str, page: &mut String) {
    let text = explain(id).unwrap();
    let (head, sections) = text.split_once('\n').unwrap();
    let title = head.strip_prefix(id).unwrap().trim();
    let _ = write!(page, "\n### `{id}`\n\n{}\n", escaped(title));
    for section in sections.split("\n\n") {
        let (title, words) = section.trim_start_matches('\n').split_once('\n').unwrap();
        page.push('\n');
        paragraph(&format!("**{title}.** {}", escaped(words)), page);
    }
}

#[test]
fn the_field_guide_is_what_explain_says() {
    let (causes, reasons): (Vec<_>, Vec<_>) =
        known_ids().into_iter().partition(|id| Cause::all().any(|cause| cause.id() == *id));
    let mut page = String::from(HEAD);
    for (title, ids) in [("Causes", causes), ("Reasons", reasons)] {
        let _ = writeln!(page, "\n## {title}");
        for id in ids {
            entry(id, &mut page);
        }
    }
    expect_text(&root().join("src/guide/field_guide.md"), &page);
}
