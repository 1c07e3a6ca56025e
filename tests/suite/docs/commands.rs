//! Runs the commands of the documents, block by block, as a reader would type them: in a folder with
//! a capture, and those of root in a network namespace that is gone afterwards.
#![cfg(target_os = "linux")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use super::PROGRAM;
use super::pages::{Block, Mark, blocks, root};
use crate::program::{Scratch, text};

/// The captures that a reader is taken to have.
const STORY: &str = "testdata/captures/sequence_randomiser_leaves_sack_alone/capture.pcapng";

/// What a machine may lack: commands that name one of these are then skipped.
const OPTIONAL: [&str; 12] = [
    "tshark",
    "tcpdump",
    "nft",
    "ip",
    "sysctl",
    "jq",
    "man",
    "conntrack",
    "editcap",
    "mergecap",
    "ethtool",
    "nsenter",
];

/// A host with the interfaces that the documents name, in a network namespace.
const HOST: &str = "\
for name in eth0 eth1 cni0 docker0; do
  ip link add $name type veth peer name far-$name && ip link set $name up && ip link set far-$name up
done
ip link set lo up
";

/// What the reader types, without the prompt, one command an element, and whether root does.
fn commands(block: &str) -> Vec<(bool, String)> {
    let mut commands = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        let is_root = line.starts_with("# ");
        let Some(mut command) = line.get(2..).filter(|_| is_root || line.starts_with("$ ")) else {
            continue;
        };
        let mut whole = String::new();
        while let Some(begin) = command.strip_suffix('\\') {
            whole.push_str(begin);
            command = lines.next().expect(line).trim_start();
        }
        whole.push_str(command);
        commands.push((is_root, whole));
    }
    commands
}

/// Runs all commands of a block in one folder; says the status of each on the last lines.
fn run(commands: &[(bool, String)], scratch: &Scratch) -> Output {
    let is_root = commands.iter().any(|(is_root, _)| *is_root);
    let mut script = String::new();
    if is_root {
        script.push_str(HOST);
    }
    for (_, command) in commands {
        // A live capture goes on until Ctrl-C, or as long as it says. One signal is enough: with a
        // second one the program ends at once.
        let is_live = command.contains(" -i ") && !command.contains("--duration");
        let patience = if is_live { "-k 20 8" } else { "-k 20 300" };
        let command = command.replace("cargo run --release -- ", "tcp-window-audit ");
        let command = command.replace("--duration 600", "--duration 2");
        let command = command.replace("--duration 60 ", "--duration 2 ");
        let quoted = command.replace('\'', r"'\''");
        let _ = writeln!(
            script,
            "timeout --foreground --preserve-status -s INT {patience} bash -c '{quoted}'"
        );
        let _ = writeln!(script, "echo \"status $?\" >> statuses");
    }
    scratch.write("script", script.as_bytes());
    let path = format!("{}:{}", scratch.0.join("bin").display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new(if is_root { "unshare" } else { "bash" });
    if is_root {
        shell.args(["--net", "--mount", "bash"]);
    }
    shell.arg("script").current_dir(&scratch.0).env("PATH", path).output().unwrap()
}

/// A folder with what a reader has: the program, its repository's captures, and one of its own.
fn desk(number: usize) -> Scratch {
    let scratch = Scratch::new(&format!("docs-{number}"));
    let bin = scratch.0.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bin.join("tcp-window-audit")).unwrap();
    std::os::unix::fs::symlink(root().join("testdata"), scratch.0.join("testdata")).unwrap();
    let names = ["capture.pcap", "capture.pcapng", "client.pcapng", "server.pcapng"];
    for name in names.into_iter().chain(["monday.pcap", "tuesday.pcap"]) {
        std::fs::copy(root().join(STORY), scratch.0.join(name)).unwrap();
    }
    scratch
}

/// The words with which the commands of a pipeline begin.
fn programs(command: &str) -> Vec<&str> {
    let parts = command.split(['|', ';', '&']);
    parts.filter_map(|part| part.split_whitespace().next()).collect()
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap();
    path.split(':').any(|folder| Path::new(folder).join(program).is_file())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    text(&output.stdout).trim() == "0"
}

/// Why a block cannot be run here; none when it can.
fn obstacle(commands: &[(bool, String)]) -> Option<String> {
    if commands.iter().any(|(is_root, _)| *is_root) {
        if !is_root() {
            return Some("needs root".to_owned());
        }
        if !Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|s| s.success()) {
            return Some("no network namespaces here".to_owned());
        }
    }
    let programs = commands.iter().flat_map(|(_, command)| programs(command));
    let mut missing =
        programs.filter(|program| OPTIONAL.contains(program) && !is_installed(program));
    missing.next().map(|program| format!("{program} is not installed"))
}

/// Runs a block if it can be run here, and returns how many commands ran.
fn check(number: usize, block: &Block) -> usize {
    let place = &block.place;
    let commands = commands(&block.text);
    assert!(!commands.is_empty(), "{place}: no command, which begins with \"$ \" or \"# \"");
    if let Some(obstacle) = obstacle(&commands) {
        eprintln!("skipped: {place}: {obstacle}");
        return 0;
    }
    let scratch = desk(number);
    let output = run(&commands, &scratch);
    let statuses = std::fs::read_to_string(scratch.0.join("statuses")).unwrap_or_default();
    let told = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(statuses.lines().count(), commands.len(), "{place}: {told}");
    for ((_, command), status) in commands.iter().zip(statuses.lines()) {
        // An audit that finds something INVALID ends with 1.
        let is_audit = command.contains("tcp-window-audit") || command.contains("cargo run");
        let fine = status == "status 0" || is_audit && status == "status 1";
        assert!(fine, "{place}: {command}: {status}\n{told}");
    }
    commands.len()
}

#[test]
fn every_command_of_the_documents_runs() {
    let is_run = |block: &Block| block.language == "console" && block.mark == Mark::None;
    let blocks: Vec<_> = blocks().into_iter().filter(is_run).enumerate().collect();
    let mut ran = 0;
    // Many only wait for packets, and can do that at the same time.
    for some in blocks.chunks(8) {
        ran += std::thread::scope(|scope| {
            let start = |(number, block)| scope.spawn(move || check(number, block));
            let started: Vec<_> =
                some.iter().map(|(number, block)| start((*number, block))).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
    }
    assert!(ran >= 10, "{ran} commands ran");
}
