//! What to take from delta packs that lead from one generation to the next.

use std::collections::{HashMap, HashSet};

use reclone_format::{Frame, ObjectId, PackedObject};

use crate::open_pack::OpenPack;
use crate::plan::PackPlan;
use crate::wanted::Wanted;

/// What was chosen.
#[derive(Default)]
pub struct Chosen {
    /// Frames, in an order in which each comes behind those that yield its bases.
    pub packs: Vec<PackPlan>,
    /// What they yield that is not wanted but for what is made from it.
    pub between: Vec<PackedObject>,
    /// Frames that would take too much memory.
    pub too_large: u64,
}

/// Chooses the frames of `links` that yield what is open of `wanted`, and those that yield bases of these. `held` says whether
/// a base is there; a frame must take at most `memory` bytes.
pub fn choose(
    mut links: Vec<OpenPack>,
    wanted: &Wanted,
    held: &impl Fn(&ObjectId) -> bool,
    memory: u64,
) -> Chosen {
    let mut chosen = Chosen::default();
    let is_open = |object: &PackedObject| wanted.place(object).map(|at| wanted.is_open(at));
    let is_there = |base: &PackedObject| is_open(base) == Some(false) || held(&base.id);
    drop_unusable(&mut links, &is_there, memory, &mut chosen.too_large);
    let mut between = HashMap::new();
    // From the last to the first: who needs a base comes behind who yields it.
    for link in links.iter_mut().rev() {
        let mut frames: Vec<Frame> = link.frames.drain(..).collect();
        let mut kept = Vec::new();
        let mut seen = HashSet::new();
        while let Some(frame) = frames.pop() {
            let is_needed = |object: &PackedObject| {
                let wanted = is_open(object) == Some(true) || between.contains_key(&object.id);
                wanted && !seen.contains(&object.id)
            };
            if !frame.objects.iter().any(is_needed) {
                continue;
            }
            seen.extend(frame.objects.iter().map(|object| object.id));
            let bases = frame.bases.iter();
            let further = bases.filter(|base| !held(&base.id) && is_open(base).is_none());
            between.extend(further.map(|base| (base.id, *base)));
            kept.push(frame);
        }
        kept.reverse();
        link.frames = kept;
    }
    chosen.between = between.into_values().collect();
    let links = links.into_iter().filter(|link| !link.frames.is_empty());
    let packs = links.map(|link| PackPlan {
        pack: link.pack,
        frames: link.frames,
        is_link: true,
        rest: link.rest,
    });
    chosen.packs = packs.collect();
    chosen
}

/// Leaves the frames whose bases are there or come from frames that are left.
fn drop_unusable(
    links: &mut [OpenPack],
    is_there: &impl Fn(&PackedObject) -> bool,
    memory: u64,
    too_large: &mut u64,
) {
    let mut yielded = HashSet::new();
    for link in links {
        link.frames.retain(|frame| {
            let mut bases = frame.bases.iter();
            if !bases.all(|base| yielded.contains(&base.id) || is_there(base)) {
                return false;
            }
            if frame.memory() > memory {
                *too_large += 1;
                return false;
            }
            yielded.extend(frame.objects.iter().map(|object| object.id));
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reclone_format::{Codec, PackId, PackRef};

    fn object(name: u8) -> PackedObject {
        PackedObject {
            id: ObjectId::from_bytes([name; 32]),
            size: 10,
        }
    }

    /// A pack of frames, each of what it is based on and what it yields.
    fn link(frames: &[(&[u8], &[u8])]) -> OpenPack {
        let objects = |names: &[u8]| names.iter().map(|name| object(*name)).collect();
        let frame = |(bases, yields): &(&[u8], &[u8])| Frame {
            offset: 0,
            length: 1,
            codec: Codec::Zstd,
            window_log: 10,
            bases: objects(bases),
            objects: objects(yields),
        };
        OpenPack {
            pack: PackRef {
                id: PackId::from_bytes([0; 32]),
                size: 1,
                prelude: 1,
            },
            frames: frames.iter().map(frame).collect(),
            rest: None,
        }
    }

    /// What the chosen frames yield, pack by pack, and what of it is only a means.
    fn chosen(links: Vec<OpenPack>, wanted: &[u8], memory: u64) -> (Vec<Vec<u8>>, Vec<u8>, u64) {
        let wanted = Wanted::new(wanted.iter().map(|name| object(*name)).collect());
        // The pool has what is named below 10.
        let held = |id: &ObjectId| id.as_bytes()[0] < 10;
        let chosen = choose(links, &wanted, &held, memory);
        let name = |object: &PackedObject| object.id.as_bytes()[0];
        let yields = |pack: &PackPlan| {
            let objects = pack.frames.iter().flat_map(|frame| &frame.objects);
            objects.map(name).collect()
        };
        let mut between: Vec<u8> = chosen.between.iter().map(name).collect();
        between.sort_unstable();
        (
            chosen.packs.iter().map(yields).collect(),
            between,
            chosen.too_large,
        )
    }

    #[test]
    fn frames_are_taken_for_what_is_wanted_and_for_its_bases() {
        let links = || {
            vec![
                link(&[(&[1], &[11]), (&[2], &[12]), (&[3, 11], &[13])]),
                link(&[(&[12], &[22]), (&[13, 4], &[23]), (&[22], &[24])]),
            ]
        };
        assert_eq!(
            chosen(links(), &[23], 1 << 20),
            (vec![vec![11, 13], vec![23]], vec![11, 13], 0)
        );
        assert_eq!(
            chosen(links(), &[12, 24], 1 << 20),
            (vec![vec![12], vec![22, 24]], vec![22], 0)
        );
        assert_eq!(chosen(links(), &[], 1 << 20), (vec![], vec![], 0));
    }

    #[test]
    fn a_frame_without_its_base_or_beyond_the_memory_takes_those_that_need_it_along() {
        let lost = vec![link(&[(&[30], &[11]), (&[11], &[12]), (&[1], &[13])])];
        assert_eq!(
            chosen(lost, &[11, 12, 13], 1 << 20),
            (vec![vec![13]], vec![], 0)
        );
        // A window of 1024 bytes and bases of 10 each.
        let large = vec![link(&[(&[1, 2], &[11]), (&[11], &[12]), (&[1], &[13])])];
        assert_eq!(
            chosen(large, &[11, 12, 13], 1034),
            (vec![vec![13]], vec![], 1)
        );
    }
}
