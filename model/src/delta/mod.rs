//! Delta packs: what a clone that has an older generation whole needs to have a newer one. See `docs/delta.md`.
//!
//! Everything comes from the store's packs; the model's tree is not read. Data flows one way: the objects of both
//! generations (`tree_objects`) → a base for each new one (`bases`, `names`) → groups that share a frame (`groups`) →
//! the smallest bytes of each (`encode`, `bsdiff`) → a pack (`delta_pack`).

// the ground
mod delta_pack;
mod each;
pub mod effort;
mod tree_objects;

// which base
mod bases;
mod contents;
mod names;
mod similar;

// which bytes
mod bsdiff;
mod encode;
mod groups;
mod repack;
mod suffixes;

use std::collections::{HashMap, HashSet};
use std::fs::File;

use reclone_format::{DeltaRef, Frame, Head, ObjectId, PackedObject};

use crate::error::{Context, InFile, Result};
use crate::pack_reader::{FrameBytes, read_index, read_manifest};
use crate::progress::{Progress, Unit};
use crate::store::Store;
use bases::Names;
use contents::Contents;
use delta_pack::DeltaPack;
use each::{collect, each_beside};
use effort::Effort;
use groups::{Group, Member, groups};
use tree_objects::{TreeObject, objects_of};

/// Makes the pack that leads from the generation of `from` to that of `to`, whose manifests differ. It is durable when
/// this returns; no head names it yet. Memory: 2 GiB at most, whatever the trees are.
pub fn make(store: &Store, from: &Head, to: &Head, effort: Effort) -> Result<DeltaRef> {
    let (old_manifest, manifest) = (read_manifest(store, from)?, read_manifest(store, to)?);
    let old = objects_of(&old_manifest).in_file(&store.pack_path(&from.packs[0].id))?;
    let all = objects_of(&manifest).in_file(&store.pack_path(&to.packs[0].id))?;
    let had: HashSet<ObjectId> = old.iter().map(|old| old.object.id).collect();
    let new: Vec<TreeObject> = all
        .iter()
        .filter(|new| !had.contains(&new.object.id))
        .cloned()
        .collect();
    let delta = Delta {
        store,
        from,
        to,
        effort,
        known: old
            .iter()
            .chain(&all)
            .map(|known| (known.object.id, known.object.size))
            .collect(),
    };
    let (contents, bases) = delta.find_bases(&new, &old, &all)?;
    let members = delta.members(&contents, &new, &bases)?;
    let groups = groups(&members);
    let pack = DeltaPack::create(store, groups.len() + 1)?;
    let total = groups.iter().map(Group::content).sum();
    let progress = Progress::start("delta", Unit::Bytes, total);
    let large = groups.partition_point(Group::is_large);
    each_beside(large, groups.len() + 1, |at| {
        // The manifest is the first frame of the pack and the last of the work.
        if at == groups.len() {
            return delta.add_manifest(&pack, &old_manifest, &manifest);
        }
        delta.add(&pack, at + 1, &groups[at], &contents)?;
        progress.add(groups[at].content());
        Ok(())
    })?;
    drop(progress);
    Ok(DeltaRef {
        from: from.generation,
        pack: pack.finish(store)?,
    })
}

struct Delta<'a> {
    store: &'a Store,
    from: &'a Head,
    to: &'a Head,
    effort: Effort,
    /// All objects of both generations, with their sizes.
    known: HashMap<ObjectId, u64>,
}

