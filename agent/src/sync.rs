//! From the store into the pool: head, manifest, plan, fetch, stage, image, commit.

use log::{info, warn};
use reclone_format::object_id::sha256;
use reclone_format::{Head, ObjectId, PackIndex, PublicKey};

use crate::accept::{check_head, check_number, read_head};
use crate::commit::commit;
use crate::error::{Error, Result};
use crate::fetch::{Transfer, Watcher};
use crate::manifest::{fetch_manifest, objects_of, open_manifest, write_image};
use crate::plan::{Plan, Sources};
use crate::pool::{Lock, Pool, list, remove_dir};
use crate::prune::{self, Pruned};
use crate::stage::Staging;
use crate::state::{Generation, State, is_plain};
use crate::store::{HeadAnswer, Store, Traffic, Validators};
use crate::wanted::Wanted;

/// Bytes of the disk that a sync leaves free.
const MARGIN: u64 = 16 << 20;
/// A guess at the bytes of an image, per entry.
const IMAGE_ENTRY: u64 = 256;

/// How to sync.
pub struct SyncOptions<'a> {
    /// The store as it was named; what it said about its head counts only under this name.
    pub location: &'a str,
    /// Who must have signed.
    pub key: &'a PublicKey,
    /// The model to follow; without it, the one that the pool follows, or the first that comes.
    pub model: Option<&'a str>,
    /// Whether to stop before anything is fetched.
    pub dry_run: bool,
    /// Who is told of the progress.
    pub watcher: &'a dyn Watcher,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store has nothing newer.
    Unchanged,
    /// The store's newest generation was rolled back here and is not taken again.
    Refused,
    /// A dry run found something to fetch.
    Pending,
    /// A generation was committed.
    Committed,
}

/// What a sync did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What came of it.
    pub outcome: Outcome,
    /// The generation that is current now, or would be after a dry run.
    pub generation: u64,
    /// Objects fetched (to be fetched).
    pub objects: u64,
    /// Their bytes, as files.
    pub content: u64,
    /// Their bytes, as they come from the store.
    pub transfer: u64,
    /// What was asked of the store.
    pub traffic: Traffic,
}

/// Brings the pool to the store's newest generation. After [`Outcome::Committed`] that generation is on disk and
/// current; after an error the old one still is, and what was staged helps the next run.
pub fn sync(pool: &Pool, store: &dyn Store, options: &SyncOptions) -> Result<Report> {
    let lock = pool.lock()?;
    let state = pool.state()?;
    let run = Run {
        pool,
        store,
        options,
        lock: &lock,
    };
    let known = run.validators(&state);
    let report = match store.head(known)? {
        HeadAnswer::Unchanged => run.report(Outcome::Unchanged, number(&state)),
        HeadAnswer::Fresh { bytes, validators } => run.take(&state, &bytes, validators)?,
    };
    if report.outcome != Outcome::Pending {
        // What was done is done, whether or not there is room to note when.
        if let Err(error) = pool.note_sync() {
            warn!("{error}");
        }
    }
    Ok(report)
}

fn number(state: &State) -> u64 {
    state.current.map_or(0, |generation| generation.number)
}

struct Run<'a> {
    pool: &'a Pool,
    store: &'a dyn Store,
    options: &'a SyncOptions<'a>,
    lock: &'a Lock,
}

