//! Which old content is most like a new one that no name gives a base for: by sketches, the smallest hashes of all runs
//! of a few bytes. Contents that have much in common have many of these in common, wherever in them it stands.

use std::collections::HashMap;

/// Bytes of a run that is hashed.
const RUN: usize = 24;
/// Hashes that a sketch keeps.
const KEPT: usize = 32;
/// Hashes that two sketches must share: an eighth.
const SHARED: usize = KEPT / 8;
/// An odd number with bits everywhere, to the base of which runs are numbers.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// How many contents are remembered for a hash: what all of a kind have tells none of them apart.
const OWNERS: usize = 64;
/// Shorter contents are not worth looking for.
pub const MIN_SIZE: u64 = 4096;

/// The smallest hashes of a content's runs, ascending, each once.
pub fn sketch(content: &[u8]) -> Vec<u64> {
    let leaving = (0..RUN).fold(1u64, |power, _| power.wrapping_mul(FACTOR));
    let (mut run, mut kept) = (0u64, Vec::with_capacity(KEPT + 1));
    for (at, byte) in content.iter().enumerate() {
        run = run.wrapping_mul(FACTOR).wrapping_add(u64::from(*byte) + 1);
        if at >= RUN {
            let left = u64::from(content[at - RUN]) + 1;
            run = run.wrapping_sub(left.wrapping_mul(leaving));
        }
        // The low bits of a product know little of the high ones.
        let hash = (run ^ (run >> 29)).wrapping_mul(FACTOR);
        let is_small = kept.len() < KEPT || kept.last().is_some_and(|last| hash < *last);
        if at + 1 >= RUN
            && is_small
            && let Err(place) = kept.binary_search(&hash)
        {
            kept.insert(place, hash);
            kept.truncate(KEPT);
        }
    }
    kept
}

/// Whether two contents have runs in common, though one may not see it from outside: parts of an archive.
pub fn are_alike(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (sketch(one), sketch(other));
    let shared = one.iter().filter(|hash| other.binary_search(hash).is_ok());
    shared.count() >= 2
}

/// Old sketches by their hashes.
#[derive(Debug, Default)]
pub struct Sketches {
    owners: HashMap<u64, Vec<usize>>,
}

impl Sketches {
    /// Adds the sketch of the old object with this number.
    pub fn add(&mut self, number: usize, sketch: &[u64]) {
        for hash in sketch {
            let owners = self.owners.entry(*hash).or_default();
            if owners.len() < OWNERS {
                owners.push(number);
            }
        }
    }

    /// The number of the old object that shares the most hashes, the lowest of equals; none if that is too few.
    pub fn most_like(&self, sketch: &[u64]) -> Option<usize> {
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for owner in sketch.iter().filter_map(|hash| self.owners.get(hash)) {
            for number in owner {
                *shared.entry(*number).or_default() += 1;
            }
        }
        let best = shared
            .into_iter()
            .max_by_key(|(number, count)| (*count, std::cmp::Reverse(*number)));
        best.filter(|(_, count)| *count >= SHARED)
            .map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(mut seed: u64, length: usize) -> Vec<u8> {
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn half_of_a_content_is_recognised_wherever_it_stands_and_another_is_not() {
        let mut sketches = Sketches::default();
        let old: Vec<Vec<u8>> = (1..=8).map(|seed| noise(seed * 977, 50_000)).collect();
        for (number, old) in old.iter().enumerate() {
            sketches.add(number, &sketch(old));
        }
        for (number, old) in old.iter().enumerate() {
            let new = [&noise(99, 25_001)[..], &old[20_000..45_000]].concat();
            assert_eq!(sketches.most_like(&sketch(&new)), Some(number));
        }
        assert_eq!(sketches.most_like(&sketch(&noise(5, 50_000))), None);
    }

    #[test]
    fn contents_that_share_an_eighth_are_alike_and_others_are_not() {
        let (one, other) = (noise(1, 80_000), noise(2, 80_000));
        let mixed = [&other[..50_000], &one[20_000..50_000]].concat();
        assert!(are_alike(&one, &mixed));
        assert!(!are_alike(&one, &other));
    }

    #[test]
    fn a_content_of_one_byte_repeated_has_one_hash() {
        assert_eq!(sketch(&[0; 10_000]).len(), 1);
        assert_eq!(sketch(&[0; RUN - 1]), [0u64; 0]);
    }
}
