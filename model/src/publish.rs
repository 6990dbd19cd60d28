//! `reclone-model publish`: scan, identify, pack, sign; `head` last.
//!
//! Order of writes: the new pack is synced under its name, then the write-once copy of the head, then `head` is replaced.
//! So `head` never names what is not there, and a publish that is cut short at any point leaves the old generation in place.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use reclone_format::policy::MODEL_FILE;
use reclone_format::showable::unshowable;
use reclone_format::{Head, ManifestRef, PackRef, Policy};

use crate::add_deltas::{DeltaOptions, add_deltas};
use crate::error::{Context, Error, Result};
use crate::exclude::{self, Exclude};
use crate::folder::{Crossing, ScanOptions};
use crate::frame_plan;
use crate::frame_writer::Job;
use crate::heads::{last_head, next_serial, sign_and_publish};
use crate::identify::{Changing, apply, identify, unknown_bytes};
use crate::keys::Signer;
use crate::lint::{Finding, lint};
use crate::live_packs::OldPacks;
use crate::live_tree::{LiveTree, meta_of};
use crate::manifest::Manifest;
use crate::pack_writer::{FinishedPack, PackWriter, write_frames};
use crate::progress::{Progress, Unit, bytes};
use crate::scan::{Scanned, scan};
use crate::stat_cache::StatCache;
use crate::store::Store;

/// What to publish, and how.
#[derive(Debug)]
pub struct PublishOptions {
    /// The top of the tree.
    pub from: PathBuf,
    /// Files that are never published: the secret key's, its passphrase's.
    pub secrets: Vec<PathBuf>,
    /// The model's new name, if it is to have another.
    pub model: Option<String>,
    /// The zstd level.
    pub level: i32,
    /// Which file systems belong to the tree.
    pub crossing: Crossing,
    /// What becomes of files that change all the time.
    pub changing: Changing,
    /// Read every file, whatever the stat cache says.
    pub rehash: bool,
    /// Pack every object again.
    pub full: bool,
    /// Only say what would be published.
    pub dry_run: bool,
    /// Which delta packs to make; none at all without it.
    pub deltas: Option<DeltaOptions>,
}

/// What a publish came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The newest generation now; 0 if there is none.
    pub generation: u64,
    /// Whether it was made by this publish.
    pub is_new: bool,
}

/// Publishes the tree, then makes the delta packs that it lacks. The store is locked meanwhile. When this returns,
/// everything that `head` names is durable. A delta pack that can not be made is said and does no harm.
pub fn publish(store: &mut Store, signer: &Signer, options: &PublishOptions) -> Result<Published> {
    let _lock = store.lock("publish")?;
    let published = publish_tree(store, signer, options)?;
    if !options.dry_run {
        make_deltas(store, signer, options.deltas.as_ref());
    }
    Ok(published)
}

fn make_deltas(store: &Store, signer: &Signer, options: Option<&DeltaOptions>) {
    if let Some(Err(error)) = options.map(|options| add_deltas(store, signer, options)) {
        log::warn!(
            "the generation is published, but a delta pack could not be made: {}",
            error.chain()
        );
    }
}

fn publish_tree(store: &mut Store, signer: &Signer, options: &PublishOptions) -> Result<Published> {
    let start = Instant::now();
    if let Some(model) = options.model.as_ref().filter(|_| !options.dry_run) {
        store.rename(model)?;
    }
    let (last, is_lost) = last_head(store)?;
    let tree = LiveTree::open(&options.from)?;
    let since = now().as_nanos() as i128;
    let mut scanned = read_tree(store, &tree, last.as_ref(), options)?;
    let manifest = Manifest::of(&scanned.nodes)?;
    let same = |last: &&Head| last.manifest.id == manifest.id && !options.full && !is_lost;
    if let Some(last) = last.as_ref().filter(same) {
        say_notes(&scanned);
        StatCache::save(store, &manifest.id, &scanned.nodes, since)?;
        log::info!(
            "nothing changed: generation {} is still the newest ({} paths in {:.1} s)",
            last.generation,
            scanned.nodes.len(),
            start.elapsed().as_secs_f32()
        );
        return Ok(Published {
            generation: last.generation,
            is_new: false,
        });
    }
    let old = OldPacks::take_over(store, last.as_ref(), &scanned.nodes, options.full);
    if options.dry_run {
        say_notes(&scanned);
        let plan = frame_plan::plan(&scanned.nodes, |id| old.objects().contains_key(id));
        return Ok(say_plan(&plan, last.as_ref()));
    }
    let packing = Packing {
        store,
        tree: &tree,
        old: &old,
        options,
    };
    let (manifest, pack) = packing.write(&mut scanned, manifest)?;
    say_notes(&scanned);
    let objects = pack.objects;
    let mut packs = vec![pack.persist(store)?];
    packs.extend(old.live(&scanned.nodes));
    let head = next_head(store, last.as_ref(), &manifest, packs);
    sign_and_publish(store, signer, &head)?;
    StatCache::save(store, &manifest.id, &scanned.nodes, since)?;
    log::info!(
        "published generation {}: {} paths, {objects} new objects, {} in a new pack, {:.1} s",
        head.generation,
        head.manifest.entries,
        bytes(head.packs[0].size),
        start.elapsed().as_secs_f32()
    );
    Ok(Published {
        generation: head.generation,
        is_new: true,
    })
}

