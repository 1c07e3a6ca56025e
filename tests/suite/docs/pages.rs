//! The documents, and the fenced blocks in them with what stands before each.

use std::path::Path;

/// How a block is known to be true: the comment on the line before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mark {
    None,
    /// `shows: COMMAND`: it is all that the command prints.
    Shows(String),
    /// `lines of: COMMAND`: the command prints each of its lines; `…` stands for others.
    LinesOf(String),
    /// `run by: TEST`: a test of its own sees to it, or a stage of a script: `packaging/smoke deb`.
    RunBy(String),
    /// `ci: STAGE`: the gate takes its command from here.
    Stage,
    /// `not run: REASON`.
    NotRun(String),
}

/// A fenced block of a document.
pub struct Block {
    /// File and line.
    pub place: String,
    pub language: String,
    pub mark: Mark,
    pub text: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).expect(name)
}

/// All documents for people: name and text.
pub fn pages() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned()];
    for name in ["CHANGELOG.md", "CONTRIBUTING.md"] {
        names.extend(root().join(name).is_file().then(|| name.to_owned()));
    }
    for entry in std::fs::read_dir(root().join("src/guide")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        names.extend(path.extension().is_some_and(|found| found == "md").then_some(name));
    }
    names.sort();
    names.into_iter().map(|name| (name.clone(), page(&name))).collect()
}

/// All fenced blocks of all documents.
pub fn blocks() -> Vec<Block> {
    pages().iter().flat_map(|(name, text)| blocks_of(name, text)).collect()
}

fn blocks_of(name: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut before = "";
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            let text = inside.fold(String::new(), |text, line| text + line + "\n");
            let place = format!("{name}:{}", number + 1);
            let mark = mark(before).unwrap_or_else(|| panic!("{place}: {before:?} is no mark"));
            blocks.push(Block { place, language: language.to_owned(), mark, text });
        }
        before = line;
    }
    blocks
}

fn mark(line: &str) -> Option<Mark> {
    let Some(comment) = line.strip_prefix("<!-- ") else { return Some(Mark::None) };
    let (kind, words) = comment.strip_suffix(" -->")?.split_once(": ")?;
    let words = words.to_owned();
    Some(match kind {
        "shows" => Mark::Shows(words),
        "lines of" => Mark::LinesOf(words),
        "run by" => Mark::RunBy(words),
        "not run" => Mark::NotRun(words),
        "ci" => Mark::Stage,
        _ => return None,
    })
}
