//! Which kernel judges, with which settings, and who said so.

use tcp_window_audit::audit::{Origin, Provenance};
use tcp_window_audit::conntrack::profile::Certainty;
use tcp_window_audit::conntrack::{Policy, Profile, Sysctls};
use tcp_window_audit::kernel::host;

use super::Error;

/// What judges.
#[derive(clap::Args, Debug)]
pub(super) struct JudgeArgs {
    /// Kernel to judge by: a version as `uname -r` prints it, a profile's name, or `host`
    /// [default: the newest profile; host with -i]
    #[arg(long, value_name = "VERSION")]
    pub(super) kernel: Option<String>,

    /// Setting to judge by, such as `nf_conntrack_tcp_loose=0`, or `host`; repeatable
    /// [default: the kernel's; host with -i]
    #[arg(long = "sysctl", value_name = "KEY=VALUE")]
    pub(super) sysctls: Vec<String>,
}

/// The judge that was asked for.
pub(super) struct Judge {
    pub(super) policy: Policy,
    pub(super) sysctls: Sysctls,
    pub(super) provenance: Provenance,
}

impl JudgeArgs {
    /// Judges by this machine where nothing else is asked for, as a live capture does.
    ///
    /// Checksums are not judged unless asked for: those of packets that this machine sends are not
    /// filled in yet where they are captured.
    pub(super) fn prefer_host(&mut self, notes: &mut Vec<String>) {
        self.kernel.get_or_insert_with(|| "host".to_owned());
        if !self.sysctls.is_empty() {
            return;
        }
        match host::sysctls() {
            Ok(_) => self.sysctls = vec!["host".to_owned(), "nf_conntrack_checksum=0".to_owned()],
            Err(error) => {
                notes.push(format!("judging by the kernel's default settings: {error}"));
            }
        }
    }

    /// Returns whether this machine's kernel judges.
    pub(super) fn is_host(&self) -> bool {
        self.kernel.as_deref() == Some("host")
    }

    /// Finds the kernel and the settings, reading this machine's where `host` is asked for.
    pub(super) fn check(&self, notes: &mut Vec<String>) -> Result<Judge, Error> {
        let (kernel, release) = self.kernel(notes)?;
        let mut sysctls = Sysctls::of(kernel);
        let mut provenance = Provenance::default();
        for assignment in &self.sysctls {
            if assignment != "host" {
                let key = sysctls.apply(assignment)?;
                provenance.sysctls.insert(key, Origin::Option);
                continue;
            }
            for (key, value) in host::sysctls()? {
                let key = sysctls.set(key, &value)?;
                provenance.sysctls.insert(key, Origin::Host);
            }
        }
        provenance.kernel = match self.kernel.as_deref() {
            None => Origin::Default,
            Some("host") => Origin::Host,
            Some(_) => Origin::Option,
        };
        provenance.options = options(&release, &sysctls, &provenance);
        Ok(Judge { policy: Policy::new(kernel, &sysctls), sysctls, provenance })
    }

    /// Finds the kernel and the release that it was found by, and notes how far the mapping can be
    /// trusted.
    fn kernel(&self, notes: &mut Vec<String>) -> Result<(Profile, String), Error> {
        let asked = self.kernel.as_deref().unwrap_or(Profile::DEFAULT.name());
        let is_host = asked == "host";
        let mut release = if is_host { host::release()? } else { asked.to_owned() };
        let find = |release: &String| {
            Profile::for_release(release).ok_or_else(|| Error::UnknownKernel(release.clone()))
        };
        let mut kernel = find(&release)?;
        if is_host
            && kernel.certainty == Certainty::PatchLevelHidden
            && let Some(version) = host::full_version()
        {
            kernel = find(&version)?;
            release = version;
        }
        let name = kernel.profile.name();
        match kernel.certainty {
            Certainty::Compared => {}
            Certainty::Nearest => notes.push(format!(
                "Linux {release} was not compared with the model; judging by the nearest that \
                 was, {name}"
            )),
            Certainty::PatchLevelHidden => notes.push(format!(
                "Linux {release} does not tell its patch level; judging by the latest of the \
                 series, {name}. \"cat /proc/version\" (Debian) or \"cat \
                 /proc/version_signature\" (Ubuntu) tells it: --kernel 6.1.76, for example"
            )),
        }
        Ok((kernel.profile, release))
    }
}

/// Writes the options that judge alike on any machine: what was read from this one stands there with
/// its value.
fn options(release: &str, sysctls: &Sysctls, provenance: &Provenance) -> Vec<String> {
    let mut options = vec!["--kernel".to_owned(), release.to_owned()];
    for key in provenance.sysctls.keys() {
        let value = sysctls.value(key).unwrap_or_default();
        options.extend(["--sysctl".to_owned(), format!("{key}={value}")]);
    }
    options
}
