//! Sessions: what was written since boot. A session begins empty; at the next boot it is set aside with one rename,
//! whatever its size. A few that ended stay; the others are removed later, in the background.

mod ended;
mod saved;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::pool::{Pool, create_new, list, make_dir, make_own_dir, remove_any, replace};
use crate::state::Generation;
use crate::sys::xattr;
use crate::thaw;

/// The folder of sessions that are over, below the others.
const ENDED: &str = "ended";
/// The note that a session began with the kept files.
const KEPT: &str = "kept";
/// The note that a session goes on at the next boot.
const FOLLOWS: &str = "follows";
/// The generation that a session is over, in its folder: number, manifest id and entries.
const GENERATION: &str = "generation";

pub use ended::{Cap, Size, ended, find_ended, remove_ended, trim_ended};
pub use saved::{remove_saved, saved, trim_saved};

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

    /// The session whose upper layer this is.
    pub fn of_upper(upper: &Path) -> Option<Self> {
        let root = upper.parent().filter(|_| upper.ends_with("upper"))?;
        Some(Self { root: root.into() })
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

    /// Sets this session aside, which nobody is in, under the next number. On a disk that is too full even for that, it is
    /// removed at once.
    pub fn end(&self, pool: &Pool) -> Result<()> {
        let folder = pool.sessions().join(ENDED);
        let moved = make_own_dir(&folder).and_then(|()| {
            let last = ended(pool)?.iter().filter_map(Session::number).max();
            let target = folder.join((last.unwrap_or(0) + 1).to_string());
            // When that was, is only for people.
            let _ = create_new(&self.root.join(ENDED));
            fs::rename(&self.root, target).map_err(Error::system("can not move", &self.root))
        });
        match moved {
            Err(error) if error.is_full_disk() => remove_any(&self.root),
            moved => moved,
        }
    }

    /// The number that it got when it ended.
    pub fn number(&self) -> Option<u64> {
        self.name().parse().ok()
    }

    /// When it began and when it ended, by the machine's clock.
    pub fn times(&self) -> (Option<SystemTime>, Option<SystemTime>) {
        let time = |name| {
            let found = fs::symlink_metadata(self.root.join(name));
            found.and_then(|it| it.modified()).ok()
        };
        (time(GENERATION), time(ENDED))
    }

    /// Notes which generation it is over, for whoever looks at it later. Syncs nothing.
    pub fn begin_over(&self, generation: &Generation) -> Result<()> {
        if self.generation().as_ref() == Some(generation) {
            return Ok(());
        }
        let path = self.root.join(GENERATION);
        // As one write: a number is displayed digit by digit.
        let text = format!("{generation}\n");
        let write = || create_new(&path)?.write_all(text.as_bytes());
        write().map_err(Error::system("can not write", &path))
    }

    /// The generation that it is over. What was written by an older program does not say.
    pub fn generation(&self) -> Option<Generation> {
        let text = fs::read_to_string(self.root.join(GENERATION)).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    }

    /// Notes that the kept files are in place: one that is missing later was removed. Not synced; a file system that brings the note back
    /// after a power cut brings back the names that were there before it.
    pub fn note_kept_files(&self) -> Result<()> {
        self.note(KEPT)
    }

    /// Whether the kept files were put in place.
    pub fn has_kept_files(&self) -> bool {
        self.has(KEPT)
    }

    /// Notes that all is in it that goes on from the session `old`, and that it goes on itself. The note is on disk when this returns; what it
    /// speaks of must be there before.
    pub fn note_follows(&self, old: Option<&Session>) -> Result<()> {
        let name = old.map_or(String::new(), Session::name);
        replace(&self.root.join(FOLLOWS), &name)
    }

    /// The name of the session that went on in this one, if one did.
    pub fn followed(&self) -> Option<String> {
        let name = fs::read_to_string(self.root.join(FOLLOWS)).ok()?;
        (!name.is_empty()).then_some(name)
    }

    /// The name of its folder.
    pub fn name(&self) -> String {
        let name = self.root.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Whether it goes on at the next boot.
    pub fn follows(&self) -> bool {
        self.has(FOLLOWS)
    }

    fn note(&self, name: &str) -> Result<()> {
        let path = self.root.join(name);
        create_new(&path)
            .map(drop)
            .map_err(Error::system("can not write", &path))
    }

    fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.root.join(name)).is_ok_and(|it| it.is_file())
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
    // It goes on at the next boot.
    let thawed = thaw::read(pool).map(|thaw| thaw.session);
    let mut found = Vec::new();
    for root in list(&pool.sessions())? {
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        let goes_on = thawed.as_deref() == Some(&*name);
        if name != ENDED
            && !goes_on
            && is_folder(&root)
            && !mounts.contains(&format!("sessions/{name}/upper"))
        {
            found.push(root);
        }
    }
    Ok(by_time(found))
}

/// Sessions in these folders, the one first that was changed first.
fn by_time(folders: Vec<PathBuf>) -> Vec<Session> {
    let changed = |root: &Path| fs::metadata(root).and_then(|it| it.modified()).ok();
    let mut found: Vec<_> = folders
        .into_iter()
        .map(|root| (changed(&root), Session { root }))
        .collect();
    found.sort_by_key(|(changed, _)| *changed);
    found.into_iter().map(|(_, session)| session).collect()
}

/// Sets every session aside that nobody is in: one rename each, however much was written. Syncs nothing. What the clone
/// keeps of them has to be saved before: [`crate::keep::end_sessions`] does both.
pub fn end_idle(pool: &Pool) -> Result<usize> {
    let idle = idle(pool)?;
    idle.iter().try_for_each(|session| session.end(pool))?;
    Ok(idle.len())
}
