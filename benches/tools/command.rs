//! Running other programs, and what they cost.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub wall_s: f64,
    /// User and system time, of all threads.
    pub cpu_s: f64,
    /// The most memory resident, in megabytes of 10⁶ bytes.
    pub memory_mb: f64,
}

/// Runs a command with its output thrown away; none when it cannot be run, fails, or takes too long.
///
/// GNU `timeout` ends it after `limit_s` seconds. The audit tells by its status, 1, what it found.
pub fn run(command: &[String], limit_s: u32) -> Option<Cost> {
    // A helper of its own runs the command, so that the peak of its children is that of this one.
    let helper = std::env::current_exe().ok()?;
    let output = Command::new(helper)
        .args(["--measure", &limit_s.to_string()])
        .args(command)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall_s, cpu_s, memory_mb] = numbers[..] else { return None };
    Some(Cost { wall_s, cpu_s, memory_mb })
}

/// Is the helper: runs a command and prints its cost.
pub fn measure(arguments: &[String]) {
    let [limit_s, command @ ..] = arguments else { return };
    let started = now_s();
    let status = Command::new("timeout")
        .arg(limit_s)
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let wall_s = now_s() - started;
    let has_findings = command.first().is_some_and(|name| name.ends_with("tcp-window-audit"));
    let worst = i32::from(has_findings);
    if !status.is_ok_and(|status| status.code().is_some_and(|code| code <= worst)) {
        return;
    }
    let usage = usage_of_children();
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let cpu_s = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    println!("{wall_s} {cpu_s} {}", usage.ru_maxrss as f64 * 1024.0 / 1e6);
}

/// Returns where a program stands, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Returns the first line that a program writes about its version.
pub fn version(program: &str) -> String {
    let flag = if program == "tcptrace" { "-v" } else { "--version" };
    let output = Command::new(program).arg(flag).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn usage_of_children() -> libc::rusage {
    // SAFETY: all bytes zero is a valid rusage, and the pointer is to one of our own.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn now_s() -> f64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}
