//! The manifest of a scanned tree, and the frame that carries it.

use reclone_format::manifest::header_of;
use reclone_format::{
    Entry, Kind, ManifestHeader, ManifestWriter, ObjectId, PackedObject, object_id_of,
};

use crate::error::{Context, Error, Result};
use crate::node::Node;
use crate::pack_writer::ManifestFrame;
use crate::store::Store;

/// A manifest in memory.
pub struct Manifest {
    /// Its name as an object.
    pub id: ObjectId,
    /// The whole of it.
    pub bytes: Vec<u8>,
    /// Entries.
    pub entries: u32,
    /// Bytes of all regular files.
    pub content: u64,
}

impl Manifest {
    /// Of `nodes`, which are in its order.
    pub fn of(nodes: &[Node]) -> Result<Self> {
        let own = nodes.iter().filter(|node| node.first_name.is_none());
        let header = ManifestHeader {
            entries: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
            content: header_of(own.map(|node| &node.entry)).content,
        };
        let bytes = encode(nodes, header).map_err(Error::Unpublishable)?;
        Ok(Self {
            id: object_id_of(&bytes),
            bytes,
            entries: header.entries,
            content: header.content,
        })
    }

    /// The frame that a pack carries it in.
    pub fn frame(&self, store: &Store, level: i32) -> Result<ManifestFrame> {
        let object = PackedObject {
            id: self.id,
            size: self.bytes.len() as u64,
        };
        ManifestFrame::new(&self.bytes, object, level).context("compress for", store.root())
    }
}

fn encode(nodes: &[Node], header: ManifestHeader) -> reclone_format::Result<Vec<u8>> {
    let mut writer = ManifestWriter::create(Vec::with_capacity(nodes.len() * 128), header)?;
    for node in nodes {
        match node.first_name.and_then(|first| u32::try_from(first).ok()) {
            Some(to) => {
                let path = node.entry.path.clone();
                writer.push(&Entry::new(path, Kind::HardLink { to }))?;
            }
            None => {
                writer.push(&node.entry)?;
            }
        }
    }
    writer.finish()
}
