//! What a generation needs and the pool has not, and how far each of it is.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Condvar, Mutex};

use reclone_format::{Error as FormatError, ManifestHeader, ManifestReader, PackedObject};

/// Nobody has begun with it.
const OPEN: u8 = 0;
/// Someone writes it.
const CLAIMED: u8 = 1;
/// It is staged, and verified.
const STAGED: u8 = 2;
/// What it was to be made from turned out not to do.
const LOST: u8 = 3;

/// The objects that are not in the pool yet, by id, and how far each is.
#[derive(Debug, Default)]
pub struct Wanted {
    objects: Vec<PackedObject>,
    states: Vec<AtomicU8>,
    /// Whether nobody stages anything any more.
    over: AtomicBool,
    /// Held only to wait, and to wake those who do.
    gate: Mutex<()>,
    moved: Condvar,
}

impl Wanted {
    /// These objects, each once.
    pub fn new(mut objects: Vec<PackedObject>) -> Self {
        objects.sort_unstable_by_key(|object| object.id);
        objects.dedup_by_key(|object| object.id);
        objects.shrink_to_fit();
        let states = objects.iter().map(|_| AtomicU8::new(OPEN)).collect();
        Self {
            objects,
            states,
            ..Self::default()
        }
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

    /// The same and these objects as well; how far each is stays.
    pub fn with(self, more: &[PackedObject]) -> Self {
        // Of a first clone these are all there are, and many.
        if more.is_empty() {
            return self;
        }
        let new = Self::new([&self.objects[..], more].concat());
        for (object, state) in self.objects.iter().zip(self.states) {
            if let Some(at) = new.place(object) {
                new.states[at].store(state.into_inner(), Ordering::Relaxed);
            }
        }
        new
    }

    /// The objects, by id.
    pub fn objects(&self) -> &[PackedObject] {
        &self.objects
    }

    /// Number and bytes of those that nobody has begun with.
    pub fn open(&self) -> (u64, u64) {
        let open = (0..self.objects.len()).filter(|at| self.is_open(*at));
        open.fold((0, 0), |sum, at| (sum.0 + 1, sum.1 + self.objects[at].size))
    }

    /// Whether nobody has begun with an object, by its place in [`objects`](Self::objects).
    pub fn is_open(&self, at: usize) -> bool {
        self.states[at].load(Ordering::Relaxed) == OPEN
    }

    /// Takes an object over. No for one that is not wanted, that has another size, or that another has taken.
    pub fn claim(&self, object: &PackedObject) -> bool {
        self.place(object).is_some_and(|at| {
            let order = Ordering::Relaxed;
            self.states[at]
                .compare_exchange(OPEN, CLAIMED, order, order)
                .is_ok()
        })
    }

    /// Says that an object is staged, whole and verified.
    pub fn set_staged(&self, object: &PackedObject) {
        self.set(object, STAGED);
    }

    /// Gives an object back that was claimed.
    pub fn release(&self, object: &PackedObject) {
        self.set(object, OPEN);
    }

    /// Says that an object does not come, if it was not staged.
    pub fn set_lost(&self, object: &PackedObject) {
        let at = self.place(object);
        if at.is_some_and(|at| self.states[at].load(Ordering::Acquire) != STAGED) {
            self.set(object, LOST);
        }
    }

    fn set(&self, object: &PackedObject, state: u8) {
        if let Some(at) = self.place(object) {
            self.states[at].store(state, Ordering::Release);
            self.wake();
        }
    }

    fn wake(&self) {
        drop(self.gate.lock());
        self.moved.notify_all();
    }

    /// Waits until an object is staged. No, if it will not be, or is not one of these.
    pub fn wait_for(&self, object: &PackedObject) -> bool {
        let Some(at) = self.place(object) else {
            return false;
        };
        let Ok(mut gate) = self.gate.lock() else {
            return false;
        };
        loop {
            match self.states[at].load(Ordering::Acquire) {
                STAGED => return true,
                LOST => return false,
                _ if self.over.load(Ordering::Acquire) => return false,
                _ => match self.moved.wait(gate) {
                    Ok(again) => gate = again,
                    Err(_) => return false,
                },
            }
        }
    }

    /// Ends every wait: nobody stages anything any more.
    pub fn give_up(&self) {
        self.over.store(true, Ordering::Release);
        self.wake();
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
