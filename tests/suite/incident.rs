//! The folder for a ticket: all formats or nothing.
#![cfg(unix)]

use std::path::Path;

use tcp_window_audit::report::Format;

use crate::outputs::{FULL, files, shell};
use crate::program::{Scratch, status, text};

const PLAIN: &str = "exec \"$0\" \"$@\"";

#[test]
fn a_folder_holds_a_report_of_each_format() {
    let scratch = Scratch::new("incident");
    let output = shell(&scratch, PLAIN, &["-q", "--incident", "ticket"]);
    assert_eq!(status(&output), 1, "{}", text(&output.stderr));
    assert_eq!(files(&scratch), ["ticket"]);
    let mut names: Vec<_> = std::fs::read_dir(scratch.0.join("ticket"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "evidence.pcapng",
        "report.html",
        "report.json",
        "report.md",
        "report.ndjson",
        "report.txt",
    ];
    assert_eq!(names, expected);
    assert_eq!(expected.len(), Format::ALL.len());
    for name in names {
        let bytes = std::fs::read(scratch.0.join("ticket").join(&name)).unwrap();
        assert!(bytes.len() > 100, "{name}");
    }
    let page = std::fs::read_to_string(scratch.0.join("ticket/report.html")).unwrap();
    assert!(page.contains("id=\"sequence-1-t\""), "pictures are in it");
}

#[test]
fn what_is_there_already_is_left_alone() {
    let scratch = Scratch::new("incident-there");
    std::fs::create_dir(scratch.0.join("folder")).unwrap();
    scratch.write("file", b"mine");
    std::os::unix::fs::symlink("nowhere", scratch.0.join("link")).unwrap();
    let before = listing(&scratch.0);
    for name in ["folder", "folder/", "file", "link", ".", "missing/folder", "file/folder"] {
        let output = shell(&scratch, PLAIN, &["-q", "--incident", name]);
        assert_eq!(status(&output), 2, "{name}");
        assert!(output.stdout.is_empty(), "{name} is refused before the audit");
        assert!(text(&output.stderr).contains("cannot write"), "{}", text(&output.stderr));
        assert_eq!(listing(&scratch.0), before, "{name}");
    }
    assert_eq!(std::fs::read(scratch.0.join("file")).unwrap(), b"mine");
}

#[test]
fn a_failure_leaves_no_half_folder() {
    let scratch = Scratch::new("incident-full");
    let output = shell(&scratch, FULL, &["--incident", "ticket"]);
    assert_eq!(status(&output), 2);
    assert!(text(&output.stderr).contains("too large"), "{}", text(&output.stderr));
    assert_eq!(files(&scratch), [""; 0]);
    // Not even the capture can be read: the folder made for it goes as well.
    let output = shell(&scratch, "exec \"$0\" --incident ticket no.pcap", &[]);
    assert_eq!(status(&output), 2);
    assert_eq!(files(&scratch), [""; 0]);
}

fn listing(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().path().display().to_string()).collect();
    names.sort();
    names
}
