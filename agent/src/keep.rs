//! What makes a clone itself: a few files that stay whatever the model says. They live in the pool below `keep/`, under
//! their own paths; each new session begins with them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{info, warn};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};

use crate::barrier::Barrier;
use crate::error::{Error, Result};
use crate::pool::{Pool, create_new, list, make_dir, make_own_dir, remove_any, remove_dir};
use crate::session::{self, Session};
use crate::sys::random;

/// The top folder of all of them.
const ETC: &str = "etc";
const MACHINE_ID: &str = "etc/machine-id";
/// Encrypted disks that are opened at the start. Most machines have none and no such file.
const CRYPTTAB: &str = "etc/crypttab";
const FILES: [&str; 4] = [MACHINE_ID, "etc/hostname", "etc/fstab", CRYPTTAB];
/// How long a machine without an id waits for the kernel's randomness.
const RANDOMNESS: Duration = Duration::from_secs(10);
const HOST_KEYS: &str = "etc/ssh";
const HOST_KEY_PREFIX: &str = "ssh_host_";

/// The kept files that are there below `root`, as paths relative to it. Symbolic links are not followed, on the way
/// neither, and not kept: whoever was root in a session could have them lead anywhere.
fn files_below(root: &Path) -> Vec<PathBuf> {
    let keys = fs::read_dir(root.join(HOST_KEYS))
        .into_iter()
        .flatten()
        .flatten();
    let keys = keys
        .map(|entry| Path::new(HOST_KEYS).join(entry.file_name()))
        .filter(|path| is_host_key(path));
    let mut files: Vec<PathBuf> = FILES.iter().map(PathBuf::from).chain(keys).collect();
    files.retain(|path| {
        is_real(root, path.parent().unwrap_or(path))
            && fs::symlink_metadata(root.join(path)).is_ok_and(|it| it.is_file())
    });
    files.sort();
    files
}

/// Whether `root` and every part of `folder` below it are folders and not links to some.
fn is_real(root: &Path, folder: &Path) -> bool {
    let mut at = root.to_owned();
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|it| it.is_dir());
    is_folder(&at)
        && folder.components().all(|part| {
            at.push(part);
            is_folder(&at)
        })
}

/// Whether a path, relative to the top of the tree, is that of a file that makes a clone itself.
pub fn is_kept(path: &Path) -> bool {
    FILES.iter().any(|file| path == Path::new(file))
        || path.parent() == Some(Path::new(HOST_KEYS)) && is_host_key(path)
}

fn is_host_key(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| name.starts_with(HOST_KEY_PREFIX))
}

/// Fills `keep/` from the system that was installed on the clone, if it was never filled. When this returns it is on
/// disk. Without a machine id the clone gets one of its own: two machines with the model's would be one to the network.
pub fn adopt(pool: &Pool, plain_root: &Path) -> Result<()> {
    if is_real(&pool.keep(), Path::new("")) {
        return Ok(());
    }
    if fs::symlink_metadata(pool.keep()).is_ok() {
        remove_any(&pool.keep())?;
    }
    let new = pool.root().join("keep.new");
    remove_dir(&new)?;
    make_dir(&new)?;
    let files = files_below(plain_root);
    for file in &files {
        copy(plain_root, file, &new, file)?;
    }
    let id = new.join(MACHINE_ID);
    if !fs::read_to_string(&id).is_ok_and(|id| is_machine_id(id.trim())) {
        write_machine_id(&id).map_err(Error::system("can not write", &id))?;
    }
    pool.sync(Barrier::Gathered)?;
    fs::rename(&new, pool.keep()).map_err(Error::system("can not move", &new))?;
    info!("keeping {} files of this machine", files.len());
    pool.sync(Barrier::Adopted)
}

fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A random id in the form of machine-id(5), an RFC 4122 version 4 UUID.
fn write_machine_id(path: &Path) -> io::Result<()> {
    // Clones of one disk that begin with no randomness would all make the same.
    random::wait(Some(Instant::now() + RANDOMNESS));
    let mut id = [0u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut id)?;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let mut text: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))
}

