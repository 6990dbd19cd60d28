//! Which old object is the best base for a new one, by its name: the one at the same path, else the one at a path that
//! differs in version numbers alone, else one of the same name elsewhere.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::names::family;
use super::tree_objects::TreeObject;

/// The largest object that is anyone's base: a reader and the publisher keep a base at hand as a whole.
pub const MAX_BASE: u64 = 256 << 20;
/// How many of a family are compared: there may be very many files with a number for a name.
const FAMILY: usize = 512;
/// A base of the same name elsewhere may be so many times larger or smaller.
const ALIKE: u64 = 4;

/// The old objects by their names.
pub struct Names<'a> {
    old: &'a [TreeObject],
    paths: HashMap<&'a [u8], usize>,
    families: HashMap<Vec<u8>, Vec<usize>>,
    names: HashMap<Vec<u8>, Vec<usize>>,
}

impl<'a> Names<'a> {
    /// Of `old`.
    pub fn of(old: &'a [TreeObject]) -> Self {
        let mut names = Self {
            old,
            paths: HashMap::new(),
            families: HashMap::new(),
            names: HashMap::new(),
        };
        for (at, old) in old.iter().enumerate() {
            if old.object.size > MAX_BASE {
                continue;
            }
            let path = old.path.as_bytes();
            names.paths.insert(path, at);
            names.families.entry(family(path)).or_default().push(at);
            let name = family(old.path.name());
            names.names.entry(name).or_default().push(at);
        }
        names
    }

    /// The number of the old object that `new` is most likely made from.
    pub fn base_of(&self, new: &TreeObject) -> Option<usize> {
        let path = new.path.as_bytes();
        if let Some(same) = self.paths.get(path) {
            return Some(*same);
        }
        let families = self.families.get(&family(path));
        if let Some(closest) = families.and_then(|family| self.closest(new, family)) {
            return Some(closest);
        }
        let named = self.names.get(&family(new.path.name()))?;
        let closest = self.closest(new, named)?;
        let (one, other) = (self.old[closest].object.size, new.object.size);
        (one.max(other) / one.min(other).max(1) < ALIKE).then_some(closest)
    }

    /// Of some old objects the one with the same name, else the one whose path has most in common, else the one whose
    /// size is closest; the first of equals.
    fn closest(&self, new: &TreeObject, among: &[usize]) -> Option<usize> {
        let distance = |at: &&usize| {
            let old = &self.old[**at];
            let (path, other) = (new.path.as_bytes(), old.path.as_bytes());
            let ahead = equal(path.iter(), other.iter());
            let behind = equal(path.iter().rev(), other.iter().rev());
            let size = old.object.size.abs_diff(new.object.size);
            (
                old.path.name() != new.path.name(),
                Reverse(ahead + behind),
                size,
            )
        };
        among.iter().take(FAMILY).min_by_key(distance).copied()
    }
}

fn equal<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}
