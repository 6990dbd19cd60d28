//! A tree as it should be: every path below one top, and where the contents of its files are. It comes from a generation's
//! manifest, or from a folder that shows it.

mod folder;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use reclone_format::tree_path::compare_directories;
use reclone_format::{Entry, Error as FormatError, Kind, ObjectId, TreePath};

use crate::error::{Error, Result};
use crate::manifest::read_manifest;
use crate::pool::Pool;

/// One path.
#[derive(Clone, Debug)]
pub struct Node {
    /// All about it, under its path in the whole tree. One more name of a file is told like the first.
    pub entry: Entry,
    /// Those of its nodes that are in this folder, by name.
    pub children: Range<usize>,
    /// The first node of those that are names of one file, where there are several.
    pub group: Option<usize>,
}

/// Where the contents are.
#[derive(Clone, Debug)]
pub enum Contents {
    /// Objects of this pool; each is checked as it is read.
    Pool(Pool),
    /// Files below this folder, the top of the whole tree.
    Folder(PathBuf),
}

/// A tree. Its first node is the top; a folder comes before what is in it.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// The names of each file that has several in this tree.
    names: HashMap<usize, u64>,
    contents: Contents,
}

impl Tree {
    /// What is at `top` in a generation of the pool, and below; nothing where the generation has no such path. Reads the manifest as
    /// far as it has to.
    pub fn of_generation(pool: &Pool, number: u64, top: &TreePath) -> Result<Option<Self>> {
        let path = pool.manifest(number);
        let damaged = |error: FormatError| Error::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        };
        let mut part = Part::new(top);
        for item in read_manifest(&path)? {
            let item = item.map_err(damaged)?;
            if !part.take(item.ordinal, item.parent, item.entry) {
                break;
            }
        }
        if let Some(last) = part.outside.iter().map(|(_, to)| *to).max() {
            for item in read_manifest(&path)?.take(last as usize + 1) {
                let item = item.map_err(damaged)?;
                part.resolve(item.ordinal, &item.entry);
            }
        }
        let contents = Contents::Pool(pool.clone());
        Ok((!part.nodes.is_empty()).then(|| Self::new(part.nodes, contents)))
    }

    fn new(nodes: Vec<Node>, contents: Contents) -> Self {
        let mut names = HashMap::new();
        for first in nodes.iter().filter_map(|node| node.group) {
            *names.entry(first).or_default() += 1;
        }
        Self {
            nodes,
            names,
            contents,
        }
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Where the whole tree has this one.
    pub fn top(&self) -> &TreePath {
        &self.nodes[0].entry.path
    }

    /// How many names a node's file has in this tree.
    pub fn names(&self, at: usize) -> u64 {
        let first = self.nodes[at].group;
        first.map_or(1, |first| self.names[&first])
    }

    /// The node of this name in a folder.
    pub fn child(&self, folder: usize, name: &[u8]) -> Option<usize> {
        let children = self.nodes[folder].children.clone();
        let found =
            self.nodes[children.clone()].binary_search_by(|node| node.entry.path.name().cmp(name));
        found.ok().map(|at| children.start + at)
    }

    /// The node of a path.
    pub fn find(&self, path: &TreePath) -> Option<usize> {
        if path == self.top() {
            return Some(0);
        }
        let names = path.as_bytes().strip_prefix(self.top().as_bytes())?;
        let names = names.split(|byte| *byte == b'/');
        let mut names = names.filter(|name| !name.is_empty());
        names.try_fold(0, |at, name| self.child(at, name))
    }

    /// The path of a node relative to another above it.
    pub fn relative(&self, at: usize, above: usize) -> &[u8] {
        let (path, above) = (&self.nodes[at].entry.path, &self.nodes[above].entry.path);
        let rest = &path.as_bytes()[above.as_bytes().len()..];
        rest.strip_prefix(b"/").unwrap_or(rest)
    }

    /// Where a regular file's content is.
    pub fn source(&self, at: usize) -> PathBuf {
        let entry = &self.nodes[at].entry;
        match (&self.contents, &entry.kind) {
            (Contents::Pool(pool), Kind::Regular { id, .. }) => pool.object(id),
            (Contents::Pool(pool), _) => pool.objects(),
            (Contents::Folder(folder), _) => folder.join(entry.path.as_path()),
        }
    }

    /// Opens a regular file's content; with the id that it must have, where that is known.
    pub fn open(&self, at: usize) -> Result<(File, Option<ObjectId>)> {
        let path = self.source(at);
        let id = match (&self.contents, &self.nodes[at].entry.kind) {
            (Contents::Pool(_), Kind::Regular { id, .. }) => Some(*id),
            _ => None,
        };
        match File::open(&path) {
            Ok(file) => Ok((file, id)),
            Err(error) if id.is_some() && error.kind() == io::ErrorKind::NotFound => {
                let reason = "it is missing".into();
                Err(Error::Damaged { path, reason })
            }
            Err(error) => Err(Error::system("can not open", &path)(error)),
        }
    }
}

