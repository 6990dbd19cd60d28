//! Walks the tree: every path with all that the kernel keeps about it, in the manifest's order. Contents are not read here;
//! what the stat cache still knows is taken from there.

use std::collections::HashMap;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::folder::{Folder, FolderReader, Listing, ScanOptions};
use crate::live_tree::LiveTree;
use crate::node::Node;
use crate::progress::Progress;

/// The whole tree.
#[derive(Debug, Default)]
pub struct Scanned {
    /// In the manifest's order.
    pub nodes: Vec<Node>,
    /// What was left out, a sentence each.
    pub notes: Vec<String>,
    /// What could not be read, a sentence each. With any of them, `nodes` is not complete.
    pub problems: Vec<String>,
}

/// Walks `tree` on all cores.
pub fn scan(tree: &LiveTree, options: &ScanOptions, progress: &Progress) -> io::Result<Scanned> {
    let mut reader = FolderReader::new(tree, options);
    let (top, node) = reader.top()?;
    let walk = Walk {
        state: Mutex::new(State {
            todo: vec![top],
            listings: vec![None],
            ..State::default()
        }),
        more: Condvar::new(),
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| walk.run(FolderReader::new(tree, options), progress));
        }
        walk.run(reader, progress);
    });
    let state = walk
        .state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(state.finish(node))
}

/// A listed name, and the slot of its own listing if it is a folder to be listed.
type Child = (Node, Option<usize>);

#[derive(Default)]
struct State {
    todo: Vec<Folder>,
    busy: usize,
    /// One a folder; none while it is not listed, or if it vanished before it was.
    listings: Vec<Option<Vec<Child>>>,
    notes: Vec<String>,
    problems: Vec<String>,
}

struct Walk {
    state: Mutex<State>,
    more: Condvar,
}

impl Walk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut reader: FolderReader, progress: &Progress) {
        while let Some(folder) = self.next() {
            let listing = reader.list(&folder);
            progress.add(listing.children.len() as u64);
            self.done(folder, listing);
        }
    }

    /// The next folder; none when all are listed.
    fn next(&self) -> Option<Folder> {
        let mut state = self.lock();
        loop {
            if let Some(folder) = state.todo.pop() {
                state.busy += 1;
                return Some(folder);
            }
            if state.busy == 0 {
                return None;
            }
            state = self
                .more
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, folder: Folder, listing: Listing) {
        let mut state = self.lock();
        state.busy -= 1;
        state.notes.extend(listing.notes);
        state.problems.extend(listing.problems);
        let mut children = Vec::with_capacity(listing.children.len());
        for (node, descend) in listing.children {
            let slot = descend.map(|dev| {
                let slot = state.listings.len();
                state.listings.push(None);
                state.todo.push(Folder {
                    slot,
                    path: node.entry.path.clone(),
                    dev,
                });
                slot
            });
            children.push((node, slot));
        }
        if !listing.vanished {
            state.listings[folder.slot] = Some(children);
        }
        self.more.notify_all();
    }
}

impl State {
    /// All listings one after the other: the children of a folder together, folders depth first.
    fn finish(mut self, top: Node) -> Scanned {
        let mut nodes = vec![top];
        let mut names: HashMap<(u64, u64), usize> = HashMap::new();
        let mut open = vec![0];
        while let Some(slot) = open.pop() {
            let below = open.len();
            for (mut node, slot) in self.listings[slot].take().unwrap_or_default() {
                if let Some(slot) = slot {
                    if self.listings[slot].is_none() {
                        self.notes.push(format!(
                            "{}: it vanished while it was read",
                            node.entry.path
                        ));
                        continue;
                    }
                    open.push(slot);
                }
                if node.first_name.is_some() {
                    let file = (node.stamp.dev, node.stamp.ino);
                    let first = *names.entry(file).or_insert(nodes.len());
                    node.first_name = (first != nodes.len()).then_some(first);
                }
                nodes.push(node);
            }
            open[below..].reverse();
        }
        self.notes.sort();
        self.problems.sort();
        Scanned {
            nodes,
            notes: self.notes,
            problems: self.problems,
        }
    }
}
