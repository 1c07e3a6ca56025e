//! Text that says in Markdown what it says in plain text, whatever it contains.
//!
//! `CommonMark` 0.31, sections 2.4 (backslash escapes) and 6.1 (code spans); GitHub's tables split at
//! every `|` that has no backslash, also inside code spans.

use crate::report::printable;

/// Characters shown of a text that comes from outside.
const MOST: usize = 300;

/// Escapes this program's own words: numbers, addresses, sentences.
pub(super) fn text(words: &str) -> String {
    let words = printable(words);
    let mut escaped = String::with_capacity(words.len());
    let mut before = ' ';
    let mut rest = words.chars().peekable();
    while let Some(c) = rest.next() {
        let is_inside_word =
            before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' | '#' | '$' | '@' => {
                escaped.push('\\');
                escaped.push(c);
            }
            // Between letters it stands for itself: `be_liberal`.
            '_' if !is_inside_word => escaped.push_str("\\_"),
            _ => escaped.push(c),
        }
        before = c;
    }
    escaped
}

/// Writes text that comes from outside, such as a file's name, as a code span: nothing in it is
/// markup, a link or somebody's name.
pub(super) fn code(words: &str) -> String {
    let words = shortened(&printable(words));
    let fence = "`".repeat(longest_run(&words) + 1);
    let touches = words.starts_with('`') || words.ends_with('`') || words.trim().is_empty();
    let pad = if touches { " " } else { "" };
    format!("{fence}{pad}{words}{pad}{fence}")
}

/// Puts lines to copy between fences.
pub(super) fn fenced(language: &str, lines: &[String]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| printable(line)).collect();
    let longest = lines.iter().map(|line| longest_run(line)).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}\n", lines.join("\n"))
}

/// Returns the length of the longest run of backticks.
fn longest_run(words: &str) -> usize {
    words.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Cuts what is too long to be shown.
fn shortened(words: &str) -> String {
    match words.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_escaped_and_read_as_they_were() {
        assert_eq!(text("be_liberal=1 leaves 0"), "be_liberal=1 leaves 0");
        assert_eq!(
            text("a|b _c_ *d* `e` <f> &amp; [g](h) @i #1 ~j~ \\k"),
            "a\\|b \\_c\\_ \\*d\\* \\`e\\` &lt;f> &amp;amp; \\[g\\](h) \\@i \\#1 \\~j\\~ \\\\k"
        );
        assert_eq!(text("a\nb\u{1b}[2J"), "a\\\\u{a}b\\\\u{1b}\\[2J");
    }

    #[test]
    fn a_code_span_cannot_be_left() {
        assert_eq!(code("eth0"), "`eth0`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("``"), "``` `` ```");
        assert_eq!(code(""), "`  `");
        assert_eq!(code("a\n\n# b"), "`a\\u{a}\\u{a}# b`");
        assert_eq!(code(&"x".repeat(1000)).chars().count(), MOST + 3);
    }

    #[test]
    fn a_fence_is_longer_than_any_inside() {
        let lines = ["````".to_owned(), "a".to_owned()];
        assert_eq!(fenced("sh", &lines), "`````sh\n````\na\n`````\n");
    }
}
