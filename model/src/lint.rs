//! `reclone-model lint`: what a tree has that should perhaps not be published, as everybody who can read the store reads it and every clone gets it:
//! secrets, identities, files that are in use or very large, and what will not work on a clone. It names; it leaves nothing out.

mod names;

use std::io::{self, Read, Seek, SeekFrom};

use reclone_format::{Entry, Kind, Policy, Rule, TreePath};

use crate::live_tree::LiveTree;
use crate::node::Node;

/// Files of configuration up to this size are read, in bytes.
const READ_UP_TO: u64 = 64 << 10;
/// Secret keys of minisign take a few hundred; whatever their name, files for their owner alone are read up to this.
const KEY_UP_TO: u64 = 1 << 10;
/// How a store's head begins.
const STORE_HEAD: &[u8] = b"reclone-head ";
/// Files above this size are named.
const LARGE: u64 = 1 << 30;
/// Where a swap file says that it is one.
const SWAP_MAGIC: (u64, &[u8]) = (4086, b"SWAPSPACE2");

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path.
    pub path: TreePath,
    /// What it is, and what to do.
    pub what: String,
}

/// Looks at everything that would be published, in its order, and then at what is missing. `policy` is the tree's own. Reads small files where
/// secrets are usual, and the start of those that may be swap.
pub fn lint(tree: &LiveTree, nodes: &[Node], policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |path: &TreePath, what: &str| {
        findings.push(Finding {
            path: path.clone(),
            what: what.to_owned(),
        });
    };
    for node in nodes {
        let entry = &node.entry;
        if let Some(what) = look(tree, entry) {
            find(&entry.path, what);
        }
        if let Some(folder) = store(tree, nodes, entry) {
            find(
                &folder,
                "it is a store, and each clone would get all of it: exclude it, unless it is the one that you publish to, which is left out",
            );
        }
    }
    fstab(tree, policy, &mut findings);
    initramfs(nodes, &mut findings);
    findings
}

fn look(tree: &LiveTree, entry: &Entry) -> Option<&'static str> {
    let Kind::Regular { size, .. } = entry.kind else {
        return None;
    };
    let path = entry.path.as_bytes();
    if size == 0 {
        return None;
    }
    if let Some(what) = names::by_name(path) {
        return Some(what);
    }
    let is_for_one = entry.perm & 0o077 == 0;
    let may_be_key = is_for_one && size <= KEY_UP_TO;
    if size <= READ_UP_TO && (may_be_key || names::is_worth_reading(path)) {
        let content = head(tree, &entry.path, 0, READ_UP_TO).unwrap_or_default();
        if let Some(what) = names::by_content(path, &content) {
            return Some(what);
        }
    }
    let (at, magic) = SWAP_MAGIC;
    let may_be_swap = is_for_one && size >= 10 * 4096;
    if may_be_swap && head(tree, &entry.path, at, magic.len() as u64).is_ok_and(|it| it == magic) {
        return Some(
            "it is a swap file: exclude it, and have each clone make its own in a kept folder",
        );
    }
    (size > LARGE)
        .then_some("it is larger than 1 GiB: every clone fetches it anew whenever it changes")
}

/// The folder of a store whose head this is.
fn store(tree: &LiveTree, nodes: &[Node], entry: &Entry) -> Option<TreePath> {
    let is_head = matches!(entry.kind, Kind::Regular { .. }) && entry.path.name() == b"head";
    if !is_head || entry.path.parent().is_empty() {
        return None;
    }
    let folder = TreePath::from_bytes(entry.path.parent().into()).ok()?;
    let packs = folder.join(b"packs").ok()?;
    let has_packs = |node: &Node| node.entry.path == packs && node.entry.kind == Kind::Directory;
    let begins = head(tree, &entry.path, 0, STORE_HEAD.len() as u64).ok()?;
    (begins == STORE_HEAD && nodes.iter().any(has_packs)).then_some(folder)
}

fn head(tree: &LiveTree, path: &TreePath, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut file = tree.open_file(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut content = Vec::new();
    file.take(length).read_to_end(&mut content)?;
    Ok(content)
}

fn path(text: &str) -> TreePath {
    TreePath::from_bytes(text.into()).expect("it is a path")
}

/// Lines of fstab that name a disk of this machine. Clones keep their own fstab, unless the policy says otherwise.
fn fstab(tree: &LiveTree, policy: &Policy, findings: &mut Vec<Finding>) {
    let fstab = path("etc/fstab");
    let mut rules = Policy::built_in();
    for line in policy.lines() {
        // They were read once.
        let text = format!("{line}");
        let _ = rules.add(&line.file, text.as_bytes());
    }
    let is_own = rules.of_clone().rule(fstab.as_bytes(), false) == Rule::Keep;
    let text = head(tree, &fstab, 0, READ_UP_TO).unwrap_or_default();
    for line in String::from_utf8_lossy(&text).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [device, at, ..] = words[..] else {
            continue;
        };
        let of_disk = ["/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="]
            .iter()
            .any(|start| device.starts_with(start));
        if device.starts_with('#') || !of_disk || at == "/" {
            continue;
        }
        let may_lack = words
            .get(3)
            .is_some_and(|options| options.split(',').any(|it| it == "nofail"));
        let what = match is_own {
            true => format!(
                "the line for {device} at {at} does not reach the clones, which keep their own fstab"
            ),
            false if may_lack => continue,
            false => format!(
                "a clone without {device} waits for it and comes up degraded: add nofail to the line for {at}"
            ),
        };
        findings.push(Finding {
            path: fstab.clone(),
            what,
        });
    }
}

/// Whether the initramfs of the model has the agent, as far as names and times tell: it is looked for where packages and `make install-clone`
/// put it. Only for trees with an initramfs: a clone boots with its own, and starts a kernel of the model's with this one.
fn initramfs(nodes: &[Node], findings: &mut Vec<Finding>) {
    let is_image = |path: &[u8]| {
        path.strip_prefix(b"boot/")
            .is_some_and(|name| name.starts_with(b"initrd.img-") || name.starts_with(b"initramfs-"))
    };
    let images = nodes.iter().filter(|node| {
        matches!(node.entry.kind, Kind::Regular { .. }) && is_image(node.entry.path.as_bytes())
    });
    let agent = nodes
        .iter()
        .find(|node| node.entry.path.as_bytes() == b"usr/sbin/reclone");
    for image in images {
        let what = match agent {
            None => {
                "the agent is not installed on this machine, so this initramfs lacks it: a clone that boots it is none any more"
            }
            Some(agent) if agent.entry.mtime > image.entry.mtime => {
                "it is older than the agent: make it anew, with update-initramfs -u or dracut --force"
            }
            Some(_) => continue,
        };
        findings.push(Finding {
            path: image.entry.path.clone(),
            what: what.into(),
        });
    }
}

#[cfg(test)]
mod tests;
