//! Which packs a new head goes on naming, and when it is time to begin afresh with one full pack.

use std::collections::HashMap;

use reclone_format::{Head, ObjectId, PackIndex, PackRef};

use crate::error::Result;
use crate::node::Node;
use crate::pack_reader::read_index;
use crate::store::Store;

/// More packs than this cost a clone's first sync more requests than they save the model.
const MAX_PACKS: usize = 30;

/// Dead bytes that are not worth packing anything again.
const LITTLE: u64 = 64 << 10;

/// The packs of the newest head and what they hold.
#[derive(Debug, Default)]
pub struct OldPacks {
    packs: Vec<(PackRef, PackIndex)>,
    /// Object → number of the newest pack that holds it.
    objects: HashMap<ObjectId, usize>,
}

impl OldPacks {
    /// Reads the indices of the packs of `head`.
    fn read(store: &Store, head: &Head) -> Result<Self> {
        let mut old = Self::default();
        for pack in &head.packs {
            let index = read_index(store, pack)?;
            let number = old.packs.len();
            for object in index.frames().iter().flat_map(|frame| &frame.objects) {
                old.objects.entry(object.id).or_insert(number);
            }
            old.packs.push((pack.clone(), index));
        }
        Ok(old)
    }

    /// The packs that the next generation can build on: none at the start, if a full pack is asked for, if they are worn, or
    /// if one of them is damaged.
    pub fn take_over(store: &Store, head: Option<&Head>, nodes: &[Node], full: bool) -> Self {
        let Some(head) = head.filter(|_| !full) else {
            return Self::default();
        };
        match Self::read(store, head) {
            Ok(old) if !old.are_worn(nodes) => return old,
            Ok(_) => {
                log::info!("the packs hold little that is still needed: packing everything again")
            }
            Err(error) => log::warn!("{}; packing everything again", error.chain()),
        }
        Self::default()
    }

    /// The objects that need not be packed again.
    pub fn objects(&self) -> &HashMap<ObjectId, usize> {
        &self.objects
    }

    /// The packs that hold an object of `nodes`, newest first.
    pub fn live(&self, nodes: &[Node]) -> Vec<PackRef> {
        let bytes = self.live_bytes(nodes);
        let live = self.packs.iter().zip(bytes).filter(|(_, live)| *live > 0);
        live.map(|((pack, _), _)| pack.clone()).collect()
    }

    /// Whether one full pack is better than these and one more: there are too many, or more than half of their bytes
    /// belong to objects that no path has any more.
    fn are_worn(&self, nodes: &[Node]) -> bool {
        let live = self.live_bytes(nodes);
        let packs = live.iter().filter(|live| **live > 0).count();
        let stored: u64 = self.packs.iter().map(|(pack, _)| pack.size).sum();
        let dead = stored.saturating_sub(live.iter().sum());
        packs >= MAX_PACKS || (dead > stored / 2 && dead > LITTLE)
    }

    /// For each pack, how many of its bytes the objects of `nodes` take up: of a frame's bytes, their share in its content.
    fn live_bytes(&self, nodes: &[Node]) -> Vec<u64> {
        let mut wanted: HashMap<ObjectId, usize> = HashMap::new();
        for (id, _) in nodes.iter().filter_map(|node| node.entry.object()) {
            if let Some(pack) = self.objects.get(&id) {
                wanted.insert(id, *pack);
            }
        }
        let live_in_pack = |number: usize, index: &PackIndex| {
            let share = |frame: &reclone_format::Frame| {
                let live = frame.objects.iter();
                let live = live.filter(|object| wanted.get(&object.id) == Some(&number));
                let live: u64 = live.map(|object| object.size).sum();
                let share = u128::from(frame.length) * u128::from(live)
                    / u128::from(frame.content().max(1));
                // Even a sliver of a frame keeps its pack alive.
                u64::try_from(share)
                    .unwrap_or(u64::MAX)
                    .max(u64::from(live > 0))
            };
            index.frames().iter().map(share).sum()
        };
        let packs = self.packs.iter().enumerate();
        packs
            .map(|(number, (_, index))| live_in_pack(number, index))
            .collect()
    }
}
