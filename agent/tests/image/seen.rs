//! What a tree looks like to a program: as system calls tell of a mounted one, and as its entries say it must.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use reclone_format::{Entry, Kind, ObjectId};

use crate::tree::Tree;

/// How much of a content is compared at its start and at its end.
const SAMPLE: u64 = 16_384;

/// One path, with all that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Seen {
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub links: u64,
    pub device: (u32, u32),
    /// Of files and symbolic links.
    pub size: u64,
    pub target: Vec<u8>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Start and end.
    pub content: Vec<u8>,
    /// The first path in byte order that is the same file.
    pub first: Vec<u8>,
}

pub type Paths = BTreeMap<Vec<u8>, Seen>;

/// Walks over the tree at `top`.
pub fn look(top: &Path) -> Paths {
    let mut paths = Paths::new();
    let mut inodes = HashMap::new();
    visit(top, Vec::new(), &mut paths, &mut inodes);
    let firsts: HashMap<_, _> = inodes.into_iter().flat_map(same).collect();
    for (path, seen) in &mut paths {
        seen.first = firsts[path].clone();
    }
    paths
}

fn same(group: ((u64, u64), Vec<Vec<u8>>)) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let first = group.1.iter().min().unwrap().clone();
    group.1.into_iter().map(move |path| (path, first.clone()))
}

fn visit(
    top: &Path,
    path: Vec<u8>,
    paths: &mut Paths,
    inodes: &mut HashMap<(u64, u64), Vec<Vec<u8>>>,
) {
    let full = top.join(OsStr::from_bytes(&path));
    let metadata = std::fs::symlink_metadata(&full).unwrap();
    if metadata.is_dir() {
        for entry in std::fs::read_dir(&full).unwrap() {
            let name = entry.unwrap().file_name().into_vec();
            let start = [&path[..], b"/"].concat();
            let start = if path.is_empty() { b"" } else { &start[..] };
            visit(top, [start, &name].concat(), paths, inodes);
        }
    }
    let inode = (metadata.dev(), metadata.ino());
    inodes.entry(inode).or_default().push(path.clone());
    let seen = stat(&full, &metadata);
    assert!(paths.insert(path, seen).is_none(), "listed twice");
}

fn stat(full: &Path, metadata: &Metadata) -> Seen {
    let kind = metadata.file_type();
    let mut seen = Seen {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        links: metadata.nlink(),
        device: (
            rustix::fs::major(metadata.rdev()),
            rustix::fs::minor(metadata.rdev()),
        ),
        xattrs: xattrs(full),
        ..Seen::default()
    };
    if !metadata.is_dir() {
        seen.size = metadata.size();
    }
    if kind.is_symlink() {
        seen.target = std::fs::read_link(full)
            .unwrap()
            .into_os_string()
            .into_vec();
    }
    if kind.is_file() {
        seen.content = content(full, metadata.size());
    }
    seen
}

fn content(full: &Path, size: u64) -> Vec<u8> {
    let mut file = File::open(full).unwrap();
    let mut sample = Vec::new();
    file.by_ref().take(SAMPLE).read_to_end(&mut sample).unwrap();
    let end = size.saturating_sub(SAMPLE).max(sample.len() as u64);
    file.seek(SeekFrom::Start(end)).unwrap();
    file.read_to_end(&mut sample).unwrap();
    sample
}

fn xattrs(full: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 65_536];
    let length = rustix::fs::llistxattr(full, &mut list[..]).unwrap();
    let names = list[..length].split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    let pairs = names.map(|name| {
        let mut value = vec![0; 65_536];
        let length = rustix::fs::lgetxattr(full, OsStr::from_bytes(name), &mut value[..]);
        let length =
            length.unwrap_or_else(|e| panic!("{}: {}: {e}", full.display(), name.escape_ascii()));
        value.truncate(length);
        (String::from_utf8(name.to_owned()).unwrap(), value)
    });
    pairs.collect()
}

/// Which of the two trees is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The image itself.
    Image,
    /// The overlay over it.
    Clone,
}

/// What must be seen of `tree`.
pub fn expect(tree: &Tree, view: View) -> Paths {
    let first_name = |path: &[u8]| path.to_owned();
    let mut paths = Paths::new();
    for entry in &tree.entries {
        let path = first_name(entry.path.as_bytes());
        let seen = match entry.kind {
            Kind::HardLink { to } => paths[tree.entries[to as usize].path.as_bytes()].clone(),
            _ => one(tree, entry, view),
        };
        paths.insert(path, seen);
    }
    add_marks(tree, view, &mut paths);
    if view == View::Image {
        add_whiteouts(&mut paths);
    }
    group(tree, &mut paths);
    paths
}

