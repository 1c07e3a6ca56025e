//! The recipes for engines that people have are run as they stand, where the engine is there, and give
//! the report of a single run.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::machines::python_with;
use crate::program::{PROGRAM, STORY, Scratch, run, status, text};
use crate::scenario::testdata;

fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes").join(name)
}

fn capture() -> String {
    testdata().join("captures").join(STORY).join("capture.pcapng").to_str().unwrap().to_owned()
}

/// Returns a command that finds the program under its name.
fn command(program: &Path) -> Command {
    let folder = Path::new(PROGRAM).parent().unwrap().to_str().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.env("PATH", format!("{folder}:{path}"));
    command
}

/// Says whether the first line of a program's version holds a word.
fn is_there(program: &str, word: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(word))
}

/// Holds that a recipe has ended well and made the report of a single run.
fn assert_reported(scratch: &Scratch, output: &Output, folder: &Path) {
    assert_eq!(status(output), 0, "{}", text(&output.stderr));
    run(&scratch.0, &["-q", "-o", "single.json", &capture()]);
    let single = std::fs::read(scratch.0.join("single.json")).unwrap();
    assert!(std::fs::read(folder.join("report.json")).unwrap() == single, "{}", folder.display());
}

#[test]
fn gnu_parallel_gives_the_report_of_a_single_run() {
    if !is_there("parallel", "GNU parallel") {
        eprintln!("skipped: GNU parallel is not installed");
        return;
    }
    let scratch = Scratch::new("recipe-parallel");
    for (script, folder) in [("parallel.sh", "plain"), ("split.sh", "split")] {
        let folder = scratch.0.join(folder);
        let again =
            || command(&recipe(script)).arg("4").arg(&folder).arg(capture()).output().unwrap();
        assert_reported(&scratch, &again(), &folder);
        let output = again();
        assert_eq!(text(&output.stderr).matches("is there, whole and made alike: kept").count(), 4);
        assert_reported(&scratch, &output, &folder);
    }
}

#[test]
fn a_slurm_job_array_gives_the_report_of_a_single_run() {
    // SAFETY of the machine: the cluster has network, processes and mounts of its own.
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if !is_root || !is_there("sbatch", "slurm") || !is_there("munged", "munge") {
        eprintln!("skipped: slurm-wlm is not installed, or not root");
        return;
    }
    let scratch = Scratch::new("recipe-slurm");
    let output = command(Path::new("timeout"))
        .arg("120")
        .arg(recipe("local_slurm.sh"))
        .arg(scratch.0.join("cluster"))
        .arg(recipe("wait_for_slurm.sh"))
        .arg("8")
        .arg(scratch.0.join("out"))
        .arg(capture())
        .output()
        .unwrap();
    assert_reported(&scratch, &output, &scratch.0.join("out"));
}

#[test]
fn spark_gives_the_report_of_a_single_run() {
    let Some(python) = python_with("pyspark") else { return };
    if Command::new("java").arg("-version").output().is_err() {
        eprintln!("skipped: java is not installed");
        return;
    }
    let scratch = Scratch::new("recipe-spark");
    let folder = scratch.0.join("out");
    let output = command(Path::new(&python))
        .env("SPARK_LOCAL_IP", "127.0.0.1")
        .arg(recipe("spark.py"))
        .arg("4")
        .arg(&folder)
        .arg(capture())
        .output()
        .unwrap();
    assert_reported(&scratch, &output, &folder);
}

#[test]
fn the_kubernetes_jobs_are_what_the_api_accepts() {
    let Some(python) = python_with("kubernetes_validate") else { return };
    let output = Command::new(python)
        .args(["-m", "kubernetes_validate", "--strict"])
        .arg(recipe("kubernetes.yaml"))
        .output()
        .unwrap();
    let told = text(&output.stderr).to_owned() + text(&output.stdout);
    assert_eq!(status(&output), 0, "{told}");
    assert_eq!(told.matches("passed for resource job/audit-").count(), 2, "{told}");
}

/// Runs the statements of a file, and prints the rows that they give.
const QUERIES: &str = r"
import duckdb, json, sys
for statement in duckdb.extract_statements(open(sys.argv[1]).read()):
    result = duckdb.execute(statement)
    if statement.type == duckdb.StatementType.SELECT:
        print(json.dumps([dict(zip([c[0] for c in result.description], row)) for row in result.fetchall()], default=str))
";

#[test]
fn questions_to_a_fleet_are_answered_by_duckdb() {
    let Some(python) = python_with("duckdb") else { return };
    let scratch = Scratch::new("recipe-fleet");
    let captures = testdata().join("captures");
    for name in [STORY, "window_scale_stripped_from_syn_ack", "clean_download"] {
        let path = captures.join(name).join("capture.pcapng");
        run(&scratch.0, &["-q", "-o", &format!("{name}.ndjson"), path.to_str().unwrap()]);
    }
    let output = Command::new(python)
        .args(["-c", QUERIES])
        .arg(recipe("fleet.sql"))
        .current_dir(&scratch.0)
        .output()
        .unwrap();
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    let tables: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [peers, causes, trend] = &tables[..] else { panic!("{}", text(&output.stdout)) };
    assert_eq!((&peers[0]["peer"], &peers[0]["captures"]), (&"192.0.2.80".into(), &2.into()));
    let codes: Vec<_> = causes.as_array().unwrap().iter().map(|row| &row["cause"]).collect();
    assert!(codes.contains(&&"C01".into()) && codes.contains(&&"C03".into()), "{causes}");
    assert_eq!(trend[0]["captures"], 3);
    assert_eq!(trend[0]["day"], "2023-11-14");
}
