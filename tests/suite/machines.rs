//! Reports for programs: valid by an independent validator, documented, and queried as documented.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::program::{STORY, Scratch, cases, run, status, text};
use crate::scenario::testdata;
use crate::untrusted::named_interface;

/// Finds a Python that has a module: one in target/python, made as the guide says, or the system's.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python3");
    let import = format!("import {module}");
    let has_module = |python: &PathBuf| {
        let output = Command::new(python).args(["-c", &import]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let python = [own, PathBuf::from("python3")].into_iter().find(has_module);
    if python.is_none() {
        eprintln!("skipped: no Python module {module} (pip install {module})");
    }
    python
}

fn python(python: &Path, script: &str, arguments: &[&str]) -> Output {
    Command::new(python).args(["-c", script]).args(arguments).output().unwrap()
}

/// Validates files against a schema, strictly: no property but those that the schema names.
const VALIDATE: &str = r#"
import json, sys
import jsonschema

def close(node):
    if isinstance(node, dict):
        if "properties" in node and "additionalProperties" not in node:
            node["additionalProperties"] = False
        for value in node.values():
            close(value)
    elif isinstance(node, list):
        for value in node:
            close(value)

schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
close(schema)
validator = jsonschema.Draft202012Validator(schema)
for path in sys.argv[2:]:
    for error in validator.iter_errors(json.load(open(path))):
        print(path, error.json_path, error.message[:200])
"#;

#[test]
fn every_json_report_is_valid_by_the_schema_that_the_program_prints() {
    let Some(with) = python_with("jsonschema") else { return };
    let scratch = Scratch::new("schema");
    let schema = run(&scratch.0, &["schema"]);
    assert_eq!(status(&schema), 0);
    scratch.write("schema.json", &schema.stdout);
    let path = |name: &str| scratch.0.join(name).to_str().unwrap().to_owned();
    let mut files = vec![path("schema.json")];
    files
        .extend(cases().iter().map(|(folder, _)| folder.join("report.json").display().to_string()));
    let story = testdata().join("captures").join(STORY).join("capture.pcapng");
    let story = story.to_str().unwrap();
    for (name, options) in [
        ("flow.json", &["--flow", "1"][..]),
        ("mapped.json", &["--anonymize", "--relative-times"]),
        ("sysctl.json", &["--sysctl", "nf_conntrack_tcp_timeout_established=60", "--inner"]),
        ("two.json", &[story]),
    ] {
        let output = run(&scratch.0, &[&["--format", "json", story], options].concat());
        scratch.write(name, &output.stdout);
        files.push(path(name));
    }
    assert!(files.len() > 12, "{files:?}");
    let arguments: Vec<_> = files.iter().map(String::as_str).collect();
    let output = python(&with, VALIDATE, &arguments);
    assert_eq!(text(&output.stdout), "");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_report_that_is_not_as_the_schema_says_is_found() {
    let Some(with) = python_with("jsonschema") else { return };
    let scratch = Scratch::new("schema-breaks");
    scratch.write("schema.json", &run(&scratch.0, &["schema"]).stdout);
    let good = std::fs::read(testdata().join("captures").join(STORY).join("report.json")).unwrap();
    let good: Value = serde_json::from_slice(&good).unwrap();
    for (pointer, value) in [
        ("/verdict/packets", Value::from("many")),
        ("/flows/0/id.orig_p", Value::from(-1)),
        ("/flows/0/evidence/0", Value::from(0)),
        ("/schema", Value::from("tcp-window-audit/2")),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect(pointer) = value;
        scratch.write("bad.json", bad.to_string().as_bytes());
        let path = |name: &str| scratch.0.join(name).to_str().unwrap().to_owned();
        let output = python(&with, VALIDATE, &[&path("schema.json"), &path("bad.json")]);
        assert_ne!(text(&output.stdout), "", "{pointer} was not noticed");
    }
}

#[test]
fn what_is_not_known_is_absent_and_never_null() {
    fn nulls(value: &Value) -> usize {
        match value {
            Value::Null => 1,
            Value::Array(values) => values.iter().map(nulls).sum(),
            Value::Object(fields) => fields.values().map(nulls).sum(),
            _ => 0,
        }
    }
    for (folder, file) in cases() {
        let report: Value =
            serde_json::from_slice(&run(&folder, &["--format", "json", &file]).stdout).unwrap();
        assert_eq!(nulls(&report), 0, "{}", folder.display());
    }
    let folder = testdata().join("captures/one_direction_only");
    let report = run(&folder, &["--format", "json", "capture.pcapng"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let flow = &report["flows"][0];
    assert_eq!(flow["resp_pkts"], 0);
    assert!(flow.get("resp_bytes").is_none(), "nothing is known of bytes never seen");
}

fn lines(output: &Output) -> Vec<Value> {
    let lines = text(&output.stdout).lines();
    lines.map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The columns that the guide documents.
fn documented() -> BTreeSet<String> {
    let guide =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/formats.md"))
            .unwrap();
    let table = guide.split("| column | on | what |").nth(1).expect("the table of columns");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| {
        let cell = row.split('|').nth(1).unwrap_or_default();
        cell.split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
    });
    names.collect()
}

#[test]
fn every_column_of_ndjson_is_documented_and_the_other_way_round() {
    let mut found = BTreeSet::new();
    for (folder, file) in cases() {
        for line in lines(&run(&folder, &["--format", "ndjson", &file])) {
            assert_eq!(line["event_type"], "tcp_window_audit");
            found.extend(line.as_object().unwrap().keys().cloned());
        }
    }
    // No capture at hand names its interface.
    let scratch = Scratch::new("columns");
    scratch.write("a.pcapng", &named_interface("eth0"));
    for line in lines(&run(&scratch.0, &["--format", "ndjson", "a.pcapng"])) {
        found.extend(line.as_object().unwrap().keys().cloned());
    }
    assert_eq!(found, documented());
}

#[test]
fn ndjson_has_a_line_for_the_verdict_each_finding_and_each_flow() {
    for (folder, file) in cases() {
        let report: Value =
            serde_json::from_slice(&run(&folder, &["--format", "json", &file]).stdout).unwrap();
        let lines = lines(&run(&folder, &["--format", "ndjson", &file]));
        let of_kind = |kind: &'static str| lines.iter().filter(move |line| line["kind"] == kind);
        assert_eq!(of_kind("verdict").count(), 1);
        assert_eq!(of_kind("finding").count(), report["causes"].as_array().unwrap().len());
        let ids: BTreeSet<_> = of_kind("flow").map(|line| line["flow_id"].as_u64()).collect();
        assert_eq!(ids.len(), of_kind("flow").count(), "a flow stands twice");
        let expected = ["flows", "troubled"].into_iter().flat_map(|list| {
            report[list].as_array().unwrap().iter().map(|flow| flow["id"].as_u64())
        });
        assert!(expected.collect::<BTreeSet<_>>().is_subset(&ids), "{}", folder.display());
        let invalid: u64 = of_kind("flow").map(|line| line["invalid"].as_u64().unwrap()).sum();
        assert_eq!(invalid, report["verdict"]["invalid"]["packets"], "{}", folder.display());
    }
}

/// Runs the guide's query, and writes its rows as JSON.
const QUERY: &str = r"
import duckdb, sys
query = sys.argv[1].strip().rstrip(';')
duckdb.connect().execute(f'COPY ({query}) TO \'rows.json\' (FORMAT json, ARRAY true)')
";

#[test]
fn the_query_of_the_documents_runs_in_duckdb_and_agrees_with_the_json_report() {
    let Some(with) = python_with("duckdb") else { return };
    let guide =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/formats.md"))
            .unwrap();
    let query = guide.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    let scratch = Scratch::new("duckdb");
    let captures = testdata().join("captures");
    for name in [STORY, "window_scale_stripped_from_syn_ack", "clean_download"] {
        let path = captures.join(name).join("capture.pcapng");
        run(&scratch.0, &["-q", "-o", &format!("{name}.ndjson"), path.to_str().unwrap()]);
    }
    let output =
        Command::new(&with).args(["-c", QUERY, query]).current_dir(&scratch.0).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows = std::fs::read(scratch.0.join("rows.json")).unwrap();
    let rows: Value = serde_json::from_slice(&rows).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    let of = |name: &str, field: &str| {
        let report = std::fs::read(captures.join(name).join("report.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        report["verdict"]["invalid"][field].as_u64().unwrap()
    };
    let both = |field| of(STORY, field) + of("window_scale_stripped_from_syn_ack", field);
    assert_eq!(rows[0]["dest_ip"], "192.0.2.80");
    assert_eq!(rows[0]["connections"], both("flows"));
    assert_eq!(rows[0]["invalid"], both("packets"));
}
