//! The house is in order: modules look one way, files are short, data says what it is for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which module may name which others, and who stands at the bottom: a row may use the rows above
/// that it lists.
const MAY_USE: [(&str, &[&str]); 21] = [
    ("guide", &[]),
    ("seq", &[]),
    ("time", &[]),
    ("segment", &["seq", "time"]),
    ("tuple", &["seq", "time"]),
    ("frame", &["seq", "time"]),
    ("memory", &[]),
    ("conntrack", &["memory", "segment", "seq", "time", "tuple"]),
    ("occupancy", &["conntrack", "memory", "time", "tuple"]),
    ("wire", &["frame", "segment", "seq", "time", "tuple"]),
    ("source", &["frame", "time"]),
    ("flow", &["conntrack", "segment", "seq", "time", "tuple"]),
    ("kernel", &["segment", "seq", "time", "tuple", "conntrack", "wire", "frame", "source"]),
    (
        "audit",
        &[
            "conntrack",
            "flow",
            "frame",
            "occupancy",
            "segment",
            "seq",
            "source",
            "time",
            "tuple",
            "wire",
        ],
    ),
    (
        "diagnose",
        &["audit", "conntrack", "flow", "occupancy", "segment", "seq", "time", "tuple", "wire"],
    ),
    (
        "pipeline",
        &[
            "audit",
            "conntrack",
            "flow",
            "frame",
            "memory",
            "occupancy",
            "segment",
            "seq",
            "source",
            "time",
            "tuple",
            "wire",
        ],
    ),
    ("partial", &["audit", "pipeline", "source", "time", "tuple"]),
    ("anonymize", &["audit", "flow", "time", "tuple", "wire"]),
    (
        "report",
        &[
            "audit",
            "conntrack",
            "diagnose",
            "flow",
            "frame",
            "occupancy",
            "segment",
            "seq",
            "source",
            "time",
            "tuple",
            "wire",
        ],
    ),
    ("lib", &[]),
    ("random", &[]),
];

/// Crates that only one module may name.
const OWNERS: [(&str, &[&str]); 8] = [
    ("etherparse", &["wire"]),
    ("clap", &["cli"]),
    ("serde_json", &["report"]),
    ("pcap", &["source"]),
    ("hdrhistogram", &["audit"]),
    ("postcard", &["partial"]),
    ("twox_hash", &["source"]),
    ("maud", &["report"]),
];

const MAX_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The part of a source file before its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// The module that a file belongs to: the first folder below src, or the file itself.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    let first = below.components().next().unwrap();
    Path::new(first.as_os_str()).file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The modules that code names by `crate::`.
fn names(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for part in line.split("crate::").skip(1) {
            let name: String =
                part.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if !name.is_empty() {
                names.insert(name);
            }
        }
    }
    names
}

#[test]
fn modules_depend_one_way() {
    let mut seen = BTreeSet::new();
    for path in files_below(&root().join("src"), "rs") {
        let module = module(&path);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            assert!(
                ["main", "cli", "job", "live", "merge", "output", "split", "verify"]
                    .contains(&module.as_str()),
                "{module} has no row"
            );
            continue;
        };
        seen.insert(module.clone());
        // Chance is for tests alone.
        let is_of_tests = path.file_name().is_some_and(|name| name == "tests.rs");
        for name in names(&code(&path)) {
            let is_allowed = name == module
                || allowed.contains(&name.as_str())
                || is_of_tests && name == "random";
            assert!(is_allowed, "{} may not use {name}", path.display());
        }
    }
    assert!(seen.len() >= 12, "the rows match no files: {seen:?}");
}

#[test]
fn each_edge_crate_has_one_owner() {
    for path in files_below(&root().join("src"), "rs") {
        let (module, code) = (module(&path), code(&path));
        for (name, owners) in OWNERS {
            let used = code.lines().any(|line| {
                let line = line.trim_start();
                !line.starts_with("//") && line.contains(&format!("{name}::"))
            });
            // The module source::pcap is not the crate pcap.
            let is_own_module = name == "pcap" && module == "source";
            let fine = !used || is_own_module || owners.contains(&module.as_str());
            assert!(fine, "{} may not name the crate {name}", path.display());
        }
    }
}

#[test]
fn the_tracker_knows_no_clock_thread_or_file() {
    for path in files_below(&root().join("src/conntrack"), "rs") {
        let code = code(&path);
        for word in ["std::fs", "std::io", "std::thread", "std::sync", "Instant", "SystemTime"] {
            assert!(!code.contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn files_are_one_idea_long() {
    for folder in ["src", "tests"] {
        for path in files_below(&root().join(folder), "rs") {
            if path.file_name().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            let lines = code(&path).lines().count();
            assert!(lines <= MAX_LINES, "{}: {lines} lines", path.display());
        }
    }
}

#[test]
fn every_file_begins_with_its_purpose() {
    let is_code = |path: &PathBuf| path.file_name().is_some_and(|name| name != "tests.rs");
    for path in files_below(&root().join("src"), "rs").into_iter().filter(is_code) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} has no module doc", path.display());
    }
    for path in files_below(&root().join("testdata/scenarios"), "txt") {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{} has no purpose line", path.display());
    }
    for entry in std::fs::read_dir(root().join("testdata/captures")).unwrap() {
        let folder = entry.unwrap().path();
        assert!(folder.join("README.md").is_file(), "{} has no README", folder.display());
    }
}

#[test]
fn the_transition_table_is_as_kept() {
    use std::fmt::Write as _;
    use tcp_window_audit::conntrack::state::{Transition, transition};
    use tcp_window_audit::conntrack::{Choices, Class, Profile, TcpState};
    use tcp_window_audit::segment::Direction;

    let mut dump = String::from("# table\tdirection\tclass\tstate\tnext\n");
    // One kernel for each of the four tables that differ.
    for kernel in ["2.6.32", "el6", "3.10", "6.18.44"] {
        let features = Profile::named(kernel).unwrap().features();
        for direction in Direction::BOTH {
            for class in Class::ALL {
                for state in TcpState::ALL {
                    let next = transition(direction, class, state, &mut Choices::new(features));
                    let next = match next {
                        Transition::To(state) => state.name(),
                        Transition::Ignore => "IGNORE",
                        Transition::Invalid => "INVALID",
                    };
                    let (direction, class, state) = (direction.name(), class.name(), state.name());
                    writeln!(dump, "{kernel}\t{direction}\t{class}\t{state}\t{next}").unwrap();
                }
            }
        }
    }
    let path = root().join("testdata/conntrack/transitions.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &dump).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(dump == kept, "{} differs; UPDATE_EXPECT=1 rewrites it", path.display());
}
