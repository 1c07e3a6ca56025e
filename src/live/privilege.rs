//! Giving up what is not needed once the capture is open: root, capabilities, the file system.
//!
//! Has to happen before the first thread starts: capabilities and the sandbox are a thread's own,
//! and later threads inherit them.
#![expect(unsafe_code, reason = "users and capabilities have no face in the standard library")]

use std::ffi::{CStr, CString};
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, path_beneath_rules,
};

/// Who a capture that was begun by root goes on as.
const NOBODY: &str = "nobody";

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is no such user.
    #[error("--user {0}: no such user")]
    UnknownUser(String),
    /// The system refused.
    #[error("cannot {what}; --keep-privileges goes on without")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The sandbox could not be made.
    #[error("cannot enter the sandbox (landlock); --keep-privileges goes on without")]
    Sandbox(#[from] landlock::RulesetError),
}

/// A user to go on as.
#[derive(Clone, PartialEq, Eq, Debug)]
struct User {
    name: String,
    uid: libc::uid_t,
    gid: libc::gid_t,
}

/// What is left after [`give_up`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Left {
    /// The user that the program goes on as, if it was root before.
    pub(super) user: Option<String>,
    /// Whether the kernel keeps it from all files but those named.
    pub(super) is_sandboxed: bool,
}

/// Gives up root and all capabilities, and everything of the file system but reading what the
/// kernel tells and the folders `written`.
///
/// Root becomes `user`, or the user who called sudo, or nobody.
///
/// # Errors
///
/// [`Error`] when something could not be given up: then nothing is safe, and the capture should end.
pub(super) fn give_up(user: Option<&str>, written: &[PathBuf]) -> Result<Left, Error> {
    let mut left = Left { user: None, is_sandboxed: false };
    // SAFETY: takes no pointers.
    if unsafe { libc::geteuid() } == 0 {
        let user = choose(user)?;
        become_user(&user)?;
        left.user = Some(user.name);
    }
    keep_only(0)?;
    left.is_sandboxed = enter_sandbox(written)?;
    Ok(left)
}

/// Keeps one capability, and nothing of the file system: for a process that only asks the kernel.
pub(super) fn keep_net_admin() -> Result<(), Error> {
    const CAP_NET_ADMIN: u32 = 12;
    keep_only(1 << CAP_NET_ADMIN)?;
    enter_sandbox(&[]).map(drop)
}

/// Chooses who to go on as.
fn choose(name: Option<&str>) -> Result<User, Error> {
    if let Some(name) = name {
        return find(name).ok_or_else(|| Error::UnknownUser(name.to_owned()));
    }
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    match (number("SUDO_UID"), number("SUDO_GID")) {
        (Some(uid), Some(gid)) if uid != 0 => {
            let name = std::env::var("SUDO_USER").unwrap_or_else(|_| uid.to_string());
            Ok(User { name, uid, gid })
        }
        _ => find(NOBODY).ok_or_else(|| Error::UnknownUser(NOBODY.to_owned())),
    }
}

fn find(name: &str) -> Option<User> {
    let text = CString::new(name).ok()?;
    // SAFETY: the name ends in a null byte; no other thread asks for users.
    let found = unsafe { libc::getpwnam(text.as_ptr()).as_ref() }?;
    // SAFETY: the name belongs to the entry found, ends in a null byte, and is copied here.
    let name = unsafe { CStr::from_ptr(found.pw_name) }.to_string_lossy().into_owned();
    Some(User { name, uid: found.pw_uid, gid: found.pw_gid })
}

fn become_user(user: &User) -> Result<(), Error> {
    let refused =
        || Error::Refused { what: "become another user", source: io::Error::last_os_error() };
    let (uid, gid) = (user.uid, user.gid);
    // SAFETY: one group, valid for reads; the others take no pointers.
    let statuses = unsafe {
        [
            libc::setgroups(1, &raw const gid),
            libc::setresgid(gid, gid, gid),
            libc::setresuid(uid, uid, uid),
        ]
    };
    if statuses.iter().any(|status| *status != 0) { Err(refused()) } else { Ok(()) }
}

/// Keeps these capabilities of the lower 32, and gives up all others for ever.
fn keep_only(capabilities: u32) -> Result<(), Error> {
    /// `struct __user_cap_header_struct`.
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    /// `struct __user_cap_data_struct`.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let lower = Data { effective: capabilities, permitted: capabilities, inheritable: 0 };
    let data = [lower, Data::default()];
    // SAFETY: the call takes no pointers but the two of the second, which are valid for reads and
    // of the sizes that this version says.
    let statuses = unsafe {
        [
            libc::c_long::from(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
            libc::c_long::from(libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_CLEAR_ALL,
                0,
                0,
                0,
            )),
            libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()),
        ]
    };
    if statuses.iter().any(|status| *status != 0) {
        let source = io::Error::last_os_error();
        return Err(Error::Refused { what: "give up capabilities", source });
    }
    Ok(())
}

/// Keeps the program from all files but those that the kernel makes and those below `written`, and
/// from beginning TCP connections and listening anew; returns whether the kernel can.
fn enter_sandbox(written: &[PathBuf]) -> Result<bool, Error> {
    let abi = ABI::V3;
    let told = ["/proc", "/sys"].map(Path::new);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .create()?
        .add_rules(path_beneath_rules(told, AccessFs::from_read(abi)))?
        .add_rules(path_beneath_rules(written, AccessFs::from_all(abi)))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
