//! What to get and from where, decided before any of it is fetched.
//!
//! A plan is made of rounds: the frames of a round need only bases that the pool has or that earlier rounds bring.

use std::io::Read;

use reclone_format::pack::{HEADER, PackHeader};
use reclone_format::{Error as FormatError, Frame, ObjectId, PackIndex, PackRef, PackedObject};

use crate::error::{Error, Result};
use crate::store::Store;
use crate::wanted::Wanted;

/// The frames to read from one pack, in the order of their bytes.
#[derive(Debug)]
pub struct PackPlan {
    /// The pack.
    pub pack: PackRef,
    /// The frames.
    pub frames: Vec<Frame>,
}

/// What to fetch.
#[derive(Debug, Default)]
pub struct Plan {
    /// Rounds, each to be finished before the next begins.
    pub rounds: Vec<Vec<PackPlan>>,
}

impl Plan {
    /// Bytes of all frames, as they are in the packs.
    pub fn transfer(&self) -> u64 {
        self.frames().map(|frame| frame.length).sum()
    }

    /// About the bytes of disk that all objects of these frames take. What shrinks to less than a 64th is mostly zeros,
    /// which become holes.
    pub fn space(&self) -> u64 {
        let space = |frame: &Frame| frame.content().min(frame.length.saturating_mul(64));
        self.frames().map(space).fold(0, u64::saturating_add)
    }

    fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.rounds.iter().flatten().flat_map(|pack| &pack.frames)
    }
}

/// Packs and, once it was needed, the frames of each that were not chosen yet.
pub struct Sources<'a> {
    store: &'a dyn Store,
    packs: Vec<(PackRef, Option<Vec<Frame>>)>,
}

impl<'a> Sources<'a> {
    /// The packs of a head, to be looked at in this order.
    pub fn new(store: &'a dyn Store, packs: &[PackRef]) -> Self {
        let packs = packs.iter().map(|pack| (pack.clone(), None)).collect();
        Self { store, packs }
    }

    /// Gives the first pack's index, where it has been read already.
    pub fn set_first(&mut self, index: PackIndex) {
        if let Some((_, frames)) = self.packs.first_mut() {
            *frames = Some(index.into_frames());
        }
    }

    /// Decides where every object of `wanted` that is still open comes from. `held` says whether a base is there.
    pub fn plan(mut self, wanted: &Wanted, held: impl Fn(&ObjectId) -> bool) -> Result<Plan> {
        let mut located = Located::new(wanted);
        let mut plan = Plan::default();
        while located.missing > 0 {
            let before = located.missing;
            located.round += 1;
            let mut round = Vec::new();
            for (pack, frames) in &mut self.packs {
                if located.missing == 0 {
                    break;
                }
                let frames = match frames {
                    Some(frames) => frames,
                    None => frames.insert(open_pack(self.store, pack)?.0.into_frames()),
                };
                let ready = |located: &Located, frame: &Frame| {
                    let mut bases = frame.bases.iter();
                    bases.all(|base| located.is_earlier(base) || held(&base.id))
                };
                let chosen: Vec<Frame> = frames
                    .extract_if(.., |frame| ready(&located, frame) && located.take(frame))
                    .collect();
                if !chosen.is_empty() {
                    let pack = pack.clone();
                    round.push(PackPlan {
                        pack,
                        frames: chosen,
                    });
                }
            }
            if located.missing == before {
                return Err(Error::Absent(located.lost()));
            }
            plan.rounds.push(round);
        }
        Ok(plan)
    }
}

/// In which round each wanted object comes: two bytes an object, where a hash set would need forty.
struct Located<'a> {
    wanted: &'a Wanted,
    /// By place in `wanted`; 0 for those that are not located yet, `HERE` for those that are staged already.
    rounds: Vec<u16>,
    round: u16,
    missing: usize,
}

/// The round of what need not be fetched.
const HERE: u16 = u16::MAX;

impl<'a> Located<'a> {
    fn new(wanted: &'a Wanted) -> Self {
        let places = 0..wanted.objects().len();
        let rounds: Vec<u16> = places
            .map(|at| if wanted.is_claimed(at) { HERE } else { 0 })
            .collect();
        let missing = rounds.iter().filter(|round| **round == 0).count();
        Self {
            wanted,
            rounds,
            round: 0,
            missing,
        }
    }

    /// Whether an object is staged before this round begins.
    fn is_earlier(&self, object: &PackedObject) -> bool {
        let round = self.wanted.place(object).map(|at| self.rounds[at]);
        round.is_some_and(|round| round == HERE || (round > 0 && round < self.round))
    }

    /// Locates the objects of `frame` in this round; whether there were any to locate.
    fn take(&mut self, frame: &Frame) -> bool {
        let before = self.missing;
        for at in frame
            .objects
            .iter()
            .filter_map(|object| self.wanted.place(object))
        {
            if self.rounds[at] == 0 {
                self.rounds[at] = self.round;
                self.missing -= 1;
            }
        }
        self.missing < before
    }

    /// An object that no pack has.
    fn lost(&self) -> ObjectId {
        let at = self.rounds.iter().position(|round| *round == 0);
        self.wanted.objects()[at.unwrap_or(0)].id
    }
}

/// Reads a pack's index. The reader stands behind it and ends with the pack's prelude.
pub fn open_pack(store: &dyn Store, pack: &PackRef) -> Result<(PackIndex, Box<dyn Read + Send>)> {
    let place = pack.id.store_path();
    let mut reader = store.read(&place, 0, pack.prelude)?;
    let index = read_index(&mut reader, pack).map_err(Error::published(&place))?;
    Ok((index, reader))
}

fn read_index(reader: &mut impl Read, pack: &PackRef) -> Result<PackIndex, FormatError> {
    let bad = |reason: &str| FormatError::Malformed {
        structure: "pack",
        reason: reason.to_owned(),
    };
    let mut bytes = Vec::new();
    reader
        .by_ref()
        .take(HEADER as u64)
        .read_to_end(&mut bytes)?;
    let end = PackHeader::parse(&bytes)?.index_end();
    if end > pack.prelude {
        return Err(bad("its index is longer than the head says"));
    }
    // The memory grows with what really comes.
    reader
        .by_ref()
        .take(end - HEADER as u64)
        .read_to_end(&mut bytes)?;
    let index = PackIndex::parse(&bytes, &pack.id)?;
    match index.pack_size() == pack.size {
        true => Ok(index),
        false => Err(bad("its size is not the one that the head says")),
    }
}
