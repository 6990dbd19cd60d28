//! Which writes a cut leaves. Of the writes of an epoch, any may have reached the disk; one of more than 4 KiB may have
//! reached it in part.

use std::collections::{HashMap, HashSet};

use super::write_log::Epoch;

/// What a disk writes as a whole, in bytes.
pub const CHUNK: usize = 4096;
/// Up to so many writes in an epoch, every subset is tried.
const EXHAUSTIVE: usize = 10;

/// A set of chunks of an epoch, counted through all of its writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Chunks(Vec<u64>);

impl Chunks {
    fn none(count: usize) -> Self {
        Chunks(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, chunk: usize) {
        self.0[chunk / 64] |= 1 << (chunk % 64);
    }

    fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn contains(&self, chunk: usize) -> bool {
        self.0[chunk / 64] >> (chunk % 64) & 1 == 1
    }
}

/// A disk after a cut: all epochs before this one, and of this one these chunks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// The epoch.
    pub epoch: usize,
    chunks: Chunks,
}

impl Cut {
    /// What is on the disk of this cut's epoch: places and bytes, in the order in which they were written.
    pub fn pieces<'a>(&'a self, epoch: &'a Epoch) -> impl Iterator<Item = (u64, &'a [u8])> {
        chunks_of(epoch)
            .enumerate()
            .filter(|(number, _)| self.chunks.contains(*number))
            .map(|(_, piece)| piece)
    }

    /// For people: how many chunks of how many.
    pub fn describe(&self, epoch: &Epoch) -> String {
        let (chosen, all) = (self.chunks.count(), chunks_of(epoch).count());
        format!(
            "epoch {}, {chosen} of {all} chunks of {} writes",
            self.epoch,
            epoch.writes.len()
        )
    }
}

fn chunks_of(epoch: &Epoch) -> impl Iterator<Item = (u64, &[u8])> {
    epoch.writes.iter().flat_map(|write| {
        let pieces = write.data.chunks(CHUNK).enumerate();
        pieces.map(|(number, piece)| (write.offset + (number * CHUNK) as u64, piece))
    })
}

/// The chunks of each write of an epoch, as numbers.
fn ranges(epoch: &Epoch) -> Vec<std::ops::Range<usize>> {
    let mut at = 0;
    let next = |length: usize| {
        let start = at;
        at += length.div_ceil(CHUNK);
        start..at
    };
    epoch
        .writes
        .iter()
        .map(|write| write.data.len())
        .map(next)
        .collect()
}

/// At most `wanted` different cuts, in the order of their epochs. The systematic ones come first (every subset of up to ten
/// writes; of more, every prefix and everything but one); chance, which `seed` begins, picks from them if they are too many,
/// from each epoch alike, and adds to them, with torn writes, if they are too few.
pub fn choose(epochs: &[Epoch], wanted: usize, seed: u64) -> Vec<Cut> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let ranges: Vec<_> = epochs.iter().map(ranges).collect();
    let mut cuts = Vec::new();
    for (epoch, ranges) in ranges.iter().enumerate() {
        systematic(ranges, |chosen| cuts.push(cut(epoch, ranges, chosen)));
    }
    let mut seen = HashSet::new();
    let last = epochs.len().saturating_sub(1);
    // All of an epoch is the same disk as nothing of the next one.
    let mut is_new = |cut: &Cut| {
        let all = ranges[cut.epoch].last().map_or(0, |last| last.end);
        (cut.epoch == last || cut.chunks.count() < all) && seen.insert(cut.clone())
    };
    cuts.retain(&mut is_new);
    if cuts.len() > wanted {
        chance.shuffle(&mut cuts);
        spread(&mut cuts);
        cuts.truncate(wanted);
    }
    let busy: Vec<usize> = (0..epochs.len())
        .filter(|epoch| !ranges[*epoch].is_empty())
        .collect();
    let mut misses = 0;
    while cuts.len() < wanted && !busy.is_empty() && misses < 10 * wanted {
        let epoch = busy[chance.usize(..busy.len())];
        let cut = by_chance(epoch, &ranges[epoch], &mut chance);
        match is_new(&cut) {
            true => cuts.push(cut),
            false => misses += 1,
        }
    }
    cuts.sort_by_key(|cut| cut.epoch);
    cuts
}

