//! What to get and from where, decided before any of it is fetched.
//!
//! A plan is made of rounds. The frames of a round need only bases that the pool has, that earlier rounds bring, or that frames
//! before them in the same round do.

mod links;

use log::warn;
use reclone_format::{Frame, ObjectId, PackRef, PackedObject};

use crate::error::{Error, Result};
use crate::open_pack::{OpenPack, Rest};
use crate::store::Store;
use crate::wanted::Wanted;

/// Gaps up to this many bytes are read and dropped, where a further request would cost more.
const GAP: u64 = 64 * 1024;
/// Larger gaps are, too, the smallest first, as long as they add no more than one byte to this many that are wanted.
const WASTE: u64 = 64;

/// The frames to read from one pack, in the order of their bytes.
pub struct PackPlan {
    /// The pack.
    pub pack: PackRef,
    /// The frames.
    pub frames: Vec<Frame>,
    /// Whether it is a delta pack, of which all was asked for with the index.
    pub is_link: bool,
    /// What is left of the answer that the index came in.
    pub rest: Option<Rest>,
}

impl PackPlan {
    /// How many requests for ranges bring the frames.
    pub fn requests(&self) -> usize {
        self.runs().count()
    }

    /// Bytes that these requests bring: the frames, and gaps between them.
    pub fn bytes(&self) -> u64 {
        let bytes = |run: &[Frame]| match (run.first(), run.last()) {
            (Some(first), Some(last)) => end_of(last) - first.offset,
            _ => 0,
        };
        self.runs().map(bytes).sum()
    }

    fn runs(&self) -> impl Iterator<Item = &[Frame]> {
        runs(&self.frames, widest_gap(&self.frames))
    }
}

/// What to fetch.
#[derive(Default)]
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
    /// which become holes; but not where bases say what it is.
    pub fn space(&self) -> u64 {
        let space = |frame: &Frame| match frame.bases.is_empty() {
            true => frame.content().min(frame.length.saturating_mul(64)),
            false => frame.content(),
        };
        self.frames().map(space).fold(0, u64::saturating_add)
    }

    /// Whether anything is made from what is here already.
    pub fn has_bases(&self) -> bool {
        self.frames().any(|frame| !frame.bases.is_empty())
    }

    fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.rounds.iter().flatten().flat_map(|pack| &pack.frames)
    }
}

/// Packs and, once it was needed, the frames of each that were not chosen yet.
pub struct Sources<'a> {
    store: &'a dyn Store,
    links: Vec<OpenPack>,
    packs: Vec<(PackRef, Option<OpenPack>)>,
    /// Whether frames with bases count.
    bases: bool,
    /// The most memory that a frame of the links may take, in bytes.
    memory: u64,
}

impl<'a> Sources<'a> {
    /// The packs of a head, to be looked at in this order.
    pub fn new(store: &'a dyn Store, packs: &[PackRef]) -> Self {
        Self {
            store,
            links: Vec::new(),
            packs: packs.iter().map(|pack| (pack.clone(), None)).collect(),
            bases: true,
            memory: u64::MAX,
        }
    }

    /// Delta packs that lead to the generation, one after the other. What they bring is taken from them, as far as a frame takes
    /// at most `memory` bytes.
    pub fn with_links(mut self, links: Vec<OpenPack>, memory: u64) -> Self {
        (self.links, self.memory) = (links, memory);
        self
    }

    /// One of the packs, where it is open already.
    pub fn with_open(mut self, open: OpenPack) -> Self {
        let place = self.packs.iter_mut().find(|(pack, _)| *pack == open.pack);
        if let Some((_, known)) = place {
            *known = Some(open);
        }
        self
    }

    /// Only frames without bases.
    pub fn without_bases(mut self) -> Self {
        self.bases = false;
        self
    }

    /// Decides where every object of `wanted` that is still open comes from. `held` says whether a base is there. Gives the
    /// objects, too, that are wanted only because others are made from them.
    pub fn plan(
        mut self,
        wanted: &Wanted,
        held: impl Fn(&ObjectId) -> bool,
    ) -> Result<(Plan, Vec<PackedObject>)> {
        let mut located = Located::new(wanted);
        let mut plan = Plan::default();
        let links = std::mem::take(&mut self.links);
        let chosen = links::choose(links, wanted, &held, self.memory);
        if chosen.too_large > 0 {
            warn!(
                "{} frames need more memory than the {} MiB that are there for them: their objects are fetched whole",
                chosen.too_large,
                self.memory >> 20
            );
        }
        located.round = 1;
        for frame in chosen.packs.iter().flat_map(|pack| &pack.frames) {
            located.take(frame);
        }
        if !chosen.packs.is_empty() {
            plan.rounds.push(chosen.packs);
        }
        while located.missing > 0 {
            located.round += 1;
            let round = self.round(&mut located, &held)?;
            if round.is_empty() {
                return Err(Error::Absent(located.lost()));
            }
            plan.rounds.push(round);
        }
        Ok((plan, chosen.between))
    }

