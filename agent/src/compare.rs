//! What is there, held against a tree as it should be: a list of differences, on which others act. Changes nothing.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;

use reclone_format::{Entry, Kind, TreePath, Xattr};
use rustix::fs::{FileType, Statx};

use crate::error::{Error, Result};
use crate::place::{
    self, Place, is_double, is_mount_root, look, names, open_file, open_folder, xattrs,
};
use crate::running::Running;
use crate::stage::id_of;
use crate::tree::Tree;

/// An overlay's own marks, which no kernel before 6.7 shows or takes.
const OVERLAY_MARKS: &[u8] = b"trusted.overlay.";

/// How what is there differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is there and should not be.
    Added,
    /// It should be there and is not.
    Removed,
    /// It is something else, or has another content.
    Changed,
    /// Only mode, owner, time, xattrs or names of the same file are others.
    Attributes,
}

impl Change {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
            Change::Attributes => "attributes",
        }
    }
}

/// One path that differs. Of a folder that was added or removed, what is below is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path in the whole tree.
    pub path: TreePath,
    /// Its node in the tree, where it has one.
    pub node: Option<usize>,
    /// How.
    pub change: Change,
}

/// How to compare.
pub struct Options<'a> {
    /// Read every content, whatever its time says.
    pub checksum: bool,
    /// The assembled root that the place is in, if it is over the generation that the tree is of.
    pub running: Option<&'a Running>,
    /// Whether the place is in an overlay, which can not show everything.
    pub overlay: bool,
    /// Paths of the whole tree that are not to be looked at.
    pub is_spared: &'a dyn Fn(&TreePath) -> bool,
    /// Inode of a folder that is not to be looked at, wherever it is.
    pub spared_folder: Option<(u64, u64)>,
}

/// Every difference between the tree and what is at `place`, a folder before what is in it. What is mounted below is not
/// looked at. Without `checksum`, a content is taken for the right one where size and time are, except in an assembled root, where
/// it is known which files were written to: those are read.
pub fn compare(tree: &Tree, place: &Place, options: &Options) -> Result<Vec<Difference>> {
    let mut comparison = Comparison {
        tree,
        options,
        differences: Vec::new(),
        inodes: HashMap::new(),
        groups: HashMap::new(),
    };
    comparison
        .run(place)
        .map_err(Error::system("can not compare", &place.path))?;
    comparison.add_other_names();
    comparison.differences.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(comparison.differences)
}

struct Comparison<'a> {
    tree: &'a Tree,
    options: &'a Options<'a>,
    differences: Vec<Difference>,
    /// Which file of the tree each inode with several names is.
    inodes: HashMap<(u32, u32, u64), usize>,
    /// The inode of each file of the tree with several names.
    groups: HashMap<usize, (u32, u32, u64)>,
}