/// Sorts cuts so that the first of each epoch come first, then the second ones: epochs with many subsets do not crowd out
/// those with few.
fn spread(cuts: &mut [Cut]) {
    let mut ranks = HashMap::new();
    let mut rank_of = |cut: &Cut| {
        let rank = ranks.entry(cut.epoch).or_insert(0);
        *rank += 1;
        *rank
    };
    cuts.sort_by_cached_key(|cut| rank_of(cut));
}

fn cut(epoch: usize, ranges: &[std::ops::Range<usize>], chosen: impl Fn(usize) -> bool) -> Cut {
    let mut chunks = Chunks::none(ranges.last().map_or(0, |last| last.end));
    for (number, range) in ranges.iter().enumerate() {
        if chosen(number) {
            range.clone().for_each(|chunk| chunks.insert(chunk));
        }
    }
    Cut { epoch, chunks }
}

/// Calls `add` with what says of each write whether it is there.
fn systematic(ranges: &[std::ops::Range<usize>], mut add: impl FnMut(&dyn Fn(usize) -> bool)) {
    let count = ranges.len();
    if count <= EXHAUSTIVE {
        (0..1u64 << count).for_each(|set| add(&|write| set >> write & 1 == 1));
        return;
    }
    (0..=count).for_each(|length| add(&|write| write < length));
    (0..count).for_each(|missing| add(&|write| write != missing));
}

/// A prefix whose last write is torn, or any subset, whole or torn.
fn by_chance(epoch: usize, ranges: &[std::ops::Range<usize>], chance: &mut fastrand::Rng) -> Cut {
    let style = chance.u8(..3);
    let part = f64::from(chance.u8(1..8)) / 8.0;
    let end = chance.usize(..ranges.len());
    let mut chunks = Chunks::none(ranges.last().map_or(0, |last| last.end));
    for (number, range) in ranges.iter().enumerate() {
        let (whole, torn) = match style {
            0 => (number < end, number == end),
            1 => (chance.f64() < part, false),
            _ => (chance.f64() < part, chance.f64() < part),
        };
        let there = |_: &usize| whole || torn && chance.bool();
        range
            .clone()
            .filter(there)
            .for_each(|chunk| chunks.insert(chunk));
    }
    Cut { epoch, chunks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power_cut::write_log::Write;

    fn epoch(lengths: &[usize]) -> Epoch {
        let mut offset = 0;
        let mut write = |length: &usize| {
            offset += 1 << 20;
            Write {
                offset,
                data: vec![1; *length],
            }
        };
        Epoch {
            writes: lengths.iter().map(&mut write).collect(),
            ..Epoch::default()
        }
    }

    #[test]
    fn few_writes_are_tried_in_every_subset() {
        let epochs = [epoch(&[512, 4096, 512])];
        let cuts = choose(&epochs, 8, 1);
        assert_eq!(cuts.len(), 8);
        assert_eq!(cuts.iter().collect::<HashSet<_>>().len(), 8);
    }

    #[test]
    fn a_long_write_is_torn_at_four_kibibytes() {
        let epochs = [epoch(&[10_000])];
        // None, all, and the six parts that are neither.
        let cuts = choose(&epochs, 100, 1);
        assert_eq!(cuts.len(), 8);
        let pieces: Vec<usize> = cuts
            .iter()
            .map(|cut| cut.pieces(&epochs[0]).map(|piece| piece.1.len()).sum())
            .collect();
        assert!(pieces.contains(&10_000) && pieces.contains(&1808) && pieces.contains(&5904));
    }

    #[test]
    fn an_epoch_with_few_cuts_is_not_crowded_out_by_one_with_many() {
        let epochs = [epoch(&[512; 10]), epoch(&[512; 2]), epoch(&[512; 10])];
        let cuts = choose(&epochs, 11, 1);
        let of = |epoch| cuts.iter().filter(|cut| cut.epoch == epoch).count();
        // The second one has four, of which the last is the first of the next epoch.
        assert_eq!([of(0), of(1), of(2)], [4, 3, 4]);
    }

    #[test]
    fn the_number_of_cuts_is_bounded_and_the_seed_decides() {
        let epochs = [epoch(&[512; 40]), epoch(&[512; 8])];
        assert_eq!(choose(&epochs, 50, 1).len(), 50);
        assert_eq!(choose(&epochs, 5000, 1).len(), 5000);
        assert!(choose(&epochs, 50, 1) == choose(&epochs, 50, 1));
        assert!(choose(&epochs, 50, 1) != choose(&epochs, 50, 2));
    }
}
