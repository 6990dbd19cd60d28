//! What the pool has, as far as its records tell.

use log::warn;
use reclone_format::ObjectId;

use crate::manifest::objects_of;
use crate::pool::Pool;
use crate::state::State;

/// The objects of the current generation: they are in the pool, by the promise of the state record.
pub struct HeldObjects<'a> {
    pool: &'a Pool,
    ids: Vec<ObjectId>,
}

impl<'a> HeldObjects<'a> {
    /// Reads the manifest of the current generation.
    pub fn of(pool: &'a Pool, state: &State) -> Self {
        let path = state.current.map(|current| pool.manifest(current.number));
        let read = path.map_or(Ok(Vec::new()), |path| objects_of(&path));
        // A damaged manifest must not keep the next generation away.
        let mut ids = read.unwrap_or_else(|error| {
            warn!("{error}; looking for every object instead");
            Vec::new()
        });
        ids.sort_unstable();
        ids.dedup();
        Self { pool, ids }
    }

    /// Whether the pool has an object. Of those of the current generation the disk is not asked.
    pub fn has(&self, id: &ObjectId) -> bool {
        self.ids.binary_search(id).is_ok() || self.pool.object(id).exists()
    }
}
