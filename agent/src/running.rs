//! What runs: which session is mounted where, by what the kernel says about the mounts, and what of its tree is untouched.
//!
//! An assembled root shows a file that nobody changed just as the image has it, with the time of its last change of any kind
//! (ctime) equal to its modification time. A changed one is in the session, where the kernel sets that time by its clock,
//! and no program can. So one `stat` tells whether a file has to be looked at, and of a folder, whether anything below has.

use std::ffi::{CStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use reclone_format::{Entry, TreePath};
use rustix::fs::Statx;

use crate::place;
use crate::pool::Pool;
use crate::session::Session;
use crate::state::Generation;
use crate::sys::beneath;

/// The release of the kernel.
pub fn kernel() -> io::Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(release.trim().to_owned())
}

/// A mount, as `/proc/self/mountinfo` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What of the file system is shown: `/` for all of it.
    pub root: PathBuf,
    /// Where.
    pub at: PathBuf,
    /// The kind of file system.
    pub kind: String,
    /// The options of the file system.
    pub options: String,
}

/// Every mount that this process sees, the later ones over the earlier.
pub fn mounts() -> Vec<Mount> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    parse(&text)
}

/// Reads the lines of a mountinfo; those that are none are left out.
fn parse(text: &[u8]) -> Vec<Mount> {
    let text = String::from_utf8_lossy(text);
    let line = |line: &str| {
        // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut file_system = file_system.split(' ');
        Some(Mount {
            root: unescaped(mount.next()?),
            at: unescaped(mount.next()?),
            kind: file_system.next()?.to_owned(),
            options: file_system.nth(1)?.to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// A path as the kernel writes it: white space and backslashes as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| {
            byte == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
        });
        match digits {
            Some(digits) => {
                let value = digits
                    .iter()
                    .fold(0u8, |value, digit| value.wrapping_mul(8) + (digit - b'0'));
                bytes.push(value);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

impl Mount {
    /// The folder that holds the upper layer, and that layer's session, where this is an overlay of reclone.
    pub fn session(&self) -> Option<Session> {
        let options = self.options.split(',');
        let upper = options
            .filter_map(|option| option.strip_prefix("upperdir="))
            .next()
            .filter(|_| self.kind == "overlay")?;
        let session = Session::of_upper(&unescaped(upper))?;
        session.generation().map(|_| session)
    }
}

/// The sessions of a pool that somebody is in. The pool may be named by a link; the kernel tells where that leads.
pub fn sessions(pool: &Pool) -> Vec<Session> {
    let Ok(home) = fs::canonicalize(pool.sessions()) else {
        return Vec::new();
    };
    let mounts = mounts();
    let sessions = mounts.iter().filter_map(Mount::session);
    let own = sessions.filter(|session| session.root().parent() == Some(&*home));
    own.collect()
}

/// The mount that shows a path.
pub fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.at));
    // Of several at one place the last one shows.
    above.max_by_key(|mount| mount.at.components().count())
}

/// The places below a path where something else is mounted.
pub fn mounts_below<'a>(mounts: &'a [Mount], path: &'a Path) -> impl Iterator<Item = &'a Path> {
    let at = mounts.iter().map(|mount| mount.at.as_path());
    at.filter(move |at| at.starts_with(path) && *at != path)
}

/// A tree that one of the pool's generations and a session make.
#[derive(Clone, Debug)]
pub struct Running {
    /// The generation below.
    pub generation: Generation,
    /// The session above it.
    pub session: Session,
    /// Where its top is.
    pub at: PathBuf,
    /// Whether a file with several names may have changed under one that is in an untouched folder.
    links_changed: bool,
}

impl Running {
    /// The tree that shows `path`, if it is one of these, and whole.
    pub fn at(path: &Path) -> Option<Self> {
        let mounts = mounts();
        Self::of(mount_of(&mounts, path)?)
    }

    fn of(mount: &Mount) -> Option<Self> {
        let session = mount.session().filter(|_| mount.root == Path::new("/"))?;
        Some(Self::new(session.generation()?, session, mount.at.clone()))
    }

    /// The tree that these two make, with its top at this folder.
    pub fn new(generation: Generation, session: Session, at: PathBuf) -> Self {
        // The names of changed files that have several; and what the kernel makes whiteouts of, which has a name for the time being.
        let index = fs::read_dir(session.work().join("index"));
        let is_file = |name: OsString| !name.as_bytes().starts_with(b"#");
        let links_changed = index.is_ok_and(|entries| {
            let mut entries = entries.flatten();
            entries.any(|entry| is_file(entry.file_name()))
        });
        Self {
            generation,
            session,
            at,
            links_changed,
        }
    }

    /// Whether nobody changed what was found since the generation, of which this is the entry.
    pub fn is_untouched(&self, entry: &Entry, found: &Statx) -> bool {
        let changed = (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec);
        changed == (entry.mtime.sec, entry.mtime.nsec) && place::mtime(found) == entry.mtime
    }

    /// Whether that also says that nobody changed anything below an untouched folder.
    pub fn speaks_for_all_below(&self) -> bool {
        !self.links_changed
    }

    /// Whether the folder shows what another folder of the generation has, for somebody renamed that, or nothing of it, for it was
    /// made anew. Then the times of what is in it prove nothing.
    pub fn is_another(&self, folder: &TreePath) -> bool {
        let upper = self.session.upper().join(folder.as_path());
        // With room for nothing, the call gives the length.
        let has = |name: &CStr| rustix::fs::lgetxattr(&upper, name, &mut [0; 0][..]).is_ok();
        has(c"trusted.overlay.redirect") || has(c"trusted.overlay.opaque")
    }

    /// The names in a folder of the generation, which [is no other](Self::is_another), that somebody changed, added or removed. None where
    /// that can not be told.
    pub fn changed_names(&self, folder: &TreePath) -> Option<Vec<Vec<u8>>> {
        let top = beneath::open_top(&self.session.upper());
        let upper = top.and_then(|top| beneath::open_folder(top, folder.as_path()));
        let names = upper.and_then(place::names).ok();
        names.filter(|_| self.speaks_for_all_below())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_kernel_are_read_and_the_innermost_mount_shows_a_path() {
        let text = b"22 1 0:20 / / rw shared:1 - overlay reclone rw,lowerdir=/a::/b,upperdir=/p/sessions/x/upper\n\
            nonsense\n\
            23 22 0:21 /sub /home\\040of rw,nosuid - ext4 /dev/vda1 rw\n\
            24 22 0:22 / /home\\040of/a - tmpfs none rw\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 3);
        let at = |path: &str| mount_of(&mounts, Path::new(path)).unwrap().kind.clone();
        assert_eq!(at("/etc"), "overlay");
        assert_eq!(at("/home of/b"), "ext4");
        assert_eq!(at("/home of/a/x"), "tmpfs");
        assert_eq!(at("/home office"), "overlay");
        assert_eq!(mounts[1].root, Path::new("/sub"));
        let below: Vec<&Path> = mounts_below(&mounts, Path::new("/home of")).collect();
        assert_eq!(below, [Path::new("/home of/a")]);
    }
}
