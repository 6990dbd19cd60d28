//! What a generation needs and the pool has not, and how far each of it is.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use reclone_format::{Error as FormatError, ManifestHeader, ManifestReader, PackedObject};

/// The objects that are not in the pool yet, by id, and which of them someone already takes care of.
#[derive(Debug, Default)]
pub struct Wanted {
    objects: Vec<PackedObject>,
    claimed: Vec<AtomicBool>,
}

impl Wanted {
    /// These objects, each once.
    pub fn new(mut objects: Vec<PackedObject>) -> Self {
        objects.sort_unstable_by_key(|object| object.id);
        objects.dedup_by_key(|object| object.id);
        objects.shrink_to_fit();
        let claimed = objects.iter().map(|_| AtomicBool::new(false)).collect();
        Self { objects, claimed }
    }

    /// The objects of a manifest that `held` does not say yes to. One id with two sizes is refused: one of the files would
    /// show bytes that it does not have.
    pub fn of_manifest<R: Read>(
        manifest: ManifestReader<R>,
        mut held: impl FnMut(&PackedObject) -> bool,
    ) -> Result<Self, FormatError> {
        let mut objects = Vec::with_capacity(room(&manifest.header()));
        for item in manifest {
            if let Some((id, size)) = item?.entry.object() {
                let object = PackedObject { id, size };
                if !held(&object) {
                    objects.push(object);
                }
            }
        }
        objects.sort_unstable_by_key(|object| (object.id, object.size));
        let is_twice = |pair: &&[PackedObject]| pair[0].id == pair[1].id && pair[0] != pair[1];
        match objects.windows(2).find(is_twice) {
            None => Ok(Self::new(objects)),
            Some(pair) => Err(FormatError::Malformed {
                structure: "manifest",
                reason: format!("it names object {} with two sizes", pair[0].id),
            }),
        }
    }

    /// The objects, by id.
    pub fn objects(&self) -> &[PackedObject] {
        &self.objects
    }

    /// Bytes of all of them.
    pub fn content(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }

    /// Takes an object over. No for one that is not wanted, that has another size, or that another has taken.
    pub fn claim(&self, object: &PackedObject) -> bool {
        self.place(object)
            .is_some_and(|at| !self.claimed[at].swap(true, Ordering::Relaxed))
    }

    /// Whether an object, by its place in [`objects`](Self::objects), was taken over.
    pub fn is_claimed(&self, at: usize) -> bool {
        self.claimed[at].load(Ordering::Relaxed)
    }

    /// The place of an object in [`objects`](Self::objects).
    pub fn place(&self, object: &PackedObject) -> Option<usize> {
        let at = self
            .objects
            .binary_search_by_key(&object.id, |object| object.id)
            .ok()?;
        (self.objects[at].size == object.size).then_some(at)
    }
}

/// For how many objects of a manifest to make room at once: a list that grows step by step leaves its old places behind.
/// More than a million may be a lie; such a list grows with what really comes.
pub fn room(manifest: &ManifestHeader) -> usize {
    manifest.entries.min(1 << 20) as usize
}
