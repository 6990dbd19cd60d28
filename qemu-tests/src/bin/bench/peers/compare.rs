//! Whether a client has the model's tree: every path with its attributes and a digest of its content.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// One path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    mode: u32,
    owner: (u32, u32),
    size: u64,
    time: (i64, i64),
    /// Of content or link target, and of the xattrs.
    digests: (u128, u128),
}

impl Node {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    /// In bytes; 0 for a folder.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// A tree by its paths, relative to the top. The top is not in it: it is nobody's file.
pub type Nodes = BTreeMap<PathBuf, Node>;

/// Reads a whole tree.
pub fn read(top: &Path) -> io::Result<Nodes> {
    let mut nodes = Nodes::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let name = path.strip_prefix(top).expect("it is below the top");
            nodes.insert(name.to_owned(), node(&path, &metadata)?);
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(nodes)
}

fn node(path: &Path, metadata: &Metadata) -> io::Result<Node> {
    Ok(Node {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        // A folder's is the file system's business.
        size: if metadata.is_dir() {
            0
        } else {
            metadata.size()
        },
        time: (metadata.mtime(), metadata.mtime_nsec()),
        digests: (content(path, metadata)?, xattrs(path)?),
    })
}

/// The digest of a file's content or a link's target.
fn content(path: &Path, metadata: &Metadata) -> io::Result<u128> {
    let mut digest = Xxh3::new();
    if metadata.is_symlink() {
        digest.update(fs::read_link(path)?.as_os_str().as_bytes());
    } else if metadata.is_file() {
        let mut file = fs::File::open(path)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => digest.update(&buffer[..length]),
            }
        }
    }
    Ok(digest.digest128())
}

fn xattrs(path: &Path) -> io::Result<u128> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..])?;
    let mut names: Vec<_> = names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    let mut digest = Xxh3::new();
    for name in names {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        digest.update(name);
        digest.update(&value[..length]);
    }
    Ok(digest.digest128())
}

/// What differs, a line a path, but not times unless `times`; empty: nothing.
pub fn differences(model: &Nodes, client: &Nodes, times: bool) -> Vec<String> {
    let same = |a: &Node, b: &Node| {
        let b = match times {
            true => b.clone(),
            false => Node {
                time: a.time,
                ..b.clone()
            },
        };
        *a == b
    };
    let mut lines = Vec::new();
    for (path, node) in model {
        match client.get(path) {
            None => lines.push(format!("{} is missing", path.display())),
            Some(other) if !same(node, other) => {
                lines.push(format!("{}: {node:?} became {other:?}", path.display()));
            }
            Some(_) => {}
        }
    }
    let more = client.keys().filter(|path| !model.contains_key(*path));
    lines.extend(more.map(|path| format!("{} is too much", path.display())));
    lines
}

/// Gives the client's files the model's content where all else is the same; which those are.
pub fn take_unseen(model: &Nodes, client: &mut Nodes) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for (path, node) in client.iter_mut().filter(|(_, node)| node.is_file()) {
        let Some(wanted) = model.get(path) else {
            continue;
        };
        let seen = node.digests;
        node.digests.0 = wanted.digests.0;
        if node == wanted && node.digests != seen {
            paths.push(path.clone());
        } else {
            node.digests = seen;
        }
    }
    paths
}

/// Changes this many files, spread over the tree, as programs do: a new file takes the old one's place.
pub fn drift(top: &Path, model: &Nodes, files: usize) -> io::Result<()> {
    let mut paths: Vec<_> = model.iter().filter(|(_, node)| node.is_file()).collect();
    // Large files would measure copying.
    paths.retain(|(_, node)| node.size < 64 << 10);
    let step = (paths.len() / files).max(1);
    for (path, _) in paths.into_iter().step_by(step).take(files) {
        let path = top.join(path);
        let mut content = fs::read(&path)?;
        content.extend_from_slice(b"drift\n");
        let mut new = OsString::from(&path);
        new.push(".new");
        fs::write(&new, content)?;
        fs::set_permissions(&new, fs::metadata(&path)?.permissions())?;
        fs::rename(new, path)?;
    }
    Ok(())
}

/// The contents of `new` that `old` has nowhere: a path for each; and the path whose older content lies nearest: the same, or
/// the same but for numbers.
pub fn new_contents(old: &Nodes, new: &Nodes) -> Vec<(PathBuf, Option<PathBuf>)> {
    let has_content = |node: &Node| node.is_file() && node.size > 0;
    let mut known: std::collections::HashSet<_> = old.values().map(|node| node.digests.0).collect();
    let by_name: BTreeMap<_, _> = old
        .iter()
        .filter(|(_, node)| has_content(node))
        .map(|(path, _)| (without_numbers(path), path))
        .collect();
    let mut found = Vec::new();
    for (path, node) in new {
        if !has_content(node) || !known.insert(node.digests.0) {
            continue;
        }
        let same = old
            .get_key_value(path)
            .filter(|(_, node)| has_content(node));
        let base = same.map(|(path, _)| path);
        let base = base.or_else(|| by_name.get(&without_numbers(path)).copied());
        found.push((path.clone(), base.cloned()));
    }
    found
}

fn without_numbers(path: &Path) -> Vec<u8> {
    let mut name = path.as_os_str().as_bytes().to_vec();
    name.retain(|byte| !byte.is_ascii_digit());
    name
}