/// Brings what a session changed in kept files back into `keep/`: a new host name, new host keys. Each file is synced
/// before it takes the old one's place; one that a power cut left unwritten does not. A `keep/` that is not there is left to [`adopt`].
pub fn save(pool: &Pool, session: &Session) -> Result<()> {
    let (upper, keep) = (session.upper(), pool.keep());
    if !is_real(&keep, Path::new("")) {
        return Ok(());
    }
    for file in files_below(&upper) {
        let (from, to) = (upper.join(&file), keep.join(&file));
        if is_same(&from, &to).map_err(Error::system("can not read", &from))? {
            continue;
        }
        if is_cut_short(&from).map_err(Error::system("can not read", &from))? {
            warn!(
                "{}: a power cut left it unwritten, the old one stays",
                from.display()
            );
            continue;
        }
        let new = file.with_file_name(".new");
        copy(&upper, &file, &keep, &new)?;
        let new = keep.join(new);
        let sync = || {
            Barrier::Kept.pass(|| File::open(&new)?.sync_all())?;
            fs::rename(&new, &to)
        };
        sync().map_err(Error::system("can not write", &to))?;
        info!("kept the new {}", file.display());
    }
    Ok(())
}

/// Ends every session that nobody is in, once what it changed in kept files is saved; gives how many ended. Where the disk is too
/// full for that, what else was written makes room; where that does not help, the session stays as it is, for the next try.
pub fn end_sessions(pool: &Pool) -> Result<usize> {
    let mut outcome = Ok(0);
    for session in session::idle(pool)? {
        let saved = save(pool, &session).or_else(|error| match error.is_full_disk() {
            true => {
                session::remove_ended(pool)?;
                session.shed(ETC)?;
                save(pool, &session)
            }
            false => Err(error),
        });
        let ended = match &saved {
            Err(error) if error.is_full_disk() => Ok(()),
            _ => session.end(pool),
        };
        outcome = outcome.and_then(|count| saved.and(ended).map(|()| count + 1));
    }
    outcome
}

/// Whether this is what a file system makes of a file that nobody synced before the power went: nothing, or zeros. None of
/// the kept files ever has that for content.
fn is_cut_short(path: &Path) -> io::Result<bool> {
    let content = fs::read(path)?;
    Ok(content.is_empty() || content.contains(&0))
}

fn is_same(left: &Path, right: &Path) -> io::Result<bool> {
    if fs::metadata(left)?.mode() != fs::symlink_metadata(right).map_or(0, |it| it.mode()) {
        return Ok(false);
    }
    Ok(fs::read(left)? == fs::read(right)?)
}

/// Forgets everything kept, or nothing; the next boot takes it from the plain root again.
pub fn forget(pool: &Pool) -> Result<()> {
    // Half a folder would be taken for all that this machine has.
    let old = pool.root().join("keep.old");
    remove_dir(&old)?;
    match fs::rename(pool.keep(), &old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => {
            renamed.map_err(Error::system("can not move", &pool.keep()))?;
            remove_dir(&old)
        }
    }
}

/// Copies `file` below `from` to `name` below `to`. What stands in the way of a folder or of the file goes.
fn copy(from: &Path, file: &Path, to: &Path, name: &Path) -> Result<()> {
    let mut folder = to.to_owned();
    for part in name.parent().unwrap_or(name).components() {
        folder.push(part);
        make_own_dir(&folder)?;
    }
    let from = from.join(file);
    let copy = || -> io::Result<()> {
        let mut source = File::open(&from)?;
        let metadata = source.metadata()?;
        let mut file = create_new(&to.join(name))?;
        io::copy(&mut source, &mut file)?;
        fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
        file.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
        file.set_modified(metadata.modified()?)
    };
    copy().map_err(Error::system("can not copy", &from))
}

