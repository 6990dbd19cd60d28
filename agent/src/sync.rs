//! From the store into the pool: head, manifest, plan, fetch, stage, image, commit.

use std::path::Path;

use log::{info, warn};
use reclone_format::object_id::sha256;
use reclone_format::{Head, ObjectId, PublicKey};

use crate::accept::{check_head, check_number, known_validators, read_head};
use crate::bring::Bring;
use crate::commit::commit;
use crate::error::{Error, Result};
use crate::fetch::Watcher;
use crate::pool::{Lock, Pool, remove_dir};
use crate::prune::{self, Pruned};
use crate::state::{Generation, State, is_plain};
use crate::store::{HeadAnswer, Store, Traffic, Validators};
use crate::way::{Figures, Finder};

/// Bytes of the disk that a sync leaves free.
pub const MARGIN: u64 = 16 << 20;

/// How to sync.
pub struct SyncOptions<'a> {
    /// The store as it was named; what it said about its head counts only under this name.
    pub location: &'a str,
    /// Who must have signed.
    pub key: &'a PublicKey,
    /// The model to follow; without it, the one that the pool follows, or the first that comes.
    pub model: Option<&'a str>,
    /// How far to go.
    pub goal: Goal,
    /// Where files may be that a first clone need not fetch: the root partition as it was installed.
    pub plain_root: Option<&'a Path>,
    /// Who is told of the progress.
    pub watcher: &'a dyn Watcher,
}

/// How far a sync goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Until the generation is current.
    Commit,
    /// Until everything is staged: the next sync commits it.
    Stage,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store has nothing newer.
    Unchanged,
    /// The store's newest generation was rolled back here and is not taken again.
    Refused,
    /// A generation is staged, for the next sync to commit.
    Staged,
    /// A generation was committed.
    Committed,
}

/// What a sync did.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What came of it.
    pub outcome: Outcome,
    /// The generation that is current now, or staged.
    pub generation: u64,
    /// What was fetched.
    pub figures: Figures,
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
    let known = known_validators(pool, &state, options.location, options.model);
    let report = match store.head(known)? {
        HeadAnswer::Unchanged => run.report(Outcome::Unchanged, number(&state)),
        HeadAnswer::Fresh { bytes, validators } => run.take(&state, &bytes, validators)?,
    };
    // What was done is done, whether or not there is room to note when.
    if let Err(error) = pool.note_sync() {
        warn!("{error}");
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
    fn report(&self, outcome: Outcome, generation: u64) -> Report {
        Report {
            outcome,
            generation,
            figures: Figures::default(),
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
            if next != *state {
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
        next.trial = u32::from(next.previous.is_some());
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
        let bring = Bring {
            finder: Finder {
                pool: self.pool,
                state,
                store: self.store,
                key: self.options.key,
                head,
                looks: false,
            },
            lock: self.lock,
            plain_root: self.options.plain_root,
            watcher: self.options.watcher,
        };
        let (staging, figures) = bring.stage()?;
        if self.options.goal == Goal::Stage {
            staging.set_ready(head.generation, &head.manifest.id)?;
            info!("generation {} is staged", head.generation);
            return Ok(Report {
                figures,
                ..self.report(Outcome::Staged, head.generation)
            });
        }
        commit(self.pool, staging, next)?;
        info!("generation {} is current", head.generation);
        Ok(Report {
            figures,
            ..self.report(Outcome::Committed, head.generation)
        })
    }
}

/// Bytes for people.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
