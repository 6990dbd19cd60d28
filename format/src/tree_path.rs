//! A path inside the tree, and the one order in which a manifest lists paths.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::{Error, Result};

/// The longest path, in bytes: what Linux accepts in one system call, less the final NUL.
pub const MAX_PATH: usize = 4095;
/// The longest name, in bytes.
pub const MAX_NAME: usize = 255;

/// A path relative to the top of the tree, as bytes. Never absolute, without empty, `.` or `..` parts and without NUL;
/// the top itself is the empty path. Such a path can not lead out of the tree.
#[derive(PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

impl Clone for TreePath {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }

    /// Keeps the memory: readers do this for each entry.
    fn clone_from(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }
}

impl TreePath {
    /// The top of the tree.
    pub const ROOT: TreePath = TreePath(Vec::new());

    /// Checks `bytes` and takes them.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::after(0, bytes)
    }

    /// The same, where the first `known` of them are the first of another path: whole names in these need no look.
    pub(crate) fn after(known: usize, bytes: Vec<u8>) -> Result<Self> {
        let known = bytes.get(..known).unwrap_or_default();
        let slash = known.iter().rposition(|byte| *byte == b'/');
        let new = &bytes[slash.map_or(0, |slash| slash + 1)..];
        let problem = if bytes.len() > MAX_PATH {
            Some("it is longer than 4095 bytes")
        } else if new.contains(&0) {
            Some("it contains a NUL byte")
        } else if bytes.is_empty() {
            None
        } else {
            new.split(|byte| *byte == b'/').find_map(|part| match part {
                b"" => Some("it has an empty part"),
                b"." | b".." => Some("it has a part `.` or `..`"),
                _ if part.len() > MAX_NAME => Some("it has a part of more than 255 bytes"),
                _ => None,
            })
        };
        match problem {
            None => Ok(Self(bytes)),
            Some(reason) => Err(Error::malformed(
                "path",
                format!("{}: {reason}", shortened(&bytes)),
            )),
        }
    }

    /// The path of `name` in this directory.
    pub fn join(&self, name: &[u8]) -> Result<Self> {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !self.is_root() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self::from_bytes(bytes)
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a path of the system, relative to the top.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Gives the bytes away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Whether this is the top of the tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that holds this path, as bytes; empty for names at the top and for the top itself.
    pub fn parent(&self) -> &[u8] {
        split(&self.0).0
    }

    /// The last part; empty for the top.
    pub fn name(&self) -> &[u8] {
        split(&self.0).1
    }

    /// The number of parts; 0 for the top.
    pub fn depth(&self) -> usize {
        if self.is_root() {
            0
        } else {
            1 + self.0.iter().filter(|byte| **byte == b'/').count()
        }
    }
}

/// For an error's one line: the first 80 bytes, escaped.
fn shortened(bytes: &[u8]) -> String {
    match bytes.get(..80) {
        Some(start) if bytes.len() > 80 => format!("{}...", start.escape_ascii()),
        _ => bytes.escape_ascii().to_string(),
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// The manifest's order: the top first; the children of one directory together, by name; directories depth first.
/// Parents are compared part by part, an ancestor before what lies below it; then names, byte by byte.
impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.is_root()
            .cmp(&other.is_root())
            .reverse()
            .then_with(|| {
                let ((parent, name), (other_parent, other_name)) =
                    (split(&self.0), split(&other.0));
                compare_directories(parent, other_parent).then_with(|| name.cmp(other_name))
            })
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of two directories: part by part, an ancestor first. `/` sorts below every other byte of a name here.
pub fn compare_directories(a: &[u8], b: &[u8]) -> Ordering {
    // Siblings mostly, and this is much faster.
    if a == b {
        return Ordering::Equal;
    }
    let rank = |byte: &u8| {
        if *byte == b'/' {
            0
        } else {
            u16::from(*byte) + 1
        }
    };
    a.iter().map(rank).cmp(b.iter().map(rank))
}

impl fmt::Display for TreePath {
    /// With a leading slash; bytes that are not printable ASCII or UTF-8 are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.chars().any(char::is_control) => write!(f, "/{text}"),
            _ => write!(f, "/{}", self.0.escape_ascii()),
        }
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::from_bytes(text.into()).unwrap()
    }

    #[test]
    fn paths_that_could_leave_the_tree_are_refused() {
        for bad in [
            "/etc",
            "a//b",
            "a/",
            ".",
            "..",
            "a/../b",
            "a/./b",
            "a\0b",
            &"x".repeat(256),
            &"a/".repeat(2048),
        ] {
            assert!(TreePath::from_bytes(bad.into()).is_err(), "{bad:?}");
        }
        for good in ["", "a", "...", "a/..b", ".hidden", &"x".repeat(255)] {
            assert!(TreePath::from_bytes(good.into()).is_ok(), "{good:?}");
        }
        // What begins as another path does is refused as well, wherever it goes on.
        for (known, bad) in [
            (1, "a/"),
            (2, "a/"),
            (2, "a//b"),
            (4, "a/bb/"),
            (4, "a/b./.."),
            (2, "a/.."),
            (3, "a/b\0"),
        ] {
            assert!(TreePath::after(known, bad.into()).is_err(), "{bad:?}");
        }
        assert_eq!(TreePath::after(3, "a/bc/d".into()).unwrap(), path("a/bc/d"));
    }

    #[test]
    fn siblings_stand_together_and_directories_go_depth_first() {
        let sorted = [
            "", "a", "a-b", "b", "a/x", "a/y", "a/x/1", "a/x/2", "a/y/1", "a-b/1", "b/1",
        ];
        let mut paths: Vec<TreePath> = sorted.iter().rev().map(|text| path(text)).collect();
        paths.sort();
        assert_eq!(
            paths,
            sorted.iter().map(|text| path(text)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_path_knows_its_parent_and_name() {
        assert_eq!(
            (
                path("a/b/c").parent(),
                path("a/b/c").name(),
                path("a/b/c").depth()
            ),
            (&b"a/b"[..], &b"c"[..], 3)
        );
        assert_eq!(
            (path("a").parent(), path("a").name(), path("").depth()),
            (&b""[..], &b"a"[..], 0)
        );
    }
}
