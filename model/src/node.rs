//! One path of the live tree on its way into a manifest.

use reclone_format::Entry;

use crate::live_tree::Stamp;

/// One path of the tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// What the manifest will say; the id of a file that is not `known` comes later, and so does `to` of a hard link.
    pub entry: Entry,
    /// How the kernel told it apart.
    pub stamp: Stamp,
    /// Whether the content's id is known.
    pub known: bool,
    /// The node with the first name of the same file.
    pub first_name: Option<usize>,
}
