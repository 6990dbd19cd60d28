//! Finds the ids of the files that the stat cache does not know, on all cores.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use reclone_format::{Kind, ObjectId};

use crate::content::{Content, ContentReader, IdOnly};
use crate::live_tree::LiveTree;
use crate::node::Node;
use crate::progress::Progress;
use crate::scan::Scanned;

/// What reading a node's file gave.
#[derive(Debug)]
pub enum Outcome {
    /// Its content.
    Content(Content),
    /// It is there no more.
    Gone,
    /// It can not be read.
    Failed(io::Error),
}

/// Whether files that keep changing are published as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changing {
    /// They are an error.
    Refuse,
    /// They are published, and named.
    Allow,
}

/// Reads every file whose id is not known. Gives the number of bytes read.
pub fn identify(
    tree: &LiveTree,
    scanned: &mut Scanned,
    changing: Changing,
    progress: &Progress,
) -> u64 {
    let unknown = unknown(&scanned.nodes);
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let nodes = &scanned.nodes;
    let work = || {
        let mut reader = ContentReader::new(tree);
        let mut found = Vec::new();
        while let Some(&at) = unknown.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = match reader.read(&nodes[at].entry.path, &mut IdOnly) {
                Ok(Some(content)) => Outcome::Content(content),
                Ok(None) => Outcome::Gone,
                Err(error) => Outcome::Failed(error),
            };
            progress.add(nodes[at].stamp.size);
            found.push((at, outcome));
        }
        outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .append(&mut found);
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let read = outcomes
        .iter()
        .map(|(_, outcome)| match outcome {
            Outcome::Content(content) => content.size,
            _ => 0,
        })
        .sum();
    apply(tree, scanned, outcomes, changing);
    read
}

/// Bytes of the files whose ids are not known.
pub fn unknown_bytes(nodes: &[Node]) -> u64 {
    unknown(nodes).iter().map(|at| nodes[*at].stamp.size).sum()
}

fn unknown(nodes: &[Node]) -> Vec<usize> {
    let wanted = |node: &Node| !node.known && node.first_name.is_none();
    (0..nodes.len()).filter(|at| wanted(&nodes[*at])).collect()
}

/// Takes over what was read: contents into the nodes, files that went away out of them, the rest as problems.
pub fn apply(
    tree: &LiveTree,
    scanned: &mut Scanned,
    outcomes: Vec<(usize, Outcome)>,
    changing: Changing,
) {
    let mut gone = BTreeSet::new();
    for (at, outcome) in outcomes {
        let node = &mut scanned.nodes[at];
        let outcome = match outcome {
            Outcome::Content(content) => match update(tree, node, &content) {
                Ok(()) => Outcome::Content(content),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Gone,
                Err(error) => Outcome::Failed(error),
            },
            other => other,
        };
        let path = &node.entry.path;
        match outcome {
            Outcome::Content(content) if content.settled => {}
            Outcome::Content(_) => {
                let text = format!("{path}: it changed while it was read, three times over");
                match changing {
                    Changing::Allow => scanned.notes.push(text + "; published as it was read last"),
                    Changing::Refuse => scanned
                        .problems
                        .push(text + "; stop what writes it, exclude it, or give --allow-changing"),
                }
                // It may have changed again: never trust the stat cache about it.
                node.stamp = Default::default();
            }
            Outcome::Gone => {
                let text = format!("{path}: left out, it vanished while the tree was read");
                scanned.notes.push(text);
                gone.insert(at);
            }
            Outcome::Failed(error) => scanned.problems.push(format!("{path}: {error}")),
        }
    }
    if !gone.is_empty() {
        remove(&mut scanned.nodes, &gone);
    }
    scanned.problems.sort();
}

/// Takes over a content, and whatever else changed since the scan.
fn update(tree: &LiveTree, node: &mut Node, content: &Content) -> io::Result<()> {
    let Content { id, size, meta, .. } = *content;
    if meta.stamp != node.stamp {
        node.entry.xattrs = tree.read_xattrs(&node.entry.path)?;
    }
    node.entry.kind = Kind::Regular {
        size,
        id: if size == 0 { ObjectId::EMPTY } else { id },
    };
    node.entry.perm = (meta.mode & 0o7777) as u16;
    node.entry.uid = meta.uid;
    node.entry.gid = meta.gid;
    node.entry.mtime = meta.stamp.mtime;
    node.stamp = meta.stamp;
    node.known = true;
    Ok(())
}

/// Removes nodes and every further name of their files.
fn remove(nodes: &mut Vec<Node>, gone: &BTreeSet<usize>) {
    let mut new_place = vec![None; nodes.len()];
    let mut kept = Vec::with_capacity(nodes.len());
    for (at, mut node) in std::mem::take(nodes).into_iter().enumerate() {
        let first_is_gone = node.first_name.is_some_and(|first| gone.contains(&first));
        if gone.contains(&at) || first_is_gone {
            continue;
        }
        new_place[at] = Some(kept.len());
        node.first_name = node.first_name.and_then(|first| new_place[first]);
        kept.push(node);
    }
    *nodes = kept;
}
