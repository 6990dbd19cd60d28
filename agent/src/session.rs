//! Sessions: what was written since boot. A session begins empty; at the next boot it is set aside with one rename,
//! whatever its size, and removed later, in the background.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::pool::{Pool, list, make_dir, make_own_dir, remove_any};
use crate::sys::xattr;

/// The folder of sessions that are over, below the others.
const ENDED: &str = "ended";

/// A folder with the two that an overlay needs.
#[derive(Clone, Debug)]
pub struct Session {
    root: PathBuf,
}

impl Session {
    /// The session in this folder, which is made where it is missing. Its parent must exist.
    pub fn open(root: &Path) -> Result<Self> {
        make_dir(root)?;
        Ok(Self { root: root.into() })
    }

    /// A new session of the pool, named for this boot; more than one in a boot get a number.
    pub fn create(pool: &Pool) -> Result<Self> {
        make_own_dir(&pool.sessions())?;
        let boot = boot_id();
        let names = std::iter::once(boot.clone()).chain((2..).map(|n| format!("{boot}-{n}")));
        for name in names {
            let root = pool.sessions().join(name);
            if !root.exists() {
                return Self::open(&root);
            }
        }
        unreachable!("the names never end")
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What was written.
    pub fn upper(&self) -> PathBuf {
        self.root.join("upper")
    }

    /// The overlay's own.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Sets this session aside, which nobody is in. On a disk that is too full even for that, it is removed at once.
    pub fn end(&self, pool: &Pool) -> Result<()> {
        let ended = pool.sessions().join(ENDED);
        let name = self.root.file_name().unwrap_or_default().to_string_lossy();
        // A name that was used before, such as a container's, gets a number.
        let names = (1..).map(|n| ended.join(format!("{name}.{n}")));
        let free = names.into_iter().find(|path| !path.exists());
        let target = free.unwrap_or_else(|| ended.join(name.as_ref()));
        let moved = make_own_dir(&ended).and_then(|()| {
            fs::rename(&self.root, target).map_err(Error::system("can not move", &self.root))
        });
        match moved {
            Err(error) if error.is_full_disk() => remove_any(&self.root),
            moved => moved,
        }
    }

    /// Removes all that was written outside of the top folder `stays`. Takes time with its size.
    pub fn shed(&self, stays: &str) -> Result<()> {
        if !is_folder(&self.upper()) {
            return Ok(());
        }
        let written = list(&self.upper())?.into_iter();
        let mut rest = written.filter(|path| path.file_name().is_none_or(|name| name != stays));
        rest.try_for_each(|path| remove_any(&path))
    }

    /// Makes the folders. The top of the assembled tree shows the upper folder's own attributes, so a new one gets
    /// those of `image`'s top.
    pub fn prepare(&self, image: &Path) -> Result<()> {
        make_dir(&self.work())?;
        let upper = self.upper();
        if upper.exists() {
            return Ok(());
        }
        make_dir(&upper)?;
        copy_attributes(image, &upper)
            .map_err(Error::system("can not set the attributes of", &upper))
    }
}

/// Gives `to` owner, mode, xattrs and time of the folder `from`.
fn copy_attributes(from: &Path, to: &Path) -> std::io::Result<()> {
    let metadata = fs::metadata(from)?;
    chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    // An overlay's own marks say something about the layer that they are in.
    xattr::copy(from, to, |name| !name.starts_with(b"trusted.overlay."))?;
    fs::File::open(to)?.set_modified(metadata.modified()?)
}

/// Whether this is a folder and not a link to one.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// The name of this boot, from the kernel.
fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    match id.trim() {
        "" => format!("process-{}", std::process::id()),
        id => id.to_owned(),
    }
}

/// The pool's sessions that nobody is in, oldest first. A link to a folder is none: what it leads to is not the pool's.
pub fn idle(pool: &Pool) -> Result<Vec<Session>> {
    if !is_folder(&pool.sessions()) {
        return Ok(Vec::new());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = Vec::new();
    for root in list(&pool.sessions())? {
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        if name != ENDED && is_folder(&root) && !mounts.contains(&format!("sessions/{name}/upper"))
        {
            let changed = fs::metadata(&root).and_then(|metadata| metadata.modified());
            found.push((changed.ok(), Session { root }));
        }
    }
    found.sort_by_key(|(changed, _)| *changed);
    Ok(found.into_iter().map(|(_, session)| session).collect())
}

/// Sets every session aside that nobody is in: one rename each, however much was written. Syncs nothing. What the clone
/// keeps of them has to be saved before: [`crate::keep::end_sessions`] does both.
pub fn end_idle(pool: &Pool) -> Result<usize> {
    let idle = idle(pool)?;
    idle.iter().try_for_each(|session| session.end(pool))?;
    Ok(idle.len())
}

/// Removes the sessions that were set aside. Takes time with their size.
pub fn remove_ended(pool: &Pool) -> Result<u64> {
    let ended = pool.sessions().join(ENDED);
    if !is_folder(&pool.sessions()) || !is_folder(&ended) {
        return Ok(0);
    }
    let sessions = list(&ended)?;
    sessions
        .iter()
        .try_for_each(|session| remove_any(session))?;
    Ok(sessions.len() as u64)
}
