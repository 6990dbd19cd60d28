//! The rules that hold between entries: order, parents that are directories, links to what came before.

use crate::{Entry, Error, Kind, Result, TreePath};

/// The most bytes of listed directories that sort after the one being listed: their paths, and [`DIRECTORY_COST`] each.
const MAX_PENDING: usize = 1 << 28;
/// What such a directory counts beside its path.
const DIRECTORY_COST: usize = 64;

/// A directory that was listed and whose own children have not come yet.
struct Pending {
    path: TreePath,
    ordinal: u32,
}

/// What has been read so far, as little of it as the rules need.
pub(super) struct Order {
    path: TreePath,
    count: u32,
    content: u64,
    /// Ordinal and path of the directory whose children are being listed.
    parent: Pending,
    /// Directories to come, the next one last.
    pending: Vec<Pending>,
    /// What `pending` costs, and may cost at most.
    pending_cost: usize,
    max_pending: usize,
    /// Where the children of `parent` begin in `pending`.
    children: usize,
    /// One bit an entry: may a hard link name it?
    linkable: Vec<u64>,
}

impl Order {
    pub(super) fn new() -> Self {
        Self::with_limit(MAX_PENDING)
    }

    /// With another limit than [`MAX_PENDING`].
    pub(super) fn with_limit(max_pending: usize) -> Self {
        let parent = Pending {
            path: TreePath::ROOT,
            ordinal: 0,
        };
        Self {
            path: TreePath::ROOT,
            count: 0,
            content: 0,
            parent,
            pending: Vec::new(),
            pending_cost: 0,
            max_pending,
            children: 0,
            linkable: vec![],
        }
    }

    /// The path of the last entry; the top before the first.
    pub(super) fn path(&self) -> &TreePath {
        &self.path
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn content(&self) -> u64 {
        self.content
    }

    /// Checks that `entry` may come next, and gives its ordinal and its parent's.
    pub(super) fn accept(&mut self, entry: &Entry) -> Result<(u32, u32)> {
        let bad = |reason: &str| {
            Err(Error::malformed(
                "manifest",
                format!("{}: {reason}", entry.path),
            ))
        };
        let ordinal = self.count;
        if ordinal == 0 {
            if !entry.path.is_root() || entry.kind != Kind::Directory {
                return bad("the first entry is not the top directory");
            }
        } else if entry.path <= self.path {
            return bad("it is out of order, or there twice");
        } else if !self.enter(entry.path.parent()) {
            return bad("its parent is not a directory of this manifest");
        }
        match entry.kind {
            Kind::Directory if ordinal > 0 => {
                self.pending_cost += cost(&entry.path);
                if self.pending_cost > self.max_pending {
                    return bad("too many directories stand open before it (256 MiB of names)");
                }
                self.pending.push(Pending {
                    path: entry.path.clone(),
                    ordinal,
                });
            }
            Kind::HardLink { to } if !self.is_linkable(to) => {
                return bad(&format!(
                    "it links to entry {to}, which is not the first name of an earlier file"
                ));
            }
            Kind::Regular { size, .. } => match self.content.checked_add(size) {
                Some(content) => self.content = content,
                None => return bad("the contents add up to more than 2^64 bytes"),
            },
            _ => {}
        }
        self.set_linkable(
            ordinal,
            !matches!(entry.kind, Kind::Directory | Kind::HardLink { .. }),
        );
        self.path.clone_from(&entry.path);
        self.count += 1;
        Ok((ordinal, self.parent.ordinal))
    }

    /// Makes `parent` the directory being listed; directories without children are passed by.
    fn enter(&mut self, parent: &[u8]) -> bool {
        if parent == self.parent.path.as_bytes() {
            return true;
        }
        // The children came in ascending order; the next one to be entered must be last.
        self.pending[self.children..].reverse();
        while let Some(next) = self.pending.pop() {
            self.pending_cost -= cost(&next.path);
            if next.path.as_bytes() == parent {
                self.children = self.pending.len();
                self.parent = next;
                return true;
            }
        }
        false
    }

    fn is_linkable(&self, ordinal: u32) -> bool {
        let word = self.linkable.get(ordinal as usize / 64);
        word.is_some_and(|word| word >> (ordinal % 64) & 1 == 1)
    }

    fn set_linkable(&mut self, ordinal: u32, linkable: bool) {
        if ordinal.is_multiple_of(64) {
            self.linkable.push(0);
        }
        if let Some(word) = self.linkable.last_mut() {
            *word |= u64::from(linkable) << (ordinal % 64);
        }
    }
}

fn cost(path: &TreePath) -> usize {
    path.as_bytes().len() + DIRECTORY_COST
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn open_directories_are_bounded_and_those_passed_by_are_forgotten() {
        let dir =
            |path: &str| Entry::new(TreePath::from_bytes(path.into()).unwrap(), Kind::Directory);
        let mut order = Order::with_limit(3 * (1 + DIRECTORY_COST));
        for path in ["", "a", "b", "c"] {
            order.accept(&dir(path)).unwrap();
        }
        assert_eq!(
            order.accept(&dir("d")).unwrap_err().to_string(),
            "The manifest is malformed: /d: too many directories stand open before it (256 MiB of names)"
        );
        let mut order = Order::with_limit(2 * (3 + DIRECTORY_COST));
        for path in ["", "a", "b", "b/x", "b/y", "b/y/z"] {
            order.accept(&dir(path)).unwrap();
        }
    }
}
