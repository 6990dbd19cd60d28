//! The difference of two contents, after Colin Percival's bsdiff ("Naive differences of executable code", 2003): where
//! code moved, nearly all of it is still the old bytes, and their difference is mostly zeros.
//!
//! Time grows with what differs; memory with five times the old content and twice the new.

use reclone_format::patch::Step;

use super::suffixes::Suffixes;

/// How many bytes more than the present alignment another one must explain before it is taken.
const BETTER: usize = 8;
/// Where the present alignment explains seven eighths of so many bytes, no other is looked for: the search is what costs
/// time.
const LOOK: usize = 32;
/// How far to go on then.
const STEP: usize = 8;

/// Longer matches are not told apart: where all bytes are alike, each search would go through all of them.
const LONG: usize = 1024;

/// What makes a new content of an old one: see `docs/format.md`, "Patch".
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// How to go through the streams and the old content.
    pub steps: Vec<Step>,
    /// What is added to old bytes.
    pub diff: Vec<u8>,
    /// New bytes.
    pub extra: Vec<u8>,
}

/// A place of the new content and the place of the old one that it is made from.
#[derive(Clone, Copy)]
struct Anchor {
    new: usize,
    old: usize,
}

/// An exact match that says where the next run of the new content comes from.
struct Seed {
    at: Anchor,
    length: usize,
}

/// From `old` to `new`, which is not empty. `old` is at most 2 GiB.
pub fn difference(old: &[u8], new: &[u8]) -> Difference {
    let search = Search {
        old,
        new,
        suffixes: Suffixes::of(old),
    };
    let mut difference = Difference::default();
    let mut anchor = Anchor { new: 0, old: 0 };
    let mut scan = 0;
    loop {
        let seed = search.next_seed(scan, anchor);
        let end = seed.as_ref().map_or(new.len(), |seed| seed.at.new);
        let mut ahead = search.forward(anchor, end);
        let mut back = seed
            .as_ref()
            .map_or(0, |seed| search.backward(anchor, seed));
        if let Some(seed) = &seed
            && anchor.new + ahead > seed.at.new - back
        {
            let overlap = anchor.new + ahead - (seed.at.new - back);
            let kept = search.split(anchor, ahead - overlap, seed.at, back, overlap);
            ahead = ahead - overlap + kept;
            back -= kept;
        }
        let next = match &seed {
            Some(seed) => Anchor {
                new: seed.at.new - back,
                old: seed.at.old - back,
            },
            None => Anchor {
                new: new.len(),
                old: anchor.old + ahead,
            },
        };
        anchor = difference.step(old, new, anchor, ahead, next);
        match seed {
            Some(seed) => scan = seed.at.new + seed.length,
            None => return difference,
        }
    }
}

impl Difference {
    /// Takes `ahead` bytes at the old alignment, what is new up to `next`, and goes on there.
    fn step(
        &mut self,
        old: &[u8],
        new: &[u8],
        from: Anchor,
        ahead: usize,
        mut next: Anchor,
    ) -> Anchor {
        let seek = |next: Anchor| next.old as i64 - (from.old + ahead) as i64;
        if next.new == from.new {
            match self.steps.last_mut() {
                Some(last) => {
                    last.2 += seek(next);
                    return next;
                }
                // A step must yield something, so the first byte is a new one.
                None => {
                    next.new += 1;
                    next.old += 1;
                }
            }
        }
        let (run, base) = (&new[from.new..][..ahead], &old[from.old..][..ahead]);
        let diff = run
            .iter()
            .zip(base)
            .map(|(new, old)| new.wrapping_sub(*old));
        self.diff.extend(diff);
        let insert = &new[from.new + ahead..next.new];
        self.extra.extend_from_slice(insert);
        let last = if next.new == new.len() { 0 } else { seek(next) };
        self.steps.push((ahead as u64, insert.len() as u64, last));
        next
    }
}

struct Search<'a> {
    old: &'a [u8],
    new: &'a [u8],
    suffixes: Suffixes<'a>,
}

impl Search<'_> {
    /// Whether the new byte at `at` is the old one at the alignment of `anchor`.
    fn agrees(&self, at: usize, anchor: Anchor) -> bool {
        let old = self.old.get((at + anchor.old).wrapping_sub(anchor.new));
        old == Some(&self.new[at])
    }

    /// Whether the alignment of `anchor` is good enough from `at` on.
    fn goes_on(&self, at: usize, anchor: Anchor) -> bool {
        let new = &self.new[at..];
        let new = &new[..new.len().min(LOOK)];
        let old = self.old.get((at + anchor.old).wrapping_sub(anchor.new)..);
        let pairs = new.iter().zip(old.unwrap_or_default());
        let equal = pairs.filter(|(new, old)| new == old).count();
        equal * 8 >= new.len() * 7
    }

    /// The first exact match from `scan` on that explains more than going on at the alignment of `anchor` would.
    fn next_seed(&self, scan: usize, anchor: Anchor) -> Option<Seed> {
        let (mut at, mut counted, mut agreeing) = (scan, scan, 0);
        while at < self.new.len() {
            if self.goes_on(at, anchor) {
                at += STEP;
                (counted, agreeing) = (at, 0);
                continue;
            }
            let end = self.new.len().min(at + LONG);
            let (old, length) = self.suffixes.longest(&self.new[at..end]);
            while counted < at + length {
                agreeing += usize::from(self.agrees(counted, anchor));
                counted += 1;
            }
            if length > agreeing + BETTER {
                let at = Anchor { new: at, old };
                return Some(Seed { at, length });
            }
            if length == agreeing && length > 0 {
                at += length;
                (counted, agreeing) = (at, 0);
                continue;
            }
            agreeing -= usize::from(counted > at && self.agrees(at, anchor));
            at += 1;
            counted = counted.max(at);
        }
        None
    }

    /// How far the alignment of `anchor` goes on being worth it, up to `end`.
    fn forward(&self, anchor: Anchor, end: usize) -> usize {
        let (new, old) = (&self.new[anchor.new..end], &self.old[anchor.old..]);
        best(new.iter().zip(old).map(|(new, old)| new == old))
    }

    /// How far before a seed its alignment is worth it.
    fn backward(&self, anchor: Anchor, seed: &Seed) -> usize {
        let new = &self.new[anchor.new..seed.at.new];
        let old = &self.old[..seed.at.old];
        let pairs = new.iter().rev().zip(old.iter().rev());
        best(pairs.map(|(new, old)| new == old))
    }

    /// Two alignments claim the same `overlap` bytes: how many of them the first should keep.
    fn split(
        &self,
        anchor: Anchor,
        ahead: usize,
        seed: Anchor,
        back: usize,
        overlap: usize,
    ) -> usize {
        let (mut score, mut best, mut kept) = (0i64, 0i64, 0);
        for at in 0..overlap {
            let new = self.new[anchor.new + ahead + at];
            score += i64::from(new == self.old[anchor.old + ahead + at]);
            score -= i64::from(new == self.old[seed.old - back + at]);
            if score > best {
                (best, kept) = (score, at + 1);
            }
        }
        kept
    }
}

/// The length at which matches most outnumber the others.
fn best(equal: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut best, mut length) = (0i64, 0i64, 0);
    for (at, equal) in equal.enumerate() {
        score += if equal { 1 } else { -1 };
        if score > best {
            (best, length) = (score, at + 1);
        }
    }
    length
}

#[cfg(test)]
mod tests;
