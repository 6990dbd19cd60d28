//! Trees of nothing but entries; the real ones are built by `qemu-tests/upgrade`.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A tree and what is in it.
pub struct Tree {
    pub path: PathBuf,
    pub entries: usize,
    pub bytes: u64,
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tree {
            path,
            entries,
            bytes,
        } = self;
        write!(
            f,
            "{}: {entries} entries, {:.2} GB",
            path.display(),
            *bytes as f64 / 1e9
        )
    }
}

/// Removes a folder, if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A tree of small files, a hundred to a folder, no two alike.
pub fn small_files(target: &Path, entries: usize) -> io::Result<Tree> {
    if !target.exists() {
        let new = target.with_extension("new");
        let _ = fs::remove_dir_all(&new);
        for number in 0..entries {
            let folder = new.join(format!("folder-{}", number / 100));
            if number % 100 == 0 {
                fs::create_dir_all(&folder)?;
            }
            fs::write(
                folder.join(format!("file-{number}")),
                format!("content {number}\n"),
            )?;
        }
        fs::rename(&new, target)?;
    }
    count(target)
}

fn count(path: &Path) -> io::Result<Tree> {
    let mut tree = Tree {
        path: path.to_owned(),
        entries: 1,
        bytes: 0,
    };
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            tree.entries += 1;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() {
                tree.bytes += metadata.size();
            }
        }
    }
    Ok(tree)
}