fn one(tree: &Tree, entry: &Entry, view: View) -> Seen {
    let (kind, device) = match entry.kind {
        Kind::Directory => (0o040_000, (0, 0)),
        Kind::Regular { .. } | Kind::CharDevice { major: 0, minor: 0 } => (0o100_000, (0, 0)),
        Kind::Symlink { .. } => (0o120_000, (0, 0)),
        Kind::CharDevice { major, minor } => (0o020_000, (major, minor)),
        Kind::BlockDevice { major, minor } => (0o060_000, (major, minor)),
        Kind::Fifo => (0o010_000, (0, 0)),
        Kind::Socket => (0o140_000, (0, 0)),
        Kind::HardLink { .. } => unreachable!(),
    };
    let mut seen = Seen {
        mode: kind | u32::from(entry.perm),
        owner: (entry.uid, entry.gid),
        mtime: (entry.mtime.sec, entry.mtime.nsec.into()),
        device,
        ..Seen::default()
    };
    if let Kind::Symlink { target } = &entry.kind {
        seen.size = target.len() as u64;
        seen.target = target.clone();
    }
    for xattr in &entry.xattrs {
        let name = String::from_utf8(xattr.name.clone()).unwrap();
        let unshowable = name.starts_with("btrfs.") || name == "trusted.overlay.";
        if unshowable || xattr.value.len() > 65_535 {
            continue;
        }
        seen.xattrs.insert(shown(&name, view), xattr.value.clone());
    }
    if let Some((id, size)) = entry.object() {
        seen.size = size;
        seen.content = sample(&tree.contents[&id], size);
        if view == View::Image {
            seen.content.fill(0);
            let redirect = object_path(&id);
            let redirect = ("trusted.overlay.redirect".into(), redirect.into_bytes());
            let metacopy = ("trusted.overlay.metacopy".into(), vec![]);
            seen.xattrs.extend([redirect, metacopy]);
        }
    }
    seen
}

fn shown(name: &str, view: View) -> String {
    match name.strip_prefix("trusted.overlay.") {
        Some(rest) if view == View::Image => format!("trusted.overlay.overlay.{rest}"),
        _ => name.to_owned(),
    }
}

/// The object's place below the pool's folder of objects, with a slash before it.
pub fn object_path(id: &ObjectId) -> String {
    let hex = id.to_string();
    format!("/{}/{}", &hex[..2], &hex[2..])
}

fn sample(start: &[u8], size: u64) -> Vec<u8> {
    assert!(start.len() as u64 <= SAMPLE);
    let mut sample = start.to_owned();
    sample.resize(size.min(2 * SAMPLE) as usize, 0);
    sample
}

/// What the image says to an overlay, of this level or of an inner one.
fn add_marks(tree: &Tree, view: View, paths: &mut Paths) {
    let is_whiteout = |entry: &Entry| entry.kind == Kind::CharDevice { major: 0, minor: 0 };
    for entry in &tree.entries {
        let own = match entry.kind {
            Kind::HardLink { to } => &tree.entries[to as usize],
            _ => entry,
        };
        let path = entry.path.as_bytes();
        if is_whiteout(own) {
            let mark = shown("trusted.overlay.whiteout", view);
            let seen = paths.get_mut(path).unwrap();
            seen.xattrs.insert(mark, vec![]);
            let mark = shown("trusted.overlay.opaque", view);
            let parent = paths.get_mut(entry.path.parent()).unwrap();
            parent.xattrs.entry(mark).or_insert(b"x".into());
        }
        if view == View::Image && entry.kind == Kind::Directory && is_object_folder(path) {
            let mark = ("trusted.overlay.opaque".to_owned(), b"y".to_vec());
            paths.get_mut(path).unwrap().xattrs.extend([mark]);
        }
    }
}

fn is_object_folder(path: &[u8]) -> bool {
    (0..256).any(|number| format!("{number:02x}").as_bytes() == path)
}

fn add_whiteouts(paths: &mut Paths) {
    for number in 0..256 {
        let whiteout = Seen {
            mode: 0o020_000,
            ..Seen::default()
        };
        let name = format!("{number:02x}").into_bytes();
        paths.entry(name).or_insert(whiteout);
    }
}

/// Counts links, and says which paths are one file.
fn group(tree: &Tree, paths: &mut Paths) {
    let mut firsts: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
    for entry in &tree.entries {
        let of = match entry.kind {
            Kind::HardLink { to } => &tree.entries[to as usize].path,
            _ => &entry.path,
        };
        let names = firsts.entry(of.as_bytes().into()).or_default();
        names.push(entry.path.as_bytes().into());
    }
    let known = |path: &&Vec<u8>| firsts.values().any(|names| names.contains(path));
    if paths.len() > tree.entries.len() {
        let whiteouts = (0..256).map(|number| format!("{number:02x}").into_bytes());
        let whiteouts = whiteouts.filter(|path| !known(&path)).collect();
        firsts.insert(b"whiteouts".into(), whiteouts);
    }
    for names in firsts.into_values() {
        let first = names.iter().min().unwrap().clone();
        for name in &names {
            let seen = paths.get_mut(name).unwrap();
            seen.first = first.clone();
            seen.links = names.len() as u64;
        }
    }
    for entry in tree.entries.iter().filter(|e| e.kind == Kind::Directory) {
        let path = entry.path.as_bytes();
        paths.get_mut(path).unwrap().links += 1;
        if !path.is_empty() {
            paths.get_mut(entry.path.parent()).unwrap().links += 1;
        }
    }
}

/// Panics at the first difference, with the path.
pub fn compare(found: &Paths, expected: &Paths, what: &str) {
    let shown = |path: &Vec<u8>| path.escape_ascii().to_string();
    for (path, seen) in expected {
        let Some(found) = found.get(path) else {
            panic!("{what}: /{} is missing", shown(path));
        };
        assert!(
            found == seen,
            "{what}: /{}\n{}",
            shown(path),
            difference(found, seen)
        );
    }
    for path in found.keys() {
        assert!(
            expected.contains_key(path),
            "{what}: /{} is too much",
            shown(path)
        );
    }
}

fn difference(found: &Seen, expected: &Seen) -> String {
    let short = |seen: &Seen| {
        let mut seen = seen.clone();
        seen.content.truncate(40);
        seen.xattrs
            .values_mut()
            .for_each(|value| value.truncate(40));
        format!("{seen:?}")
    };
    format!("found    {}\nexpected {}", short(found), short(expected))
}