impl Run<'_> {
    /// What may be asked with: only what this very store said, and only where its answer is still here to be used.
    fn validators<'s>(&self, state: &'s State) -> Option<&'s Validators> {
        let same = state.store.as_deref() == Some(self.options.location);
        let model = self
            .options
            .model
            .is_none_or(|model| state.model.as_deref() == Some(model));
        let whole = state
            .current
            .is_some_and(|current| self.pool.image(current.number).exists());
        (same && model && whole).then_some(&state.validators)
    }

    fn report(&self, outcome: Outcome, generation: u64) -> Report {
        Report {
            outcome,
            generation,
            objects: 0,
            content: 0,
            transfer: 0,
            traffic: self.store.traffic(),
        }
    }

    fn take(&self, state: &State, bytes: &[u8], validators: Validators) -> Result<Report> {
        let head = read_head(bytes, self.options.location, self.options.key)?;
        check_head(&head, bytes, state, self.options.model)?;
        let mut next = self.next_state(state, &head, bytes, validators);
        if state.refused == Some(head.generation) && state.model == next.model {
            return Ok(self.report(Outcome::Refused, number(state)));
        }
        let current = state.current.filter(|_| state.model == next.model);
        if current.is_some_and(|current| {
            current.manifest == head.manifest.id && self.pool.image(current.number).exists()
        }) {
            if next != *state && !self.options.dry_run {
                self.pool.write_state(&next)?;
            }
            return Ok(self.report(Outcome::Unchanged, number(state)));
        }
        check_number(&head, state)?;
        next.previous = match state.current {
            Some(current) if current.number == head.generation => state.previous,
            current => current,
        };
        next.current = Some(Generation {
            number: head.generation,
            manifest: head.manifest.id,
            entries: head.manifest.entries,
        });
        next.trial = 0;
        next.refused = None;
        let mut brought = self.bring(state, &next, &head);
        // What nobody foresaw: others write to this disk, too, and it may have bytes but no inodes.
        if let Err(error) = &brought
            && error.is_full_disk()
            && self.removes_something()
        {
            warn!("{error}");
            info!("removed what no generation needs, trying again");
            brought = self.bring(state, &next, &head);
            if brought.as_ref().is_err_and(Error::is_full_disk) {
                self.removes_something();
            }
        }
        if brought.as_ref().is_err_and(Error::is_full_disk)
            // A disk that is full is in the way of everyone: it gets back what this sync took.
            && let Err(error) = remove_dir(&self.pool.staging())
        {
            warn!("{error}");
        }
        brought
    }

    /// Prunes; whether there was something to remove.
    fn removes_something(&self) -> bool {
        match prune::prune(self.pool, self.lock) {
            Ok(pruned) => pruned != Pruned::default(),
            Err(error) => {
                warn!("{error}");
                false
            }
        }
    }

    /// The record as this head alone changes it.
    fn next_state(
        &self,
        state: &State,
        head: &Head,
        bytes: &[u8],
        validators: Validators,
    ) -> State {
        let plain = |text: Option<String>| text.filter(|text| is_plain(text));
        State {
            model: Some(head.model.clone()),
            serial: head.serial,
            head: Some(ObjectId::from_bytes(sha256(bytes))),
            store: plain(Some(self.options.location.to_owned())),
            validators: Validators {
                etag: plain(validators.etag),
                last_modified: plain(validators.last_modified),
            },
            ..state.clone()
        }
    }

    /// Fetches, stages and commits the generation of `head`.
    fn bring(&self, state: &State, next: &State, head: &Head) -> Result<Report> {
        let mut staging = Staging::open(self.pool)?;
        let room = self.make_room(head.manifest.size);
        if room.is_err() && !list(&staging.objects())?.is_empty() {
            // It may be what fills the disk, and no longer be wanted.
            warn!("removing what an interrupted sync left");
            staging.clear()?;
            staging = Staging::open(self.pool)?;
            self.make_room(head.manifest.size)?;
        } else {
            room?;
        }
        let index = fetch_manifest(self.store, head, &staging.manifest())?;
        let mut work = self.plan(state, head, &staging, Some(index))?;
        if self.options.dry_run {
            return Ok(self.report_on(&work, Outcome::Pending, head));
        }
        if self.make_room(work.space(head))? {
            // What was removed may be wanted now.
            work = self.plan(state, head, &staging, None)?;
            self.make_room(work.space(head))?;
        }
        self.transfer(&work, &staging)?;
        let report = self.report_on(&work, Outcome::Committed, head);
        info!(
            "fetched {} objects, {}, as {}",
            report.objects,
            mib(report.content),
            mib(report.transfer)
        );
        drop(work);
        write_image(&staging.manifest(), &staging.image())?;
        commit(self.pool, staging, next)?;
        info!("generation {} is current", head.generation);
        Ok(report)
    }

    /// Decides what to fetch, with the manifest staged. `index` is the first pack's, where it has been read already.
    fn plan(
        &self,
        state: &State,
        head: &Head,
        staging: &Staging,
        index: Option<PackIndex>,
    ) -> Result<Work> {
        let held = HeldObjects::of(self.pool, state);
        let manifest = open_manifest(&staging.manifest(), head)?;
        let wanted = Wanted::of_manifest(manifest, |object| held.has(&object.id))
            .map_err(Error::published("manifest"))?;
        drop(held);
        let (resumed, resumed_bytes) = staging.take_over(&wanted)?;
        if resumed > 0 {
            info!(
                "took over {resumed} objects, {}, of an interrupted sync",
                mib(resumed_bytes)
            );
        }
        let mut sources = Sources::new(self.store, &head.packs);
        if let Some(index) = index {
            sources.set_first(index);
        }
        let plan = sources.plan(&wanted, |id| self.pool.object(id).exists())?;
        Ok(Work {
            objects: wanted.objects().len() as u64 - resumed,
            content: wanted.content() - resumed_bytes,
            wanted,
            plan,
        })
    }

    fn report_on(&self, work: &Work, outcome: Outcome, head: &Head) -> Report {
        Report {
            objects: work.objects,
            content: work.content,
            transfer: work.plan.transfer(),
            ..self.report(outcome, head.generation)
        }
    }

    fn transfer(&self, work: &Work, staging: &Staging) -> Result<()> {
        let transfer = Transfer {
            store: self.store,
            pool: self.pool,
            staging,
            wanted: &work.wanted,
            watcher: self.options.watcher,
        };
        transfer.run(&work.plan)
    }

    /// Makes sure that the disk can take `size` bytes. Whether old generations had to go for that.
    fn make_room(&self, size: u64) -> Result<bool> {
        let needed = size.saturating_add(MARGIN);
        if self.pool.free()? >= needed {
            return Ok(false);
        }
        warn!("the disk is short of space: removing what no generation needs");
        prune::prune(self.pool, self.lock)?;
        match self.pool.free()? {
            free if free < needed => Err(Error::Full {
                path: self.pool.root().into(),
                needed: needed >> 20,
                free: free >> 20,
            }),
            _ => Ok(true),
        }
    }
}

