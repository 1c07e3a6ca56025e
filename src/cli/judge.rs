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
    #[arg(long, value_name = "VERSION", default_value = Profile::DEFAULT.name())]
    pub(super) kernel: String,

    /// Setting to judge by, such as `nf_conntrack_tcp_loose=0`, or `host`; repeatable
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
        provenance.kernel = match self.kernel.as_str() {
            "host" => Origin::Host,
            name if name == Profile::DEFAULT.name() => Origin::Default,
            _ => Origin::Option,
        };
        provenance.options = options(&release, &sysctls, &provenance);
        Ok(Judge { policy: Policy::new(kernel, &sysctls), sysctls, provenance })
    }

    /// Finds the kernel and the release that it was found by, and notes how far the mapping can be
    /// trusted.
    fn kernel(&self, notes: &mut Vec<String>) -> Result<(Profile, String), Error> {
        let is_host = self.kernel == "host";
        let mut release = if is_host { host::release()? } else { self.kernel.clone() };
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
