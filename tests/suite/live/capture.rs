//! A capture that goes on, and the folder that it writes to.
#![expect(clippy::disallowed_methods, reason = "the hosts run in real time, as their kernels do")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::net::{INTERFACE, Net};
use crate::program::PROGRAM;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that any user may write to.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("twa-live-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.read("report.json")).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A capture that goes on.
pub(crate) struct Capture {
    pub(crate) child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Capture {
    /// Begins a capture on the left host; none, and says so, where libpcap is absent.
    pub(crate) fn begin(net: &Net, folder: &Folder, arguments: &[&str]) -> Option<Self> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &net.left, PROGRAM, "-i", INTERFACE]);
        command.args(arguments);
        Self::of(command, &folder.path("report.json"))
    }

    /// Begins a capture by a command, which writes this report; none, and says so, where libpcap is
    /// absent.
    pub(crate) fn of(mut command: Command, report: &str) -> Option<Self> {
        command.args(["--no-screen", "-o", report]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut capture = Self { child, stderr };
        let begun = capture.line();
        if begun.contains("libpcap") {
            eprintln!("skipped: libpcap is not installed");
            return None;
        }
        assert!(begun.contains("capturing on "), "{begun}");
        Some(capture)
    }

    /// Waits for the next line on standard error.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Ends the capture by Ctrl-C; returns its exit status, standard output and standard error.
    pub(crate) fn end(self) -> (i32, String, String) {
        self.signal("-INT");
        self.wait()
    }

    /// Waits for the end of the capture.
    pub(crate) fn wait(mut self) -> (i32, String, String) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "the capture does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (mut out, mut errors) = (String::new(), String::new());
        self.stderr.read_to_string(&mut errors).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let status = self.child.wait().unwrap();
        (status.code().expect("the program ends by itself"), out, errors)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // A test that fails leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the options by which a file is judged as a live capture was.
pub(crate) fn as_judged(report: &Value) -> [String; 4] {
    let method = &report["method"];
    let loose = &method["sysctl"]["nf_conntrack_tcp_loose"];
    let kernel = method["kernel_profile"].as_str().unwrap().to_owned();
    let loose = format!("nf_conntrack_tcp_loose={loose}");
    ["--kernel".to_owned(), kernel, "--sysctl".to_owned(), loose]
}
