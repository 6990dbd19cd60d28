//! Files and folders for root's eyes only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Makes a folder for root's eyes only, if it is not there. Its parent must exist.
pub fn make_dir(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::system("can not make the folder", path)(error))
        }
        _ => Ok(()),
    }
}

/// Makes a folder and its parents, if they are not there. Old generations and the plain system lie below it, with programs that carry rights:
/// nobody but root gets in.
pub fn make_private_dir(path: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.map_err(Error::system("can not make the folder", path))
}

/// Makes a folder as [`make_dir`] does. Anything else at its place goes, so that a symbolic link does not lead elsewhere.
pub fn make_own_dir(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|it| !it.is_dir()) {
        remove_any(path)?;
    }
    make_dir(path)
}

/// Makes a new file for root's eyes only. Whatever was at its place goes; no symbolic link is followed.
pub fn create_new(path: &Path) -> io::Result<File> {
    let open = || {
        let mut options = OpenOptions::new();
        options.create_new(true).write(true).mode(0o600).open(path)
    };
    match open() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::symlink_metadata(path)?.is_dir() {
                true => fs::remove_dir_all(path)?,
                false => fs::remove_file(path)?,
            }
            open()
        }
        opened => opened,
    }
}

/// Replaces a small file, for root's eyes only, by one rename. When this returns the new one is on disk; until then the old one is.
pub fn replace(path: &Path, content: &str) -> Result<()> {
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = create_new(&new)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(path.parent().unwrap_or(path))?.sync_all()
    };
    write().map_err(Error::system("can not write", path))
}

/// The paths of all that is in a folder, in no order.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let read =
        fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    read.map_err(Error::system("can not list", folder))
}

/// Removes a folder with all that is in it, or whatever else has this name.
pub fn remove_any(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path).is_ok_and(|it| it.is_dir()) {
        true => remove_dir(path),
        false => fs::remove_file(path).map_err(Error::system("can not remove", path)),
    }
}

/// Removes a folder with all that is in it, if it is there.
pub fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::system("can not remove", path)(error))
        }
        _ => Ok(()),
    }
}
