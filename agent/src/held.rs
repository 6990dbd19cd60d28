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
    /// Where those begin in `ids` whose first two bytes are this number. A list of all objects is asked for all of another's.
    starts: Vec<u32>,
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
        let mut starts = vec![0; (1 << 16) + 1];
        ids.iter().for_each(|id| starts[prefix(id) + 1] += 1);
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { pool, ids, starts }
    }

    /// Whether the pool has an object. Of those of the current generation the disk is not asked.
    pub fn has(&self, id: &ObjectId) -> bool {
        let [start, end] = [0, 1].map(|next| self.starts[prefix(id) + next] as usize);
        self.ids[start..end].contains(id) || self.pool.object(id).exists()
    }
}

fn prefix(id: &ObjectId) -> usize {
    let [first, second, ..] = *id.as_bytes();
    usize::from(first) << 8 | usize::from(second)
}