impl Delta<'_> {
    /// A base for each new object, by its name or else by its content, and the contents of all that were looked at.
    fn find_bases(
        &self,
        new: &[TreeObject],
        old: &[TreeObject],
        all: &[TreeObject],
    ) -> Result<(Contents, Vec<Option<PackedObject>>)> {
        let names = Names::of(old);
        let base = |new| names.base_of(new).map(|at| old[at].object);
        let mut bases: Vec<Option<PackedObject>> = new.iter().map(base).collect();
        let of_size =
            |object: &PackedObject| (similar::MIN_SIZE..=bases::MAX_BASE).contains(&object.size);
        let nameless: Vec<usize> = (0..new.len())
            .filter(|at| bases[*at].is_none() && of_size(&new[*at].object))
            .collect();
        let stays: HashSet<ObjectId> = all.iter().map(|new| new.object.id).collect();
        let gone = old.iter().map(|old| old.object);
        let gone: Vec<PackedObject> = gone
            .filter(|old| !nameless.is_empty() && of_size(old) && !stays.contains(&old.id))
            .collect();
        let contents = self.gather(new, bases.iter().flatten().chain(&gone))?;
        let sketched = |object: &PackedObject| {
            let content = contents.read_all(self.store, &[*object])?;
            Ok(similar::sketch(&content))
        };
        let sketches = collect(gone.len(), |at| sketched(&gone[at]))?;
        let mut known = similar::Sketches::default();
        for (number, sketch) in sketches.iter().enumerate() {
            known.add(number, sketch);
        }
        let found = collect(nameless.len(), |at| {
            let sketch = sketched(&new[nameless[at]].object)?;
            Ok(known.most_like(&sketch))
        })?;
        for (at, number) in nameless.into_iter().zip(found) {
            bases[at] = number.map(|number| gone[number]);
        }
        Ok((contents, bases))
    }

    /// Unpacks all that is worked on as a whole.
    fn gather<'b>(
        &self,
        new: &'b [TreeObject],
        old: impl Iterator<Item = &'b PackedObject>,
    ) -> Result<Contents> {
        let new = new.iter().map(|new| &new.object);
        let wanted: HashSet<ObjectId> = new
            .filter(|object| object.size <= bases::MAX_BASE)
            .chain(old)
            .map(|object| object.id)
            .collect();
        let packs = self.to.packs.iter().chain(&self.from.packs);
        Contents::gather(self.store, packs, &wanted)
    }

    /// Every new object with what decides how it is packed.
    fn members<'b>(
        &self,
        contents: &Contents,
        new: &'b [TreeObject],
        bases: &[Option<PackedObject>],
    ) -> Result<Vec<Member<'b>>> {
        let member = |(new, base): (&'b TreeObject, &Option<PackedObject>)| {
            let is_huge = new.object.size > bases::MAX_BASE;
            let mut magic = [0; 4];
            if !is_huge && new.object.size >= 4 {
                contents.read_start(self.store, &new.object, &mut magic)?;
            }
            Ok(Member {
                new,
                base: base.filter(|_| !is_huge),
                is_code: magic == *b"\x7fELF",
                is_packed: repack::may_be(&magic),
            })
        };
        new.iter().zip(bases).map(member).collect()
    }

    fn add(&self, pack: &DeltaPack, at: usize, group: &Group, contents: &Contents) -> Result<()> {
        if group.is_huge() {
            return self.copy(pack, at, group);
        }
        let content = contents.read_all(self.store, &group.objects)?;
        let repacked = match group.objects[..] {
            [object] if group.is_packed && self.effort.patches() => {
                repack::encode(object, &content, &self.known, self.effort)
                    .context("compress for", self.store.root())?
            }
            _ => None,
        };
        let base = contents.read_all(self.store, &group.bases)?;
        if let Some(repacked) = repacked {
            let (frame, bytes) = encode::smallest(repacked, group, &content, &base, self.effort)
                .context("compress for", self.store.root())?;
            return self.put(pack, at, frame, &bytes);
        }
        self.encode(pack, at, group, &content, &base)
    }

    fn encode(
        &self,
        pack: &DeltaPack,
        at: usize,
        group: &Group,
        content: &[u8],
        base: &[u8],
    ) -> Result<()> {
        let (frame, bytes) = encode::encode(group, content, base, self.effort)
            .context("compress for", self.store.root())?;
        self.put(pack, at, frame, &bytes)
    }

    fn put(&self, pack: &DeltaPack, at: usize, frame: Frame, mut bytes: &[u8]) -> Result<()> {
        log::debug!(
            "delta frame {at}: {:?}, {} objects, {} of {} after {} bases",
            frame.codec,
            frame.objects.len(),
            frame.length,
            frame.content(),
            frame.bases.len()
        );
        pack.add(self.store, at, frame, &mut bytes)
    }

    fn add_manifest(&self, pack: &DeltaPack, old: &[u8], new: &[u8]) -> Result<()> {
        let object = |head: &Head| PackedObject {
            id: head.manifest.id,
            size: head.manifest.size,
        };
        let group = Group {
            objects: vec![object(self.to)],
            bases: vec![object(self.from)],
            is_code: false,
            is_packed: false,
        };
        if self.from.manifest.size > bases::MAX_BASE {
            let bases = Vec::new();
            return self.encode(pack, 0, &Group { bases, ..group }, new, &[]);
        }
        self.encode(pack, 0, &group, new, old)
    }

    /// Takes over the frame of an object that is too large for anything else.
    fn copy(&self, pack: &DeltaPack, at: usize, group: &Group) -> Result<()> {
        for reference in &self.to.packs {
            let index = read_index(self.store, reference)?;
            let mut frames = index.frames().iter();
            let found = frames.find(|frame| frame.objects == group.objects);
            if let Some(frame) = found.filter(|frame| frame.bases.is_empty()) {
                let path = self.store.pack_path(&reference.id);
                let file = File::open(&path).context("open", &path)?;
                let mut bytes = FrameBytes::new(&file, frame);
                return pack.add(self.store, at, frame.clone(), &mut bytes);
            }
        }
        let structure = "pack";
        let reason = format!("a frame of {} alone is missing", group.objects[0].id);
        Err(reclone_format::Error::Malformed { structure, reason })
            .in_file(&self.store.root().join("packs"))
    }
}
