//! The folders that a clone keeps. Each is a real folder of the pool's file system, mounted where it belongs before the first process of the new
//! root starts: as fast and as safe as any other folder there, with room for containers, databases and swap files.
//!
//! A kept folder of the system that was installed on the clone becomes the pool's by one exchange of names, where both are on one file system:
//! nothing is copied, and a link leads from its old place to the new one, so that it is found without reclone, too.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use log::{info, warn};
use reclone_format::{Policy, Rule};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::matches::{governing, matches};
use crate::barrier::Barrier;
use crate::copy;
use crate::error::{Error, Result};
use crate::pool::{Pool, list, make_own_dir, remove_any};
use crate::sys::beneath::{is_real, open_folder, open_top, path_of};
use crate::sys::mount;

/// The longest name of a folder in the pool: that of any file.
const MAX_NAME: usize = 255;
/// What a copy leaves free on the disk, in bytes, or an eighth of what is free, if that is less: sessions need some.
const RESERVE: u64 = 64 << 20;

/// Gives the pool the folders that it lacks: of kept ones those of the system that was installed on the clone at `plain`, or an empty one with the
/// attributes of the model's; of seeded ones a copy of the model's at `root`. What fails is a warning: that folder is then the model's.
pub fn adopt(pool: &Pool, policy: &Policy, plain: &Path, root: &Path) {
    let kept = [plain, root].map(|top| named(policy, Rule::Keep, top));
    for path in kept.into_iter().flatten().collect::<BTreeSet<_>>() {
        warn_of(&path, keep(pool, plain, root, &path));
    }
    for path in named(policy, Rule::Seed, root) {
        warn_of(&path, seed(pool, root, &path));
    }
}

/// Mounts the pool's folders that the rules keep now at their places below `root`. What fails is a warning.
pub fn mount_all(pool: &Pool, policy: &Policy, root: &Path) {
    let mut names = match fs::symlink_metadata(pool.folders()).is_ok_and(|it| it.is_dir()) {
        true => list(&pool.folders()).unwrap_or_default(),
        false => Vec::new(),
    };
    names.sort();
    for home in names {
        let Some(path) = path_of_name(home.file_name().unwrap_or_default().as_bytes()) else {
            continue;
        };
        if is_real(&home, Path::new("")) && governing(policy, &path, true).is_some() {
            warn_of(&path, mount_one(&home, root, &path));
        }
    }
}

/// Puts the folders that were taken from the system at `plain` back to where they were, each by one exchange for the link that leads to it.
/// The pool's own ones stay. When this returns all of it is on disk.
pub fn give_back(pool: &Pool, plain: &Path) -> Result<()> {
    if !pool.folders().is_dir() {
        return Ok(());
    }
    for home in list(&pool.folders())? {
        let name = home.file_name().unwrap_or_default().as_bytes();
        let Some(path) = path_of_name(name) else {
            continue;
        };
        let place = plain.join(&path);
        let leads_here = fs::symlink_metadata(&place).is_ok_and(|it| it.is_symlink())
            && same(&fs::canonicalize(&place), &fs::canonicalize(&home));
        if leads_here {
            renameat_with(CWD, &place, CWD, &home, RenameFlags::EXCHANGE)
                .map_err(Error::system("can not put back", &place))?;
            info!("/{} is back", path.display());
        }
    }
    pool.sync(Barrier::Adopted)
}

fn same(one: &io::Result<PathBuf>, other: &io::Result<PathBuf>) -> bool {
    matches!((one, other), (Ok(one), Ok(other)) if one == other)
}

/// Where the pool has the folder, if its name is not too long for that.
pub fn home(pool: &Pool, path: &Path) -> Option<PathBuf> {
    let name = name_of(path.as_os_str().as_bytes());
    (name.len() <= MAX_NAME).then(|| pool.folders().join(OsString::from_vec(name)))
}

fn warn_of(path: &Path, outcome: Result<()>) {
    if let Err(error) = outcome {
        warn!("/{} is the model's this time: {error}", path.display());
    }
}

fn named(policy: &Policy, rule: Rule, top: &Path) -> impl Iterator<Item = PathBuf> {
    let found = matches(policy, rule, top).into_iter();
    found.filter(|it| it.is_folder).map(|it| it.path)
}

fn keep(pool: &Pool, plain: &Path, root: &Path, path: &Path) -> Result<()> {
    let Some(home) = free_home(pool, path)? else {
        return Ok(());
    };
    match is_real(plain, path) {
        true if exchange(pool, plain, path, &home)? => {
            info!("/{} is kept from now on", path.display());
            Ok(())
        }
        true => fill(pool, &plain.join(path), &home, path),
        false => {
            let from = root.join(path);
            install(pool, &home, |new| copy::node(&from, new))
        }
    }
}

fn seed(pool: &Pool, root: &Path, path: &Path) -> Result<()> {
    match free_home(pool, path)? {
        Some(home) => fill(pool, &root.join(path), &home, path),
        None => Ok(()),
    }
}

