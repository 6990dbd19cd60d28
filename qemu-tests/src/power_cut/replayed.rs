//! What the replay of a journal made of a disk, as far as any program can tell. Many cuts come to the same, for a journal
//! leaves out whatever it does not have the end of: those that do need one boot.

use std::collections::HashSet;
use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nix::sys::statvfs::statvfs;
use xxhash_rust::xxh3::Xxh3;

use super::tree_compare::xattrs;

/// Of one state: the steps that were done, and everything that is read of the file system.
pub type Replayed = (usize, u128);

/// The states from which a boot showed what it should.
#[derive(Default)]
pub struct Known(Mutex<HashSet<Replayed>>);

impl Known {
    /// Whether such a one was booted before.
    pub fn has(&self, state: &Replayed) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(state)
    }

    /// One was, and it was right.
    pub fn add(&self, state: Replayed) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(state);
    }
}

/// A checksum of every path below `root`, the top of a file system that nobody else uses: its name, what `lstat` says (inode and
/// all times but that of the last access among it), link target, xattrs and content; and of how much room there is.
pub fn read_all(root: &Path) -> io::Result<u128> {
    let mut sum = Xxh3::new();
    let room = statvfs(root)?;
    add(&mut sum, &[room.blocks_free(), room.files_free()]);
    add_tree(&mut sum, root)?;
    Ok(sum.digest128())
}

fn add_tree(sum: &mut Xxh3, root: &Path) -> io::Result<()> {
    add_metadata(sum, &fs::symlink_metadata(root)?);
    add_xattrs(sum, root);
    add_folder(sum, root, &mut vec![0; 1 << 16])
}

fn add_folder(sum: &mut Xxh3, folder: &Path, buffer: &mut [u8]) -> io::Result<()> {
    let mut entries: Vec<DirEntry> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(DirEntry::file_name);
    add(sum, &[entries.len() as u64]);
    for entry in entries {
        let (path, it) = (entry.path(), entry.metadata()?);
        add_bytes(sum, entry.file_name().as_bytes());
        add_metadata(sum, &it);
        add_xattrs(sum, &path);
        if it.is_dir() {
            add_folder(sum, &path, buffer)?;
        } else if it.is_symlink() {
            add_bytes(sum, fs::read_link(&path)?.as_os_str().as_bytes());
        } else if it.is_file() {
            add_content(sum, &path, buffer)?;
        }
    }
    Ok(())
}

fn add_metadata(sum: &mut Xxh3, it: &Metadata) {
    let ids = [it.ino(), it.nlink(), it.rdev(), it.size(), it.blocks()];
    add(sum, &ids);
    add(sum, &[it.mode(), it.uid(), it.gid()].map(u64::from));
    let times = [it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec()];
    add(sum, &times.map(i64::cast_unsigned));
}

fn add_xattrs(sum: &mut Xxh3, path: &Path) {
    let xattrs = xattrs(path);
    add(sum, &[xattrs.len() as u64]);
    for (name, value) in xattrs {
        add_bytes(sum, &name);
        add_bytes(sum, &value);
    }
}

/// Its length is in the metadata.
fn add_content(sum: &mut Xxh3, path: &Path, buffer: &mut [u8]) -> io::Result<()> {
    let mut file = File::open(path)?;
    loop {
        match file.read(buffer)? {
            0 => return Ok(()),
            length => sum.update(&buffer[..length]),
        }
    }
}

fn add(sum: &mut Xxh3, numbers: &[u64]) {
    numbers
        .iter()
        .for_each(|number| sum.update(&number.to_le_bytes()));
}

fn add_bytes(sum: &mut Xxh3, bytes: &[u8]) {
    add(sum, &[bytes.len() as u64]);
    sum.update(bytes);
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use rustix::fs::XattrFlags;

    use super::*;

    fn sum_of(add: impl Fn(&mut Xxh3) -> io::Result<()>) -> io::Result<u128> {
        let mut sum = Xxh3::new();
        add(&mut sum)?;
        Ok(sum.digest128())
    }

    #[test]
    fn every_byte_of_a_content_counts() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        let sum = |at: usize| {
            let mut content = vec![1; 200_000];
            content[at] = 2;
            fs::write(&path, content)?;
            sum_of(|sum| add_content(sum, &path, &mut [0; 4096]))
        };
        let sums = [sum(0)?, sum(100_000)?, sum(199_999)?];
        assert_eq!(sums.iter().collect::<HashSet<_>>().len(), sums.len());
        Ok(())
    }

    #[test]
    fn a_tree_that_is_another_to_any_reader_has_another_sum() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let mut sums = HashSet::new();
        let mut is_new = || -> io::Result<bool> {
            let sum = || sum_of(|sum| add_tree(sum, folder.path()));
            assert_eq!(sum()?, sum()?);
            Ok(sums.insert(sum()?))
        };
        assert!(is_new()?);
        fs::create_dir(path("folder"))?;
        assert!(is_new()?);
        fs::write(path("folder/file"), "one")?;
        assert!(is_new()?);
        fs::write(path("folder/file"), "two")?;
        assert!(is_new()?);
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_nanos(7);
        let file = File::options().append(true).open(path("folder/file"))?;
        file.set_modified(long_ago)?;
        assert!(is_new()?);
        fs::set_permissions(path("folder"), Permissions::from_mode(0o700))?;
        assert!(is_new()?);
        fs::rename(path("folder/file"), path("folder/another"))?;
        assert!(is_new()?);
        symlink("folder", path("link"))?;
        assert!(is_new()?);
        fs::hard_link(path("folder/another"), path("file"))?;
        assert!(is_new()?);
        for labelled in [path("folder"), folder.path().to_owned()] {
            rustix::fs::setxattr(labelled, "user.label", b"x", XattrFlags::empty())?;
            assert!(is_new()?);
        }
        Ok(())
    }
}
