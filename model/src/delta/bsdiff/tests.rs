#![allow(clippy::unwrap_used)]
//! Whatever the two contents are, the patch makes the one of the other; and where code moved, it is small.

use reclone_format::patch;

use super::*;

/// A generator of numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn bytes(&mut self, length: usize, letters: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(letters) as u8).collect()
    }

    /// Pieces of `old` and of nothing, in another order, with bytes changed.
    fn mutate(&mut self, old: &[u8]) -> Vec<u8> {
        let mut new = Vec::new();
        for _ in 0..1 + self.below(6) {
            let start = self.below(old.len() + 1);
            let end = start + self.below(old.len() - start + 1);
            new.extend_from_slice(&old[start..end]);
            let length = self.below(40);
            new.extend(self.bytes(length, 256));
        }
        for _ in 0..self.below(20) {
            if !new.is_empty() {
                let at = self.below(new.len());
                new[at] = new[at].wrapping_add(1);
            }
        }
        new.push(7);
        new
    }
}

fn applied(difference: &Difference, old: &[u8], size: usize) -> Vec<u8> {
    let Difference { steps, diff, extra } = difference;
    let control = patch::control(steps).unwrap();
    let streams = [&control, diff, extra].map(|stream| zstd::encode_all(&stream[..], 1).unwrap());
    let bytes = patch::join(&streams[0], &streams[1], &streams[2]).unwrap();
    let mut new = Vec::new();
    patch::apply(&mut &bytes[..], old, 20, size as u64, &mut new).unwrap();
    new
}

#[test]
fn the_patch_of_any_two_contents_makes_the_one_of_the_other() {
    let mut dice = Dice(88_172_645_463_325_252);
    for round in 0..400 {
        let letters = [2, 4, 256][round % 3];
        let length = dice.below(600);
        let old = dice.bytes(length, letters);
        let new = dice.mutate(&old);
        let difference = difference(&old, &new);
        assert_eq!(applied(&difference, &old, new.len()), new, "round {round}");
        let sum: u64 = difference.steps.iter().map(|step| step.0 + step.1).sum();
        assert_eq!(sum, new.len() as u64);
    }
}

#[test]
fn code_that_moved_costs_what_changed_in_it() {
    let mut dice = Dice(1);
    let old = dice.bytes(100_000, 256);
    // Two hundred addresses that grew by the 16 bytes which were put in before.
    let mut new = old.clone();
    for address in (250..100_000).step_by(500) {
        new[address] = new[address].wrapping_add(16);
    }
    new.splice(1000..1000, dice.bytes(16, 256));
    let difference = difference(&old, &new);
    assert_eq!(difference.steps, [(1000, 16, 0), (99_000, 0, 0)]);
    assert_eq!(difference.extra, new[1000..1016]);
    let changed = difference.diff.iter().filter(|byte| **byte != 0);
    assert_eq!(changed.clone().count(), 200);
    assert!(changed.clone().all(|byte| *byte == 16));
}

#[test]
fn a_content_from_the_middle_of_the_old_one_begins_with_a_new_byte() {
    let mut dice = Dice(2);
    let old = dice.bytes(10_000, 256);
    let new = &old[5000..6000];
    let difference = difference(&old, new);
    assert_eq!(difference.steps, [(0, 1, 5001), (999, 0, 0)]);
    assert_eq!(applied(&difference, &old, 1000), new);
}

#[test]
fn without_an_old_content_all_is_new() {
    let difference = difference(b"", b"new");
    assert_eq!(difference.steps, [(0, 3, 0)]);
    assert_eq!(difference.extra, b"new");
}
