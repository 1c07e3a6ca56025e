//! What the documents say is true: their commands run, and print what is shown.

#[path = "../examples/by_hand.rs"]
#[expect(dead_code, reason = "the example prints; here it is only asked")]
mod by_hand;
mod commands;
mod field_guide;
mod pages;
mod peers;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use pages::{Block, Mark, blocks, page, pages, root};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-window-audit");

/// What a command line prints on standard output.
fn output(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).current_dir(root()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What the command line of a mark prints.
fn printed(command: &str) -> String {
    let arguments = command.strip_prefix("tcp-window-audit ").expect(command);
    output(&arguments.split(' ').collect::<Vec<_>>())
}

#[test]
fn what_is_shown_is_what_the_program_prints() {
    let mut shown = 0;
    for Block { place, mark, text, .. } in blocks() {
        match mark {
            Mark::Shows(command) => assert_eq!(printed(&command), text, "{place}: {command}"),
            Mark::LinesOf(command) => {
                let real = printed(&command);
                for line in text.lines().filter(|line| *line != "…") {
                    assert!(real.lines().any(|real| real == line), "{place}: {line}");
                }
            }
            _ => continue,
        }
        shown += 1;
    }
    assert!(shown >= 4, "{shown} samples are shown");
}

#[test]
fn every_block_says_what_it_is_and_how_it_is_known_to_be_true() {
    for Block { place, language, mark, .. } in blocks() {
        let fine = match language.as_str() {
            "console" | "sh" => true,
            "text" | "json" => matches!(mark, Mark::Shows(_) | Mark::LinesOf(_) | Mark::RunBy(_)),
            "sql" | "rust" | "toml" => matches!(mark, Mark::RunBy(_)),
            _ => false,
        };
        assert!(fine, "{place}: a block of {language:?} that nothing checks");
    }
}

#[test]
fn every_option_of_the_documents_exists_and_every_option_is_in_them() {
    let help = [&["--help"][..], &["split", "--help"], &["merge", "--help"]].map(output).concat();
    let documents: String = pages().into_iter().map(|(_, text)| text).collect();
    let options = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .filter(|word| word.starts_with("--") && !word.trim_start_matches('-').is_empty())
            .map(str::to_owned)
            .collect()
    };
    let of_others = [
        "--release",
        "--locked",
        "--test",
        "--nocapture",
        "--ctstate",
        "--ignored",
        "--bench",
        "--fuzz-dir",
        "--all-features",
        "--open",
        "--path",
        "--rm",
        "--net",
        "--cap-add",
        "--now",
        "--root",
        "--sshloginfile",
        "--runs",
        "--limit",
        "--flows",
    ];
    let plain = ["--help", "--version", "--output", "--progress", "--quiet", "--verbose"];
    for option in options(&documents) {
        let known = options(&help).contains(&option) || of_others.contains(&option.as_str());
        assert!(known, "{option} is in the documents only");
    }
    for option in options(&help) {
        let known = options(&documents).contains(&option) || plain.contains(&option.as_str());
        assert!(known, "{option} is in no document");
    }
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let is_name = |word: &&str| word.matches('_').count() >= 3 && !word.contains(' ');
    let sources = sources();
    let threats = page("src/guide/threats.md");
    let named: Vec<_> = threats.split('`').filter(is_name).collect();
    assert!(named.len() >= 15, "{} tests named", named.len());
    let marks = blocks().into_iter().filter_map(|block| match block.mark {
        Mark::RunBy(name) => Some(name),
        _ => None,
    });
    for name in named.into_iter().map(str::to_owned).chain(marks) {
        if let Some((script, stage)) = name.split_once(' ') {
            let has = |function: &str| page(script).contains(&format!("\n{function}() {{"));
            assert!(has(stage) || has(&format!("smoke_{stage}")), "{script} has no {stage}");
            continue;
        }
        assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}

fn sources() -> String {
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        collect(&root().join(folder), &mut sources);
    }
    sources
}

fn collect(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for (name, text) in pages() {
        let folder = root().join(&name).parent().unwrap().to_owned();
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let definitions = text.lines().filter(|line| line.starts_with('['));
        let definitions = definitions.filter_map(|line| line.split_once("]: ")).map(|(_, to)| to);
        for link in inline.chain(definitions) {
            let file = link.split('#').next().unwrap();
            let elsewhere = file.is_empty() || file.contains("://");
            assert!(elsewhere || folder.join(file).exists(), "{name}: {link} leads nowhere");
        }
    }
}

#[test]
fn the_main_command_runs_on_a_capture_that_is_there() {
    let readme = page("README.md");
    let command = readme.lines().find(|line| line.starts_with("$ cargo run")).unwrap();
    let capture = command.split(' ').next_back().unwrap();
    assert!(root().join(capture).is_file(), "{capture}");
    assert!(output(&[capture]).starts_with("INVALID: "));
}

#[test]
fn the_example_finds_the_shifted_sack() {
    let lines = by_hand::told();
    assert_eq!(lines.len(), 8, "{lines:?}");
    let invalid: Vec<_> = lines.iter().filter(|line| line.contains("INVALID")).collect();
    assert_eq!(invalid, ["7 . INVALID liberal ESTABLISHED ESTABLISHED ack_over"]);
}
