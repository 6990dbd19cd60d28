//! What other programs say about the image.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use composefs::erofs::reader::{Image, erofs_to_filesystem};
use composefs::fsverity::{FsVerityHashValue, Sha256HashValue};
use composefs::generic_tree::{Inode, LeafContent, Stat};
use composefs::tree::{Directory, FileSystem, RegularFile};

use reclone_format::{Entry, Kind};

use crate::tree::{Builder, Tree, everything, give};

/// Debian 12's erofs-utils 1.5 will do.
#[test]
fn fsck_finds_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    std::fs::write(&path, everything(true).image()).unwrap();
    let Ok(output) = Command::new("fsck.erofs").arg(&path).output() else {
        eprintln!("SKIPPED: there is no fsck.erofs");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{errors}");
}

/// Without whiteouts: composefs refuses hard links of them, and tells of them as the device they stand for.
#[test]
fn composefs_reads_the_same_tree() {
    compare(&everything(false));
}

#[test]
fn composefs_reads_the_same_tree_from_random_ones() {
    for seed in 1..=40 {
        compare(&random(seed));
    }
}

fn compare(tree: &Tree) {
    let image = tree.image();
    Image::open(&image)
        .unwrap()
        .restrict_to_composefs()
        .unwrap()
        .fsck_metadata()
        .unwrap();
    let found = erofs_to_filesystem::<Sha256HashValue>(&image).unwrap();
    let mut paths = BTreeMap::new();
    walk(&found, &found.root, &[], &mut paths);
    for entry in &tree.entries {
        let path = entry.path.as_bytes();
        let found = paths.remove(path);
        assert_eq!(found, Some(told(tree, entry)), "{}", entry.path);
    }
    assert_eq!(paths, BTreeMap::new());
}

/// A tree whose names, targets and xattrs have lengths of all sizes.
fn random(seed: u64) -> Tree {
    let mut state = seed;
    let mut below = |bound: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(seed * 2 + 1);
        (state >> 33) % bound
    };
    let mut tree = Builder::new();
    let mut folders = vec![String::new()];
    for number in 0..300 {
        let folder = &folders[below(folders.len() as u64) as usize];
        let name = "n".repeat(below(240) as usize);
        let path = format!("{folder}{number}{name}");
        if path.len() > 4000 {
            continue;
        }
        let entry = match below(4) {
            0 => {
                folders.push(format!("{path}/"));
                tree.directory(&path)
            }
            1 => tree.symlink(&path, &vec![b't'; 1 + below(4095) as usize]),
            2 => tree.file(&path, path.as_bytes()),
            _ => tree.add(&path, Kind::Fifo),
        };
        let value = vec![7; below(if number % 9 == 0 { 9000 } else { 60 }) as usize];
        match below(3) {
            0 => give(entry, &[("user.x", &value)]),
            1 => give(
                entry,
                &[("security.a", &value), ("trusted.overlay.b", b"1")],
            ),
            _ => {}
        }
    }
    tree.finish()
}

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;
/// What it is, permissions, owners, time and xattrs.
type Told = (String, u32, (u32, u32), (i64, u32), Xattrs);

fn walk(
    tree: &FileSystem<Sha256HashValue>,
    directory: &Directory<Sha256HashValue>,
    path: &[u8],
    paths: &mut BTreeMap<Vec<u8>, Told>,
) {
    let what = "directory".to_owned();
    paths.insert(path.to_owned(), with(&directory.stat, what));
    for (name, inode) in directory.entries() {
        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
        let path = [path, slash, name.as_bytes()].concat();
        match inode {
            Inode::Directory(inner) => walk(tree, inner, &path, paths),
            Inode::Leaf(id, ..) => {
                let leaf = tree.leaf(*id);
                paths.insert(path, with(&leaf.stat, content(&leaf.content)));
            }
        }
    }
}

fn with(stat: &Stat, what: String) -> Told {
    let xattrs = stat.xattrs.iter();
    (
        what,
        stat.st_mode,
        (stat.st_uid, stat.st_gid),
        (stat.st_mtim_sec, stat.st_mtim_nsec),
        xattrs
            .map(|(name, value)| (name.as_bytes().into(), value.to_vec()))
            .collect(),
    )
}

fn content(content: &LeafContent<RegularFile<Sha256HashValue>>) -> String {
    match content {
        LeafContent::Regular(RegularFile::ExternalNoVerity(id, size)) => {
            format!("file {} {size}", id.to_hex())
        }
        LeafContent::Regular(RegularFile::Inline(bytes)) if bytes.is_empty() => "empty".to_owned(),
        LeafContent::Regular(other) => format!("file of another kind: {other:?}"),
        LeafContent::Symlink(target) => format!("link {}", target.as_bytes().escape_ascii()),
        LeafContent::CharacterDevice(number) => format!("character device {number:x}"),
        LeafContent::BlockDevice(number) => format!("block device {number:x}"),
        LeafContent::Fifo => "fifo".to_owned(),
        LeafContent::Socket => "socket".to_owned(),
    }
}

fn told(tree: &Tree, entry: &Entry) -> Told {
    let number = |major: u32, minor: u32| (minor >> 8) << 20 | major << 8 | minor & 0xff;
    let what = match &entry.kind {
        Kind::HardLink { to } => return told(tree, &tree.entries[*to as usize]),
        Kind::Directory => "directory".to_owned(),
        Kind::Regular { size: 0, .. } => "empty".to_owned(),
        Kind::Regular { size, id } => format!("file {id} {size}"),
        Kind::Symlink { target } => format!("link {}", target.escape_ascii()),
        Kind::CharDevice { major, minor } => {
            format!("character device {:x}", number(*major, *minor))
        }
        Kind::BlockDevice { major, minor } => format!("block device {:x}", number(*major, *minor)),
        Kind::Fifo => "fifo".to_owned(),
        Kind::Socket => "socket".to_owned(),
    };
    let kept = entry.xattrs.iter().filter(|xattr| {
        // The last ones are composefs' own: it does not tell of them.
        let composefs = [&b"trusted.overlay.opaque"[..], b"user.overlay.opaque"];
        xattr.name != b"trusted.overlay."
            && !xattr.name.starts_with(b"btrfs.")
            && xattr.value.len() < 65_536
            && !composefs.contains(&&xattr.name[..])
    });
    (
        what,
        entry.perm.into(),
        (entry.uid, entry.gid),
        (entry.mtime.sec, entry.mtime.nsec),
        kept.map(|xattr| (xattr.name.clone(), xattr.value.clone()))
            .collect(),
    )
}
