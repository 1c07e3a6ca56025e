//! The README is true: its commands run, and print what it shows.

use std::path::Path;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-window-audit");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

fn output(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).current_dir(root()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_the_readme_shows_is_what_the_program_prints() {
    let readme = readme();
    let mut shown = 0;
    for part in readme.split("<!-- shows: tcp-window-audit ").skip(1) {
        let (command, rest) = part.split_once(" -->\n").unwrap();
        let block = rest.split("```").nth(1).unwrap();
        let (_, expected) = block.split_once('\n').unwrap();
        let arguments: Vec<_> = command.split(' ').collect();
        assert_eq!(output(&arguments), expected, "{command}");
        shown += 1;
    }
    assert!(shown > 0, "nothing is shown");
}

#[test]
fn every_line_of_the_sample_report_is_in_the_real_one() {
    let readme = readme();
    let sample = readme.split("```text\n  flow 1").nth(1).unwrap().split("```").next().unwrap();
    let report =
        output(&["testdata/captures/sequence_randomiser_leaves_sack_alone/capture.pcapng"]);
    for line in sample.lines().skip(1) {
        assert!(report.lines().any(|real| real == line), "{line}");
    }
}

#[test]
fn the_sample_table_is_a_real_one() {
    let readme = readme();
    let sample = readme.split("```text\nINVALID packets").nth(1).unwrap();
    let sample = sample.split("```").next().unwrap();
    let report = output(&["testdata/captures/capture_loss/capture.pcapng"]);
    for line in sample.lines().skip(1) {
        assert!(report.lines().any(|real| real == line), "{line}");
    }
}

#[test]
fn the_sample_verdict_is_a_real_one() {
    let readme = readme();
    let sample = readme.split("```json\n").nth(1).unwrap().lines().next().unwrap();
    let capture = "testdata/captures/sequence_randomiser_leaves_sack_alone/capture.pcapng";
    let verdicts = output(&["--verdicts", "-", capture]);
    let real = verdicts.lines().nth(54).unwrap();
    assert_eq!(sample, real);
}

#[test]
fn every_option_of_the_readme_exists_and_every_option_is_in_the_readme() {
    let help = [&["--help"][..], &["split", "--help"], &["merge", "--help"]].map(output).concat();
    let readme = readme();
    let options = |text: &str| -> std::collections::BTreeSet<String> {
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
        "--sshloginfile",
    ];
    let plain = ["--help", "--version", "--output", "--progress", "--quiet", "--verbose"];
    for option in options(&readme) {
        let known = options(&help).contains(&option) || of_others.contains(&option.as_str());
        assert!(known, "{option} is in the README only");
    }
    for option in options(&help) {
        let known = options(&readme).contains(&option) || plain.contains(&option.as_str());
        assert!(known, "{option} is not in the README");
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let readme = readme();
    let section = readme.split("## Threat model").nth(1).unwrap().split("\n## ").next().unwrap();
    let is_name = |word: &&str| word.matches('_').count() >= 3 && !word.contains(' ');
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        collect(&root().join(folder), &mut sources);
    }
    let mut found = 0;
    for name in section.split('`').filter(is_name) {
        assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
        found += 1;
    }
    assert!(found >= 15, "{found} tests named");
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
fn the_main_command_runs_on_a_capture_that_is_there() {
    let readme = readme();
    let command = readme.lines().find(|line| line.starts_with("$ cargo run")).unwrap();
    let capture = command.split(' ').next_back().unwrap();
    assert!(root().join(capture).is_file(), "{capture}");
    assert!(output(&[capture]).starts_with("INVALID: "));
}
