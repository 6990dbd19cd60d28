//! `reclone-model verify`: reads the whole store and checks that it can be restored from. Every signature, every index,
//! every object of every pack against its id, every manifest, and that nothing a manifest names is missing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use reclone_format::frame::{Sink, decode};
use reclone_format::{
    Frame, Head, ManifestReader, ObjectId, PackId, PackIndex, PackRef, PackedObject, PublicKey,
};

use crate::base_reader::BaseReader;
use crate::error::{Context, Error, InFile, Result};
use crate::pack_reader::{FrameBytes, read_index, read_manifest};
use crate::progress::{Progress, Unit};
use crate::store::Store;

/// What was checked, and what is wrong.
#[derive(Debug, Default)]
pub struct Report {
    /// Generations.
    pub generations: usize,
    /// Packs.
    pub packs: usize,
    /// Objects in them.
    pub objects: usize,
    /// A sentence each, beginning with the file.
    pub problems: Vec<String>,
}

/// Checks the store against `key`. Fails only where the store's folders can not be read at all.
pub fn verify(store: &Store, key: &PublicKey) -> Result<Report> {
    let mut report = Report::default();
    let heads = read_heads(store, key, &mut report)?;
    report.generations = heads.len();
    let packs = packs_of(&heads);
    report.packs = packs.len();
    let indices = read_indices(store, packs.values(), &mut report);
    let all = packs.keys().copied().collect();
    check_frames(store, &indices, &loose_packs(&heads), &all, &mut report);
    for head in &heads {
        if let Err(error) = check_manifest(store, head, &indices, &mut report) {
            report.problem(&error);
        }
    }
    report.problems.sort();
    report.problems.dedup();
    for pack in store.packs()? {
        if !packs.contains_key(&pack) {
            let path = store.pack_path(&pack);
            log::info!("{}: no head names it; prune removes it", path.display());
        }
    }
    Ok(report)
}

/// Reads the packs `only` of those that the heads name, and looks whether all packs together hold what each generation needs. Gives a
/// sentence for each problem.
pub fn verify_packs(store: &Store, heads: &[Head], only: &HashSet<PackId>) -> Vec<String> {
    let mut report = Report::default();
    let packs = packs_of(heads);
    let indices = read_indices(store, packs.values(), &mut report);
    check_frames(store, &indices, &loose_packs(heads), only, &mut report);
    for head in heads {
        if let Err(error) = check_manifest(store, head, &indices, &mut report) {
            report.problem(&error);
        }
    }
    report.problems.sort();
    report.problems.dedup();
    report.problems
}

/// Every pack that the heads name, once.
fn packs_of(heads: &[Head]) -> BTreeMap<PackId, PackRef> {
    let mut packs = BTreeMap::new();
    for pack in heads.iter().flat_map(Head::all_packs) {
        packs.entry(pack.id).or_insert_with(|| pack.clone());
    }
    packs
}

/// The indices of those packs that have a whole one.
fn read_indices<'a>(
    store: &Store,
    packs: impl Iterator<Item = &'a PackRef>,
    report: &mut Report,
) -> HashMap<PackId, PackIndex> {
    let mut indices = HashMap::new();
    for pack in packs {
        match check_index(store, pack) {
            Ok(index) => {
                indices.insert(pack.id, index);
            }
            Err(error) => report.problem(&error),
        }
    }
    indices
}

impl Report {
    fn problem(&mut self, error: &Error) {
        self.problems.push(error.chain());
    }
}

/// The heads of all generations that can be trusted.
fn read_heads(store: &Store, key: &PublicKey, report: &mut Report) -> Result<Vec<Head>> {
    let read = |path: &Path| -> Result<(Vec<u8>, Head)> {
        let bytes = fs::read(path).context("read", path)?;
        let head = Head::verify(&bytes, key).in_file(path)?;
        Ok((bytes, head))
    };
    let mut heads = Vec::new();
    for generation in store.generations()? {
        let path = store.head_path(generation);
        match read(&path) {
            Ok((_, head)) if head.generation == generation => heads.push(head),
            Ok((_, head)) => report.problems.push(format!(
                "{}: it is the head of generation {}",
                path.display(),
                head.generation
            )),
            Err(error) => report.problem(&error),
        }
    }
    let path = store.root().join("head");
    match read(&path) {
        Ok((bytes, head)) => {
            let copy = store.head_path(head.generation);
            if fs::read(&copy).ok().as_ref() != Some(&bytes) {
                let ahead = read(&copy).is_ok_and(|(_, copy)| is_interrupted(&head, &copy));
                match ahead {
                    true => log::info!(
                        "{}: the last command did not come to its end; the next publish makes up for it",
                        path.display()
                    ),
                    false => report.problems.push(format!(
                        "{}: {} is not the same",
                        path.display(),
                        copy.display()
                    )),
                }
                heads.push(head);
            }
        }
        Err(Error::Io { source, .. })
            if source.kind() == io::ErrorKind::NotFound && heads.is_empty() =>
        {
            log::info!("nothing was published yet");
        }
        Err(error) => report.problem(&error),
    }
    Ok(heads)
}

