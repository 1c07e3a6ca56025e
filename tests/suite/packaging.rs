//! What packages hold beside the program: manual pages, completions, the unit of the live agent.
//!
//! Whether packages can be made and work where nothing else is installed, `packaging/smoke` tries.

use std::process::{Command, Output};

use crate::program::{PROGRAM, Scratch, status, text};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/tcp-window-audit@.service");

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert_eq!(status(&output), 0, "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// Runs a tool on a file; none, and says so, where it is not installed.
fn ask(tool: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(tool).args(arguments).output().ok();
    if output.is_none() {
        eprintln!("skipped: {tool} is not installed");
    }
    output
}

/// The long options of a text.
fn options(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let long = words.filter(|word| word.starts_with("--") && word.len() > 3);
    long.map(str::to_owned).collect()
}

#[test]
fn the_unit_of_the_agent_is_sound() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    let help = printed(&["--help"]);
    let start = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    for option in options(start) {
        assert!(options(&help).contains(&option), "{option} is no option");
    }
    let scratch = Scratch::new("unit");
    let unit = unit.replace("/usr/bin/tcp-window-audit", PROGRAM);
    let path = scratch.0.join("tcp-window-audit@eth0.service");
    std::fs::write(&path, unit).unwrap();
    let path = path.to_str().unwrap();
    let Some(verified) = ask("systemd-analyze", &["verify", "--man=no", path]) else { return };
    let told = format!("{}{}", text(&verified.stdout), text(&verified.stderr));
    // Of other units of the machine it may complain as well.
    assert!(!told.contains("tcp-window-audit@"), "{told}");
    assert!(verified.status.success(), "{told}");
}

#[test]
fn the_manual_has_every_option_and_can_be_read() {
    let page = printed(&["man"]);
    let plain = page.replace("\\-", "-");
    for option in options(&printed(&["--help"])) {
        assert!(plain.contains(&option), "{option} is not in the manual");
    }
    let scratch = Scratch::new("manual");
    scratch.write("page.1", page.as_bytes());
    let path = scratch.0.join("page.1");
    let Some(read) = ask("man", &["--warnings", "-l", path.to_str().unwrap()]) else { return };
    assert!(read.status.success(), "{}", text(&read.stderr));
    assert_eq!(text(&read.stderr), "");
    assert!(text(&read.stdout).contains("EXAMPLES"));
}

#[test]
fn completions_are_programs_of_their_shells() {
    let scratch = Scratch::new("completions");
    for shell in ["bash", "zsh", "fish"] {
        scratch.write(shell, printed(&["completions", shell]).as_bytes());
        let path = scratch.0.join(shell);
        let Some(checked) = ask(shell, &["-n", path.to_str().unwrap()]) else { continue };
        assert!(checked.status.success(), "{shell}: {}", text(&checked.stderr));
    }
}

#[test]
fn a_command_that_is_not_there_is_answered_with_what_to_do() {
    let output = Command::new(PROGRAM).args(["man", "nonsense"]).output().unwrap();
    assert_eq!(status(&output), 2);
    assert!(text(&output.stderr).contains("--help lists them"));
}