impl Comparison<'_> {
    fn run(&mut self, place: &Place) -> io::Result<()> {
        let trusted = self.options.running.is_some_and(|running| {
            let mut above = self.tree.top().parent().to_vec();
            let mut renamed = false;
            while !above.is_empty() && !renamed {
                let path = TreePath::from_bytes(above).unwrap_or_default();
                renamed = running.is_another(&path);
                above = path.parent().to_vec();
            }
            !renamed
        });
        let top = match look(&place.folder, &place.name)? {
            None => {
                self.note(0, Change::Removed);
                return Ok(());
            }
            Some(found) => found,
        };
        if !self.take(0, &top, &place.folder, &place.name, trusted)? {
            return Ok(());
        }
        let folder = open_folder(&place.folder, &place.name)?;
        let mut folders = vec![(0, trusted)];
        while let Some((at, trusted)) = folders.pop() {
            let opened = open_folder(&folder, self.tree.relative(at, 0))?;
            self.walk(at, &opened, trusted, &mut folders)?;
        }
        Ok(())
    }

    /// Compares what is in one folder.
    fn walk(
        &mut self,
        at: usize,
        folder: &OwnedFd,
        trusted: bool,
        folders: &mut Vec<(usize, bool)>,
    ) -> io::Result<()> {
        let path = self.tree.nodes()[at].entry.path.clone();
        let running = self.options.running.filter(|_| trusted);
        let running = running.filter(|it| !it.is_another(&path));
        let trusted = running.is_some();
        let running = running.filter(|_| !self.options.checksum);
        let changed = running.and_then(|it| it.changed_names(&path));
        let children = self.tree.nodes()[at].children.clone();
        let mut is_there = vec![changed.is_some(); children.len()];
        for name in changed.map_or_else(|| names(folder), Ok)? {
            let (child, found) = (self.tree.child(at, &name), look(folder, &name)?);
            if let Some(child) = child {
                is_there[child - children.start] = found.is_some();
            }
            let Some(found) = found else {
                continue;
            };
            let below = path.join(&name).map_err(io::Error::other)?;
            if is_mount_root(&found) || self.is_spared(&below, &found) {
                continue;
            }
            match child {
                None => self.differences.push(Difference {
                    path: below,
                    node: None,
                    change: Change::Added,
                }),
                Some(child) => {
                    if self.take(child, &found, folder, &name, trusted)? {
                        folders.push((child, trusted));
                    }
                }
            }
        }
        for (child, _) in children.zip(is_there).filter(|(_, is_there)| !is_there) {
            if !(self.options.is_spared)(&self.tree.nodes()[child].entry.path) {
                self.note(child, Change::Removed);
            }
        }
        Ok(())
    }

    fn is_spared(&self, path: &TreePath, found: &Statx) -> bool {
        let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
        (self.options.is_spared)(path)
            || self.options.spared_folder == Some((device, found.stx_ino))
    }

    fn note(&mut self, at: usize, change: Change) {
        self.differences.push(Difference {
            path: self.tree.nodes()[at].entry.path.clone(),
            node: Some(at),
            change,
        });
    }

    /// Compares one name with its node; says whether what is below has to be compared, too.
    fn take(
        &mut self,
        at: usize,
        found: &Statx,
        folder: &OwnedFd,
        name: &[u8],
        trusted: bool,
    ) -> io::Result<bool> {
        let entry = &self.tree.nodes()[at].entry;
        // No kernel shows a model's whiteouts as what they are.
        let is_whiteout = entry.kind == Kind::CharDevice { major: 0, minor: 0 };
        if self.options.overlay && is_whiteout {
            return Ok(false);
        }
        if !is_kind(&entry.kind, found) {
            self.note(at, Change::Changed);
            return Ok(false);
        }
        let is_folder = entry.kind == Kind::Directory;
        let running = self.options.running.filter(|_| trusted);
        let untouched = running.is_some_and(|running| running.is_untouched(entry, found));
        let mut change = match have_same_status(entry, found) {
            true => None,
            false => Some(Change::Attributes),
        };
        if !untouched {
            if change.is_none() && !self.has_same_xattrs(entry, folder, name)? {
                change = Some(Change::Attributes);
            }
            if !is_folder && !self.is_same_file(at, found) {
                change = Some(Change::Attributes);
            }
        }
        // A program can set a time, but not to what an untouched file has.
        let must_read = self.options.checksum
            || !untouched && (self.options.running.is_some() || place::mtime(found) != entry.mtime);
        if !is_folder && !has_same_content(entry, found, folder, name, must_read)? {
            change = Some(Change::Changed);
        }
        if let Some(change) = change {
            self.note(at, change);
        }
        let is_known = untouched && running.is_some_and(Running::speaks_for_all_below);
        Ok(is_folder && (!is_known || self.options.checksum))
    }

    fn has_same_xattrs(&self, entry: &Entry, folder: &OwnedFd, name: &[u8]) -> io::Result<bool> {
        let is_mark = |name: &[u8]| self.options.overlay && name.starts_with(OVERLAY_MARKS);
        let counts = |xattr: &&Xattr| !is_double(&xattr.name) && !is_mark(&xattr.name);
        let found = xattrs(folder, name)?;
        let found = found.iter().filter(counts);
        Ok(entry.xattrs.iter().filter(counts).eq(found))
    }

    /// Whether a name leads to the file that the tree's does: to one with the same other names and none besides.
    fn is_same_file(&mut self, at: usize, found: &Statx) -> bool {
        let group = self.tree.nodes()[at].group;
        if group.is_none() && found.stx_nlink == 1 {
            return true;
        }
        let inode = (found.stx_dev_major, found.stx_dev_minor, found.stx_ino);
        let first = group.unwrap_or(at);
        let same_names = u64::from(found.stx_nlink) == self.tree.names(at);
        same_names
            && *self.inodes.entry(inode).or_insert(first) == first
            && *self.groups.entry(first).or_insert(inode) == inode
    }

    /// Where one name of a file is made anew, all of its names are.
    fn add_other_names(&mut self) {
        let nodes = self.tree.nodes();
        let mut anew: Vec<usize> = Vec::new();
        let listed: HashSet<usize> = self.differences.iter().filter_map(|it| it.node).collect();
        let mut stack: Vec<usize> = Vec::new();
        for difference in &self.differences {
            let folder_stays = difference.change == Change::Attributes;
            match difference.node {
                Some(at) if folder_stays => anew.extend(nodes[at].group),
                Some(at) => stack.push(at),
                None => {}
            }
        }
        let mut below = HashSet::new();
        while let Some(at) = stack.pop() {
            anew.extend(nodes[at].group);
            below.insert(at);
            stack.extend(nodes[at].children.clone());
        }
        let anew: HashSet<usize> = anew.into_iter().collect();
        if anew.is_empty() {
            return;
        }
        for (at, node) in nodes.iter().enumerate() {
            let is_anew = node.group.is_some_and(|group| anew.contains(&group));
            if is_anew && !listed.contains(&at) && !below.contains(&at) {
                self.note(at, Change::Attributes);
            }
        }
    }
}

