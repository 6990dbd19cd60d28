//! A folder of disks and stores, which are large: it goes with what it was made for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use crate::image::project;

/// A folder that is removed in the end, unless a test fails or [`Folder::keep`] was called.
pub struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    /// Makes `target/qemu/<name>` an empty folder.
    pub fn create(name: &str) -> io::Result<Folder> {
        let path = project().join("target/qemu").join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(Folder { path, keep: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it for somebody to look at.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep && !thread::panicking() {
            // The next one of the name would do it too.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