/// Publishes the tree of an old generation once more, as the newest: how an administrator rolls all clones back. No file
/// is read; no pack is made but the delta packs.
pub fn publish_again(
    store: &Store,
    signer: &Signer,
    generation: u64,
    deltas: Option<&DeltaOptions>,
) -> Result<Published> {
    let _lock = store.lock("publish")?;
    let published = publish_old_tree(store, signer, generation)?;
    make_deltas(store, signer, deltas);
    Ok(published)
}

fn publish_old_tree(store: &Store, signer: &Signer, generation: u64) -> Result<Published> {
    let missing = || Error::NoGeneration {
        store: store.root().to_owned(),
        generation,
    };
    let (last, is_lost) = last_head(store)?;
    let (Some(last), Some(old)) = (last, store.head_of(generation)?) else {
        return Err(missing());
    };
    for pack in old.packs.iter().map(|pack| store.pack_path(&pack.id)) {
        std::fs::metadata(&pack).context("read", &pack)?;
    }
    if old.manifest.id == last.manifest.id && !is_lost {
        let newest = last.generation;
        log::info!("generation {newest} is the newest and already has the tree of {generation}");
        return Ok(Published {
            generation: newest,
            is_new: false,
        });
    }
    let head = Head {
        model: store.record().model.clone(),
        serial: next_serial(store, &last),
        generation: last.generation + 1,
        created: seconds_now(),
        deltas: Vec::new(),
        ..old
    };
    sign_and_publish(store, signer, &head)?;
    log::info!(
        "published generation {} with the tree of {generation}",
        head.generation
    );
    Ok(Published {
        generation: head.generation,
        is_new: true,
    })
}

/// The making of one pack.
struct Packing<'a> {
    store: &'a Store,
    tree: &'a LiveTree,
    old: &'a OldPacks,
    options: &'a PublishOptions,
}

impl Packing<'_> {
    /// Packs every object of the tree that no old pack holds. Where files changed meanwhile, the tree and its manifest
    /// follow what was packed.
    fn write(
        &self,
        scanned: &mut Scanned,
        mut manifest: Manifest,
    ) -> Result<(Manifest, FinishedPack)> {
        let level = self.options.level;
        let mut frame = manifest.frame(self.store, level)?;
        let old = self.old.objects();
        let mut plan = frame_plan::plan(&scanned.nodes, |id| old.contains_key(id));
        let mut writer = PackWriter::create(self.store, &plan, &frame)?;
        while !plan.is_empty() {
            let progress = Progress::start("packing", Unit::Bytes, frame_plan::content(&plan));
            let job = Job {
                tree: self.tree,
                store: self.store,
                nodes: &scanned.nodes,
                level,
            };
            let changes = write_frames(&mut writer, &job, &plan, &progress)?;
            drop(progress);
            if changes.is_empty() {
                break;
            }
            apply(self.tree, scanned, changes, self.options.changing);
            refuse_problems(scanned)?;
            manifest = Manifest::of(&scanned.nodes)?;
            frame = manifest.frame(self.store, level)?;
            // Another file may have counted on the content that a changed file had.
            let packed = writer.objects();
            plan = frame_plan::plan(&scanned.nodes, |id| {
                old.contains_key(id) || packed.contains(id)
            });
        }
        Ok((manifest, writer.finish(self.store, frame)?))
    }
}

/// Scans the tree and finds the id of every file.
fn read_tree(
    store: &Store,
    tree: &LiveTree,
    head: Option<&Head>,
    options: &PublishOptions,
) -> Result<Scanned> {
    let cache = match head {
        Some(head) if !options.rehash => StatCache::load(store, head)?,
        _ => None,
    };
    let policy = read_policy(tree)?;
    let exclude = read_exclude(tree, &policy)?;
    let mut never = vec![identity(store.root())?];
    for secret in &options.secrets {
        never.push(identity(secret)?);
    }
    let scan_options = ScanOptions {
        exclude: &exclude,
        crossing: &options.crossing,
        never: &never,
        cache: cache.as_ref(),
    };
    let progress = Progress::start("scanning", Unit::Pieces, 0);
    let mut scanned = scan(tree, &scan_options, &progress).context("read", tree.path())?;
    drop(progress);
    say_findings(&lint(tree, &scanned.nodes, &policy), tree.path());
    let progress = Progress::start("reading", Unit::Bytes, unknown_bytes(&scanned.nodes));
    identify(tree, &mut scanned, options.changing, &progress);
    drop(progress);
    refuse_problems(&mut scanned)?;
    Ok(scanned)
}