/// The part of a manifest that is at a top and below it.
struct Part<'a> {
    top: &'a TreePath,
    nodes: Vec<Node>,
    top_ordinal: u32,
    /// The ordinal of the first node behind the top. All below the top stand together.
    first: Option<u32>,
    /// Nodes that are names of a file whose first name, of this ordinal, is not in this part.
    outside: Vec<(usize, u32)>,
}

impl<'a> Part<'a> {
    fn new(top: &'a TreePath) -> Self {
        Self {
            top,
            nodes: Vec::new(),
            top_ordinal: 0,
            first: None,
            outside: Vec::new(),
        }
    }

    /// Takes the next entry, if it belongs here. Says no when no more can come.
    fn take(&mut self, ordinal: u32, parent: u32, entry: Entry) -> bool {
        if self.nodes.is_empty() {
            if entry.path != *self.top {
                return entry.path < *self.top;
            }
            self.top_ordinal = ordinal;
            let is_folder = entry.kind == Kind::Directory;
            self.push(entry);
            return is_folder;
        }
        if !is_below(&entry.path, self.top) {
            return self.first.is_none()
                && compare_directories(entry.path.parent(), self.top.as_bytes()).is_le();
        }
        self.first.get_or_insert(ordinal);
        let at = self.push(entry);
        let folder = self.node_of(parent).unwrap_or(0);
        let children = &mut self.nodes[folder].children;
        if children.start == children.end {
            children.start = at;
        }
        children.end = at + 1;
        true
    }

    fn node_of(&self, ordinal: u32) -> Option<usize> {
        if ordinal == self.top_ordinal {
            return Some(0);
        }
        let behind = ordinal.checked_sub(self.first?)?;
        Some(behind as usize + 1)
    }

    fn push(&mut self, entry: Entry) -> usize {
        let at = self.nodes.len();
        let mut node = Node {
            entry,
            children: 0..0,
            group: None,
        };
        if let Kind::HardLink { to } = node.entry.kind {
            match self.node_of(to).filter(|first| *first < at) {
                Some(first) => {
                    self.nodes[first].group = Some(first);
                    node.group = Some(first);
                    node.entry = named(&self.nodes[first].entry, &node.entry.path);
                }
                None => self.outside.push((at, to)),
            }
        }
        self.nodes.push(node);
        at
    }

    /// Gives the names of the file that begins with this entry what it says.
    fn resolve(&mut self, ordinal: u32, first: &Entry) {
        let of_this = |(_, to): &&(usize, u32)| *to == ordinal;
        let names: Vec<usize> = self.outside.iter().filter(of_this).map(|it| it.0).collect();
        for at in &names {
            let node = &mut self.nodes[*at];
            node.entry = named(first, &node.entry.path);
            node.group = (names.len() > 1).then_some(names[0]);
        }
    }
}

/// The same file under another name.
fn named(file: &Entry, path: &TreePath) -> Entry {
    Entry {
        path: path.clone(),
        ..file.clone()
    }
}

/// Whether a path is below another.
pub fn is_below(path: &TreePath, top: &TreePath) -> bool {
    let rest = path.as_bytes().strip_prefix(top.as_bytes());
    match top.is_root() {
        true => !path.is_root(),
        false => rest.is_some_and(|rest| rest.starts_with(b"/")),
    }
}