/// Puts the kept files into the assembled tree at `root`, in place of the model's. The folders they are in keep the
/// model's times. Nothing is followed out of `root`, whatever links the model has there.
pub fn place(pool: &Pool, root: &Path) -> Result<()> {
    let keep = pool.keep();
    if !is_real(&keep, Path::new("")) {
        return Ok(());
    }
    let top = open_top(root).map_err(Error::system("can not open", root))?;
    remove_foreign(&keep, &top, root)?;
    for file in files_below(&keep) {
        put(&keep.join(&file), &top, &file).map_err(Error::system("can not keep", &file))?;
    }
    Ok(())
}

/// What the model has and this machine has not, and must not have: the model's host keys, should it have published them,
/// with which no clone may speak, and encrypted disks, for which a clone would wait.
fn remove_foreign(keep: &Path, top: &OwnedFd, root: &Path) -> Result<()> {
    let keys = list(&root.join(HOST_KEYS)).unwrap_or_default().into_iter();
    let keys = keys
        .filter_map(|path| Some(Path::new(HOST_KEYS).join(path.file_name()?)))
        .filter(|file| is_host_key(file));
    for file in keys.chain([PathBuf::from(CRYPTTAB)]) {
        let is_there = fs::symlink_metadata(root.join(&file)).is_ok();
        if is_there && !keep.join(&file).exists() {
            let remove = || -> io::Result<()> {
                let folder = open_folder(top, file.parent().unwrap_or(&file))?;
                Ok(rustix::fs::unlinkat(
                    &folder,
                    file.file_name().unwrap_or_default(),
                    AtFlags::empty(),
                )?)
            };
            remove().map_err(Error::system("can not remove", &root.join(&file)))?;
        }
    }
    Ok(())
}

fn open_top(root: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        root,
        OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn open_folder(top: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(rustix::fs::openat2(
        top,
        path,
        flags,
        Mode::empty(),
        resolve,
    )?)
}

/// Writes a copy of `from` at `file` below `top`. Where the model lacks the folder, there is nothing to keep the file for.
fn put(from: &Path, top: &OwnedFd, file: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else {
        return Ok(());
    };
    let folder = match open_folder(top, parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let before = rustix::fs::fstat(&folder)?;
    match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
        Err(rustix::io::Errno::NOENT) => {}
        removed => removed?,
    }
    let metadata = fs::metadata(from)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut new = File::from(rustix::fs::openat(
        &folder,
        name,
        flags,
        Mode::from_bits_truncate(0o600),
    )?);
    new.write_all(&fs::read(from)?)?;
    fchown(&new, Some(metadata.uid()), Some(metadata.gid()))?;
    new.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    new.set_modified(metadata.modified()?)?;
    let time = |sec: i64, nsec| Timespec {
        tv_sec: sec,
        tv_nsec: nsec,
    };
    Ok(rustix::fs::futimens(
        &folder,
        &Timestamps {
            last_access: time(before.st_atime, before.st_atime_nsec as _),
            last_modification: time(before.st_mtime, before.st_mtime_nsec as _),
        },
    )?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_a_power_cut_left_unwritten_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::create(folder.path()).unwrap();
        fs::create_dir_all(pool.sessions()).unwrap();
        let session = Session::open(&pool.sessions().join("1")).unwrap();
        let name = "etc/hostname";
        for root in [pool.keep(), session.upper()] {
            fs::create_dir_all(root.join("etc")).unwrap();
        }
        fs::write(pool.keep().join(name), "old\n").unwrap();
        for (written, kept) in [("", "old\n"), ("\0\0\0\0", "old\n"), ("new\n", "new\n")] {
            fs::write(session.upper().join(name), written).unwrap();
            save(&pool, &session).unwrap();
            let found = fs::read_to_string(pool.keep().join(name)).unwrap();
            assert_eq!(found, kept, "{written:?}");
        }
    }
}