/// What is to be fetched, and how.
struct Work {
    wanted: Wanted,
    plan: Plan,
    /// Objects that are not staged yet.
    objects: u64,
    /// Their bytes.
    content: u64,
}

impl Work {
    /// Bytes of disk that it takes.
    fn space(&self, head: &Head) -> u64 {
        // Half a block of slack a file, and the inode.
        let files = self.objects * (2048 + 256);
        let image = u64::from(head.manifest.entries) * IMAGE_ENTRY;
        self.plan.space().saturating_add(files + image)
    }
}

/// Bytes for people.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The objects of the current generation: they are in the pool, by the promise of the state record.
struct HeldObjects<'a> {
    pool: &'a Pool,
    ids: Vec<ObjectId>,
}

impl<'a> HeldObjects<'a> {
    fn of(pool: &'a Pool, state: &State) -> Self {
        let path = state.current.map(|current| pool.manifest(current.number));
        let read = path.map_or(Ok(Vec::new()), |path| objects_of(&path));
        // A damaged manifest must not keep the next generation away.
        let mut ids = read.unwrap_or_else(|error| {
            warn!("{error}; looking for every object instead");
            Vec::new()
        });
        ids.sort_unstable();
        ids.dedup();
        Self { pool, ids }
    }

    fn has(&self, id: &ObjectId) -> bool {
        self.ids.binary_search(id).is_ok() || self.pool.object(id).exists()
    }
}
