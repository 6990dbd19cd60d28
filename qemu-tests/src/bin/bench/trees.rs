//! The trees that are measured: a copy of real files, and trees of nothing but entries.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
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

/// Copies files of `source` in the order of their names, until there are this many entries or bytes; the large files
/// that do not fit are passed over. A tree that is there already is taken as it is.
pub fn real(source: &Path, target: &Path, entries: usize, bytes: u64) -> io::Result<Tree> {
    if !target.exists() {
        let new = target.with_extension("new");
        let _ = fs::remove_dir_all(&new);
        let mut left = (entries, bytes);
        copy(source, &new, &mut left)?;
        fs::rename(&new, target)?;
    }
    count(target)
}

fn copy(source: &Path, target: &Path, left: &mut (usize, u64)) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let mut names: Vec<_> = fs::read_dir(source)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        let (from, to) = (source.join(&name), target.join(&name));
        let metadata = fs::symlink_metadata(&from)?;
        if left.0 == 0 || (metadata.is_file() && metadata.size() > left.1) {
            continue;
        }
        left.0 -= 1;
        if metadata.is_dir() {
            copy(&from, &to, left)?;
        } else if metadata.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if metadata.is_file() {
            left.1 -= metadata.size();
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
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