/// Every difference that `new` makes to `old`, where `None` is nothing at all: what is only in `new` is added.
pub fn trees(old: Option<&Tree>, new: Option<&Tree>) -> Vec<Difference> {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (None, Some(tree)) => return vec![whole(tree, Change::Added)],
        (Some(tree), None) => return vec![whole(tree, Change::Removed)],
        (None, None) => return Vec::new(),
    };
    let mut differences = Vec::new();
    let mut pairs = vec![(0, 0)];
    while let Some((left, right)) = pairs.pop() {
        let (before, after) = (&old.nodes()[left].entry, &new.nodes()[right].entry);
        let note = |at: usize, tree: &Tree, change| Difference {
            path: tree.nodes()[at].entry.path.clone(),
            node: None,
            change,
        };
        if before.kind != after.kind {
            differences.push(note(right, new, Change::Changed));
            continue;
        } else if before != after {
            differences.push(note(right, new, Change::Attributes));
        }
        let name = |tree: &Tree, at: usize| tree.nodes()[at].entry.path.name().to_owned();
        for child in old.nodes()[left].children.clone() {
            match new.child(right, &name(old, child)) {
                Some(other) => pairs.push((child, other)),
                None => differences.push(note(child, old, Change::Removed)),
            }
        }
        for child in new.nodes()[right].children.clone() {
            if old.child(left, &name(new, child)).is_none() {
                differences.push(note(child, new, Change::Added));
            }
        }
    }
    differences.sort_by(|a, b| a.path.cmp(&b.path));
    differences
}

fn whole(tree: &Tree, change: Change) -> Difference {
    Difference {
        path: tree.top().clone(),
        node: None,
        change,
    }
}

fn is_kind(kind: &Kind, found: &Statx) -> bool {
    let wanted = match kind {
        Kind::Directory => FileType::Directory,
        Kind::Regular { .. } | Kind::HardLink { .. } => FileType::RegularFile,
        Kind::Symlink { .. } => FileType::Symlink,
        Kind::CharDevice { .. } => FileType::CharacterDevice,
        Kind::BlockDevice { .. } => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
    };
    FileType::from_raw_mode(found.stx_mode.into()) == wanted
}

fn have_same_status(entry: &Entry, found: &Statx) -> bool {
    let is_link = matches!(entry.kind, Kind::Symlink { .. });
    (is_link || found.stx_mode & 0o7777 == entry.perm)
        && (found.stx_uid, found.stx_gid) == (entry.uid, entry.gid)
        && place::mtime(found) == entry.mtime
}

fn has_same_content(
    entry: &Entry,
    found: &Statx,
    folder: &OwnedFd,
    name: &[u8],
    must_read: bool,
) -> io::Result<bool> {
    Ok(match &entry.kind {
        Kind::Regular { size, id } => {
            found.stx_size == *size
                && (!must_read || *size == 0 || id_of(open_file(folder, name)?)? == *id)
        }
        Kind::Symlink { target } => {
            rustix::fs::readlinkat(folder, name, Vec::new())?.to_bytes() == &target[..]
        }
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            (found.stx_rdev_major, found.stx_rdev_minor) == (*major, *minor)
        }
        _ => true,
    })
}