    /// What the packs have of what is missing, over bases that are there before this round.
    fn round(
        &mut self,
        located: &mut Located,
        held: &impl Fn(&ObjectId) -> bool,
    ) -> Result<Vec<PackPlan>> {
        let mut round = Vec::new();
        for (pack, open) in &mut self.packs {
            if located.missing == 0 {
                break;
            }
            let open = match open {
                Some(open) => open,
                None => open.insert(OpenPack::open(self.store, pack, pack.prelude)?),
            };
            let ready = |located: &Located, frame: &Frame| {
                let mut bases = frame.bases.iter();
                let may = self.bases || frame.bases.is_empty();
                may && bases.all(|base| located.is_earlier(base) || held(&base.id))
            };
            let chosen: Vec<Frame> = open
                .frames
                .extract_if(.., |frame| ready(located, frame) && located.take(frame))
                .collect();
            if !chosen.is_empty() {
                round.push(PackPlan {
                    pack: pack.clone(),
                    frames: chosen,
                    is_link: false,
                    rest: open.rest.take(),
                });
            }
        }
        Ok(round)
    }
}

/// Where the bytes of a frame end in its pack.
pub fn end_of(frame: &Frame) -> u64 {
    frame.offset + frame.length
}

/// The widest gap between frames that is rather read than jumped over.
pub fn widest_gap(frames: &[Frame]) -> u64 {
    let wanted: u64 = frames.iter().map(|frame| frame.length).sum();
    let gaps = frames
        .windows(2)
        .map(|pair| pair[1].offset - end_of(&pair[0]));
    let mut gaps: Vec<u64> = gaps.filter(|gap| *gap > GAP).collect();
    gaps.sort_unstable();
    let mut waste = 0u64;
    let within = gaps.into_iter().take_while(|gap| {
        waste = waste.saturating_add(*gap);
        waste <= wanted / WASTE
    });
    within.last().unwrap_or(GAP)
}

/// The frames of one pack that one request brings, again and again: no gap between them is wider than `gap`.
pub fn runs(frames: &[Frame], gap: u64) -> impl Iterator<Item = &[Frame]> {
    frames.chunk_by(move |a, b| b.offset - end_of(a) <= gap)
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
            .map(|at| if wanted.is_open(at) { 0 } else { HERE })
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

#[cfg(test)]
mod tests {
    use super::*;
    use reclone_format::{Codec, PackId};

    fn frames(gaps: &[u64], length: u64) -> Vec<Frame> {
        let mut offset = 0;
        let mut frame = |gap: &u64| {
            let at = offset + gap;
            offset = at + length;
            Frame {
                offset: at,
                length,
                codec: Codec::Stored,
                window_log: 0,
                bases: Vec::new(),
                objects: Vec::new(),
            }
        };
        gaps.iter().map(&mut frame).collect()
    }

    fn requests(gaps: &[u64], length: u64) -> usize {
        let frames = frames(gaps, length);
        runs(&frames, widest_gap(&frames)).count()
    }

    #[test]
    fn gaps_are_read_while_they_are_narrow_or_add_little() {
        assert_eq!(requests(&[0, GAP, GAP, GAP], 1), 1);
        assert_eq!(requests(&[0, GAP + 1, GAP], 1), 2);
        // Four times 8 MiB are wanted, of which a 64th is 512 KiB.
        let (wide, wider) = (170 << 10, 180 << 10);
        assert_eq!(requests(&[0, wide, wide, wide], 8 << 20), 1);
        assert_eq!(requests(&[0, wide, wider, wide], 8 << 20), 2);
        assert_eq!(requests(&[0, 513 << 10, 0, 0], 8 << 20), 2);
        let plan = PackPlan {
            pack: PackRef {
                id: PackId::from_bytes([0; 32]),
                size: 0,
                prelude: 0,
            },
            frames: frames(&[7, 5, GAP + 1], 10),
            is_link: false,
            rest: None,
        };
        assert_eq!((plan.requests(), plan.bytes()), (2, 10 + 5 + 10 + 10));
    }
}
