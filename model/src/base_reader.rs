//! The contents that frames with bases need, from whichever pack of the store holds them.

use std::collections::HashMap;

use reclone_format::{Error as FormatError, Frame, ObjectId, PackId, PackIndex};

use crate::error::{InFile, Result};
use crate::pack_reader::read_objects;
use crate::store::Store;

/// The longest chain of bases that is followed.
const MAX_DEPTH: usize = 32;

/// Knows which frame yields an object.
pub struct BaseReader<'a> {
    store: &'a Store,
    /// Of several frames the one with the fewest bases.
    homes: HashMap<ObjectId, (PackId, &'a Frame)>,
}

impl<'a> BaseReader<'a> {
    /// Of these packs.
    pub fn new(store: &'a Store, indices: &'a HashMap<PackId, PackIndex>) -> Self {
        let mut homes: HashMap<ObjectId, (PackId, &Frame)> = HashMap::new();
        for (pack, index) in indices {
            for frame in index.frames() {
                for object in &frame.objects {
                    let home = homes.entry(object.id).or_insert((*pack, frame));
                    if frame.bases.len() < home.1.bases.len() {
                        *home = (*pack, frame);
                    }
                }
            }
        }
        Self { store, homes }
    }

    /// Whether the store holds all bases of a frame.
    pub fn has(&self, frame: &Frame) -> bool {
        let mut bases = frame.bases.iter();
        bases.all(|base| self.homes.contains_key(&base.id))
    }

    /// The contents of all bases of a frame of `pack`, one after the other. Each frame that they come from is decoded once.
    pub fn read(&self, pack: &PackId, frame: &Frame) -> Result<Vec<u8>> {
        self.read_at(pack, frame, 0)
    }

    /// `depth` counts the frames that led here.
    fn read_at(&self, pack: &PackId, frame: &Frame, depth: usize) -> Result<Vec<u8>> {
        let broken = |reason: String| {
            let structure = "pack";
            let error = FormatError::Malformed { structure, reason };
            Err(error).in_file(&self.store.pack_path(pack))
        };
        let mut sources: Vec<(PackId, &Frame, Vec<ObjectId>)> = Vec::new();
        for base in &frame.bases {
            let id = base.id;
            let Some((home, source)) = self.homes.get(&id) else {
                return broken(format!("a frame needs object {id}, which no pack holds"));
            };
            if depth == MAX_DEPTH {
                return broken(format!("object {id} has too long a chain of bases"));
            }
            let mut same = sources.iter_mut();
            match same.find(|(pack, frame, _)| pack == home && frame.offset == source.offset) {
                Some((_, _, wanted)) => wanted.push(id),
                None => sources.push((*home, source, vec![id])),
            }
        }
        let mut contents = HashMap::new();
        for (home, source, wanted) in &sources {
            let bases = self.read_at(home, source, depth + 1)?;
            contents.extend(read_objects(self.store, home, source, &bases, wanted)?);
        }
        let bases = frame.bases.iter().filter_map(|base| contents.get(&base.id));
        Ok(bases.map(Vec::as_slice).collect::<Vec<_>>().concat())
    }
}