/// The place for a folder that the pool has not yet. A link is left of an adoption that the power cut short.
fn free_home(pool: &Pool, path: &Path) -> Result<Option<PathBuf>> {
    let Some(home) = home(pool, path) else {
        return Err(Error::Usage("its path is too long to be kept".into()));
    };
    make_own_dir(&pool.folders())?;
    match fs::symlink_metadata(&home) {
        Ok(it) if it.is_dir() => Ok(None),
        Ok(_) => remove_any(&home).map(|()| Some(home)),
        Err(_) => Ok(Some(home)),
    }
}

/// Exchanges the folder for a link to it, in one step; says no where the two are on different file systems.
fn exchange(pool: &Pool, plain: &Path, path: &Path, home: &Path) -> Result<bool> {
    let place = plain.join(path);
    let Ok(inside) = home.strip_prefix(plain) else {
        return Ok(false);
    };
    // Links lead there from the plain system; nothing else of the pool is for others than root.
    let failed = |error: io::Error| Error::system("can not adopt", &place)(error);
    open_way(pool).map_err(failed)?;
    let up = path.components().skip(1).map(|_| "..").collect::<PathBuf>();
    symlink(up.join(inside), home).map_err(failed)?;
    match renameat_with(CWD, &place, CWD, home, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::BUSY) => {
            remove_any(home)?;
            Ok(false)
        }
        Err(error) => Err(failed(error.into())),
    }
}

/// Lets everybody pass through the pool to its folders, and nowhere else.
fn open_way(pool: &Pool) -> io::Result<()> {
    for entry in fs::read_dir(pool.root())? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() && path != pool.folders() {
            fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        } else if metadata.is_file() {
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        }
    }
    for path in [pool.folders(), pool.root().into()] {
        fs::set_permissions(path, Permissions::from_mode(0o711))?;
    }
    Ok(())
}

/// Makes the pool's folder a copy of another, if the disk has room for that.
fn fill(pool: &Pool, from: &Path, home: &Path, path: &Path) -> Result<()> {
    let needed = copy::size(from).map_err(Error::system("can not read", from))?;
    let free = pool.free()?;
    let reserve = RESERVE.min(free / 8);
    if needed + reserve > free {
        return Err(Error::Full {
            path: from.into(),
            needed: (needed + reserve) >> 20,
            free: free >> 20,
        });
    }
    info!(
        "copying /{}, {} MiB, to keep it",
        path.display(),
        needed >> 20
    );
    install(pool, home, |new| copy::tree(from, new))
}

/// Has `make` make a folder, and gives it its name once it is on disk. When this returns it is there to stay.
fn install(pool: &Pool, home: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    let new = pool.folders().join("%new");
    if fs::symlink_metadata(&new).is_ok() {
        remove_any(&new)?;
    }
    let made = make(&new).map_err(Error::system("can not fill", &new));
    let installed = made.and_then(|()| {
        pool.sync(Barrier::Gathered)?;
        fs::rename(&new, home).map_err(Error::system("can not move", &new))?;
        pool.sync(Barrier::Adopted)
    });
    if installed.is_err() && fs::symlink_metadata(&new).is_ok() {
        remove_any(&new)?;
    }
    installed
}

/// Mounts a folder of the pool; where the model lacks the place, it is made.
fn mount_one(home: &Path, root: &Path, path: &Path) -> Result<()> {
    let at = root.join(path);
    let failed = |error: io::Error| Error::system("can not mount", &at)(error);
    let top = open_top(root).map_err(failed)?;
    let parent = path.parent().unwrap_or(Path::new(""));
    let folder = open_folder(&top, parent).map_err(failed)?;
    let place = path_of(&folder).join(path.file_name().unwrap_or_default());
    if fs::symlink_metadata(&place).is_err() {
        copy::node(home, &place).map_err(failed)?;
    }
    let open = open_folder(&top, path).map_err(failed)?;
    mount::bind(home, &path_of(&open)).map_err(|error| failed(error.into()))
}

/// A path as one name.
fn name_of(path: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(path.len());
    for &byte in path {
        match byte {
            b'/' => name.extend(b"%2f"),
            b'%' => name.extend(b"%25"),
            _ => name.push(byte),
        }
    }
    name
}

/// The path of a name; none for names that are none of ours.
fn path_of_name(name: &[u8]) -> Option<PathBuf> {
    let mut path = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, after) = match (first, tail) {
            (b'%', [b'2', b'f', after @ ..]) => (b'/', after),
            (b'%', [b'2', b'5', after @ ..]) => (b'%', after),
            (b'%', _) => return None,
            _ => (first, tail),
        };
        path.push(byte);
        rest = after;
    }
    Some(OsString::from_vec(path).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_name_in_the_pool() {
        for (path, name) in [
            ("home", "home"),
            ("var/lib/docker", "var%2flib%2fdocker"),
            ("a%2f/b", "a%252f%2fb"),
        ] {
            assert_eq!(name_of(path.as_bytes()), name.as_bytes());
            assert_eq!(path_of_name(name.as_bytes()).unwrap(), Path::new(path));
        }
        assert_eq!(path_of_name(b"%new"), None);
    }
}
