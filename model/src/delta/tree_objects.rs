//! The objects of a generation, each with the first path that has it.

use std::collections::HashSet;

use reclone_format::{ManifestReader, PackedObject, TreePath};

/// An object and a path of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeObject {
    /// The object.
    pub object: PackedObject,
    /// Its first path.
    pub path: TreePath,
}

/// The objects that a manifest names, each once, in the order of their paths.
pub fn objects_of(manifest: &[u8]) -> reclone_format::Result<Vec<TreeObject>> {
    let (mut seen, mut objects) = (HashSet::new(), Vec::new());
    let mut reader = ManifestReader::open(manifest)?;
    while let Some(item) = reader.next_entry()? {
        if let Some((id, size)) = item.entry.object()
            && seen.insert(id)
        {
            let (object, path) = (PackedObject { id, size }, item.entry.path);
            objects.push(TreeObject { object, path });
        }
    }
    Ok(objects)
}
