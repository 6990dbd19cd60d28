//! Compares two trees by what the kernel says about them, path by path; it shares no code with what is tested.
#![allow(dead_code)] // Each test program needs a part of it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What `lstat`, `readlink`, `getxattr` and `read` say about one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub device: u64,
    pub mtime: (i64, i64),
    pub links: u64,
    /// The first path, in order, of the same inode.
    pub first_name: PathBuf,
    pub target: Option<PathBuf>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub content: Option<u64>,
}

/// Everything below `root`, the top as the empty path. `/lost+found` of the file system is left out.
pub fn look(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut paths = vec![PathBuf::new()];
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        at += 1;
        if fs::symlink_metadata(root.join(&path)).unwrap().is_dir() {
            let entries = fs::read_dir(root.join(&path)).unwrap();
            let names: Vec<OsString> = entries.map(|entry| entry.unwrap().file_name()).collect();
            let below = names.into_iter().map(|name| path.join(name));
            paths.extend(below.filter(|path| path != Path::new("lost+found")));
        }
    }
    paths.sort();
    let mut inodes = HashMap::new();
    let mut seen = BTreeMap::new();
    for path in paths {
        let found = see(&root.join(&path), &path, &mut inodes);
        seen.insert(path, found);
    }
    seen
}

fn see(full: &Path, path: &Path, inodes: &mut HashMap<(u64, u64), PathBuf>) -> Seen {
    let it = fs::symlink_metadata(full).unwrap();
    let kind = it.file_type();
    let first = inodes
        .entry((it.dev(), it.ino()))
        .or_insert_with(|| path.into());
    let device = kind.is_block_device() || kind.is_char_device();
    Seen {
        mode: it.mode(),
        uid: it.uid(),
        gid: it.gid(),
        // The size of a folder is its file system's own affair.
        size: if it.is_dir() { 0 } else { it.size() },
        device: if device { it.rdev() } else { 0 },
        mtime: (it.mtime(), it.mtime_nsec()),
        // EROFS and ext4 count the links of large folders differently.
        links: if it.is_dir() { 0 } else { it.nlink() },
        first_name: if it.is_dir() {
            PathBuf::new()
        } else {
            first.clone()
        },
        target: kind.is_symlink().then(|| fs::read_link(full).unwrap()),
        xattrs: xattrs(full),
        content: it.is_file().then(|| content(full, &it)),
    }
}

/// The xattrs of one path, not of what a link leads to.
pub fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let names = grown(&mut |room| rustix::fs::llistxattr(path, room));
    let names = names.split(|byte| *byte == 0);
    names
        .filter(|name| !name.is_empty())
        .map(|name| {
            let value = grown(&mut |room| rustix::fs::lgetxattr(path, name, room));
            (name.to_owned(), value)
        })
        .collect()
}

/// What is read into as much room as it needs, which the kernel makes and clears, too.
fn grown(read: &mut dyn FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> Vec<u8> {
    let mut room = vec![0; 512];
    loop {
        match read(&mut room) {
            Err(rustix::io::Errno::RANGE) => room.resize(room.len() * 2, 0),
            length => {
                room.truncate(length.unwrap());
                return room;
            }
        }
    }
}

/// A checksum of everything; of files over 1 GiB, which are sparse here, of every data segment and its place.
fn content(path: &Path, metadata: &Metadata) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    let longest = (metadata.size() as usize + 1).next_multiple_of(4096);
    let mut buffer = vec![0; longest.min(1 << 20)];
    let mut file = File::open(path).unwrap();
    let mut at = 0u64;
    loop {
        let count = file.read(&mut buffer).unwrap();
        if count == 0 {
            assert_eq!(at, metadata.size(), "{}", path.display());
            return sum;
        }
        for (place, block) in (at / 4096..).zip(buffer[..count].chunks(4096)) {
            if *block != [0; 4096][..block.len()] {
                sum =
                    (sum ^ place).wrapping_mul(0x100_0000_01b3) ^ xxhash_rust::xxh3::xxh3_64(block);
            }
        }
        at += count as u64;
    }
}

/// Every difference, a line each; empty where there is none.
pub fn differences(left: &BTreeMap<PathBuf, Seen>, right: &BTreeMap<PathBuf, Seen>) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, seen) in left {
        match right.get(path) {
            None => lines.push(format!("{}: missing", short(path))),
            Some(other) if other != seen => {
                lines.push(format!("{}: {seen:?} became {other:?}", short(path)));
            }
            Some(_) => {}
        }
    }
    let added = right.keys().filter(|path| !left.contains_key(*path));
    lines.extend(added.map(|path| format!("{}: added", short(path))));
    lines
}

fn short(path: &Path) -> String {
    let text = path.as_os_str().as_bytes().escape_ascii().to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