/// What a publish of the tree would take along and perhaps should not, besides the paths `never`, which are left out. Only
/// paths are found and small files are read.
pub fn findings(from: &Path, crossing: &Crossing, never: &[&Path]) -> Result<Vec<Finding>> {
    let tree = LiveTree::open(from)?;
    let policy = read_policy(&tree)?;
    let exclude = read_exclude(&tree, &policy)?;
    let never: Vec<_> = never
        .iter()
        .map(|path| identity(path))
        .collect::<Result<_>>()?;
    let options = ScanOptions {
        exclude: &exclude,
        crossing,
        never: &never,
        cache: None,
    };
    let progress = Progress::start("scanning", Unit::Pieces, 0);
    let mut scanned = scan(&tree, &options, &progress).context("read", tree.path())?;
    drop(progress);
    refuse_problems(&mut scanned)?;
    Ok(lint(&tree, &scanned.nodes, &policy))
}

fn say_findings(findings: &[Finding], from: &Path) {
    let count = match findings.len() {
        0 => return,
        1 => "1 path".to_owned(),
        count => format!("{count} paths"),
    };
    log::warn!(
        "{count} should perhaps not be published: `reclone-model lint --from {}` says which and why",
        from.display()
    );
}

fn read_policy(tree: &LiveTree) -> Result<Policy> {
    let mut policy = Policy::default();
    if let Some((path, text)) = read_own(tree, MODEL_FILE)? {
        let name = path.display().to_string();
        policy.add(&name, &text).map_err(Error::Policy)?;
    }
    Ok(policy)
}

fn read_exclude(tree: &LiveTree, policy: &Policy) -> Result<Exclude> {
    let exclude = match read_own(tree, exclude::FILE)? {
        Some((path, text)) => Exclude::new(Some((&path, &text)))?,
        None => Exclude::new(None)?,
    };
    Ok(exclude.with_policy(policy.clone()))
}

/// A file of the tree that says how to publish it, with its name for messages; none where it is not there.
fn read_own(tree: &LiveTree, file: &str) -> Result<Option<(PathBuf, Vec<u8>)>> {
    let path = tree.path().join(file);
    let inside = reclone_format::TreePath::from_bytes(file.into()).map_err(Error::Unpublishable)?;
    let mut text = Vec::new();
    match tree.open_file(&inside) {
        Ok(mut file) => {
            io::Read::read_to_end(&mut file, &mut text).context("read", &path)?;
            Ok(Some((path, text)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("open", &path),
    }
}

/// What tells a file apart wherever it is mounted.
fn identity(path: &Path) -> Result<(u64, u64)> {
    let file = std::fs::File::open(path).context("open", path)?;
    let stamp = meta_of(&file).context("read", path)?.stamp;
    Ok((stamp.dev, stamp.ino))
}

fn refuse_problems(scanned: &mut Scanned) -> Result<()> {
    match std::mem::take(&mut scanned.problems) {
        problems if problems.is_empty() => Ok(()),
        problems => Err(Error::Tree { problems }),
    }
}

fn say_notes(scanned: &Scanned) {
    scanned.notes.iter().for_each(|note| log::warn!("{note}"));
    for node in scanned
        .nodes
        .iter()
        .filter(|node| node.first_name.is_none())
    {
        for what in unshowable(&node.entry) {
            log::warn!("{}: {what}", node.entry.path);
        }
    }
}

fn say_plan(plan: &frame_plan::Plan, head: Option<&Head>) -> Published {
    let generation = head.map_or(0, |head| head.generation);
    log::info!(
        "generation {} would have {} new objects of {}; nothing was published",
        generation + 1,
        plan.iter().map(Vec::len).sum::<usize>(),
        bytes(frame_plan::content(plan)),
    );
    Published {
        generation,
        is_new: false,
    }
}

fn next_head(store: &Store, last: Option<&Head>, manifest: &Manifest, packs: Vec<PackRef>) -> Head {
    Head {
        model: store.record().model.clone(),
        serial: last.map_or(1, |last| next_serial(store, last)),
        generation: last.map_or(0, |head| head.generation) + 1,
        created: seconds_now(),
        manifest: ManifestRef {
            id: manifest.id,
            size: manifest.bytes.len() as u64,
            entries: manifest.entries,
        },
        content: manifest.content,
        packs,
        deltas: Vec::new(),
    }
}

fn seconds_now() -> i64 {
    i64::try_from(now().as_secs()).unwrap_or(i64::MAX)
}

fn now() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