/// Whether a copy was written with a further delta pack and its head was not: the copy comes first.
fn is_interrupted(head: &Head, copy: &Head) -> bool {
    let same = (&copy.manifest, &copy.packs) == (&head.manifest, &head.packs);
    same && copy.generation == head.generation && copy.serial > head.serial
}

fn check_index(store: &Store, pack: &PackRef) -> Result<PackIndex> {
    let index = read_index(store, pack)?;
    let path = store.pack_path(&pack.id);
    let length = fs::metadata(&path).context("read", &path)?.len();
    if length != pack.size || index.pack_size() != pack.size {
        return Err(reclone_format::Error::Malformed {
            structure: "pack",
            reason: format!(
                "it has {length} bytes, its head says {}, its index {}",
                pack.size,
                index.pack_size()
            ),
        })
        .in_file(&path);
    }
    Ok(index)
}

/// The delta packs that lead from generations which are gone: only clones that still have those can read them.
fn loose_packs(heads: &[Head]) -> HashSet<PackId> {
    let generations: HashSet<u64> = heads.iter().map(|head| head.generation).collect();
    let deltas = heads.iter().flat_map(|head| &head.deltas);
    let loose = deltas.filter(|delta| !generations.contains(&delta.from));
    loose.map(|delta| delta.pack.id).collect()
}

/// Decodes every frame of the packs `only`, on all cores.
fn check_frames(
    store: &Store,
    indices: &HashMap<PackId, PackIndex>,
    loose: &HashSet<PackId>,
    only: &HashSet<PackId>,
    report: &mut Report,
) {
    let mut frames: Vec<(PackId, &Frame)> = indices
        .iter()
        .filter(|(id, _)| only.contains(id))
        .flat_map(|(id, index)| index.frames().iter().map(|frame| (*id, frame)))
        .collect();
    frames.sort_by_key(|(id, frame)| (*id, frame.offset));
    report.objects = frames.iter().map(|(_, frame)| frame.objects.len()).sum();
    let bytes = frames.iter().map(|(_, frame)| frame.length).sum();
    let progress = Progress::start("verifying", Unit::Bytes, bytes);
    let bases = BaseReader::new(store, indices);
    let skipped = AtomicUsize::new(0);
    let (next, problems) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((pack, frame)) = frames.get(next.fetch_add(1, Ordering::Relaxed)) {
            if loose.contains(pack) && !bases.has(frame) {
                skipped.fetch_add(1, Ordering::Relaxed);
            } else if let Err(error) = check_frame(store, &bases, pack, frame) {
                problems
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(error.chain());
            }
            progress.add(frame.length);
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    match skipped.into_inner() {
        0 => {}
        count => log::info!(
            "{count} frames of delta packs were not read: the generations that they lead from are gone"
        ),
    }
    let problems = problems
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    report.problems.extend(problems);
}

fn check_frame(store: &Store, bases: &BaseReader, pack: &PackId, frame: &Frame) -> Result<()> {
    let base = bases.read(pack, frame)?;
    let path = store.pack_path(pack);
    let file = File::open(&path).context("open", &path)?;
    decode(frame, FrameBytes::new(&file, frame), &base, &mut Discard).in_file(&path)
}

/// Every object checked, none kept.
struct Discard;

impl Sink for Discard {
    fn start(&mut self, _: &PackedObject) -> io::Result<bool> {
        Ok(true)
    }

    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn complete(&mut self, _: &PackedObject) -> io::Result<()> {
        Ok(())
    }
}

/// That a generation's manifest is what its head says, and that its packs hold every object.
fn check_manifest(
    store: &Store,
    head: &Head,
    indices: &HashMap<PackId, PackIndex>,
    report: &mut Report,
) -> Result<()> {
    let frames = |pack: &PackRef| indices.get(&pack.id).map(PackIndex::frames);
    let objects: HashSet<ObjectId> = head
        .packs
        .iter()
        .filter_map(frames)
        .flatten()
        .flat_map(|frame| frame.objects.iter().map(|object| object.id))
        .collect();
    if !objects.contains(&head.manifest.id) {
        // Its pack was found damaged already, or it is in none.
        report.problems.push(format!(
            "generation {}: no pack holds its manifest",
            head.generation
        ));
        return Ok(());
    }
    let manifest = read_manifest(store, head)?;
    let path = store.pack_path(&head.packs[0].id);
    let mut reader = ManifestReader::open(&manifest[..]).in_file(&path)?;
    let header = reader.header();
    let said = (head.manifest.entries, head.content, head.manifest.size);
    if (header.entries, header.content, manifest.len() as u64) != said {
        report.problems.push(format!(
            "generation {}: its head and its manifest give different figures",
            head.generation
        ));
    }
    while let Some(item) = reader.next_entry().in_file(&path)? {
        if let Some((id, _)) = item.entry.object()
            && !objects.contains(&id)
        {
            report.problems.push(format!(
                "generation {}: {}: no pack holds its content {id}",
                head.generation, item.entry.path
            ));
        }
    }
    Ok(())
}
