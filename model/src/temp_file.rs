//! Files that appear under their final name only when they are whole and on disk.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};

/// Published files are for everyone who may reach the store.
const PUBLIC_FILE: u32 = 0o644;

/// A file under a temporary name; removed unless persisted.
#[derive(Debug)]
pub struct TempFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl TempFile {
    /// A new, empty file at `path`, for its owner alone.
    pub fn create(path: PathBuf) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .context("create", &path)?;
        Ok(Self {
            path,
            file,
            kept: false,
        })
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).context("write", &self.path)
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its temporary name, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its final name. It and its name are durable when this returns.
    pub fn persist(mut self, target: &Path) -> Result<()> {
        self.file
            .set_permissions(Permissions::from_mode(PUBLIC_FILE))
            .context("set the mode of", &self.path)?;
        self.file.sync_all().context("sync", &self.path)?;
        fs::rename(&self.path, target).context("create", target)?;
        self.kept = true;
        match target.parent() {
            Some(folder) => sync_folder(folder),
            None => Ok(()),
        }
    }

    /// Gives the file its final name without syncing: for what may be lost.
    pub fn persist_unsynced(mut self, target: &Path) -> Result<()> {
        fs::rename(&self.path, target).context("create", target)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.kept {
            // What stays behind is removed by the next command that locks the store.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes durable which names are in a folder.
pub fn sync_folder(path: &Path) -> Result<()> {
    let folder = File::open(path).context("open", path)?;
    folder.sync_all().context("sync", path)
}
