//! Sessions that go on: what a clone changed in paths that follow is carried from its last session into a new one over another generation.
//!
//! Three trees say what is to be done with a path: the generation of before, what the clone made of it, and the generation that boots. Where the
//! model did not change the path, the clone's change is written into the new session, through the assembled root: nothing of the old layer is
//! taken along, no attribute of an overlay neither. Where both changed it, the model wins and the clone's version is saved in the pool.
//! The old session ends when the new one is whole and on disk.

mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use log::{info, warn};
use reclone_format::{Policy, Rule};

use crate::assemble;
use crate::barrier::Barrier;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::pool::{Pool, make_own_dir};
use crate::session::{self, Session};
use crate::state::Generation;
use crate::sys::mount;

use tree::Carrier;

/// How many saved paths are named one by one.
const NAMED: usize = 20;

/// What follows on this clone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Following {
    /// All that no rule names.
    pub all: bool,
    /// The newer version wins where both changed.
    pub newer_wins: bool,
}

impl Following {
    /// As it was configured.
    pub fn of(config: &Config) -> Self {
        Self {
            all: config.follow,
            newer_wins: config.local_newer_wins,
        }
    }

    /// Whether anything follows.
    pub fn is_any(self, policy: &Policy) -> bool {
        self.all || policy.lines().iter().any(|line| line.rule == Rule::Follow)
    }

    /// Whether a session can go on as it is over the same generation: all of it follows.
    fn is_all(self, policy: &Policy) -> bool {
        self.all && !policy.lines().iter().any(|line| line.rule == Rule::Reset)
    }
}

/// The session that is to go on, if there is one. Those that went on in another already end here, where a power cut came before that.
pub fn last(pool: &Pool) -> Result<Option<Session>> {
    let mut found = session::idle(pool)?;
    found.retain(Session::follows);
    let over: Vec<String> = found.iter().filter_map(Session::followed).collect();
    // Among several that are whole, of which none followed another, the newest.
    found.sort_by_key(|session| !over.contains(&session.name()));
    let newest = found.pop();
    found.iter().try_for_each(|session| session.end(pool))?;
    Ok(newest)
}

/// Whether `session` goes on as it is over this generation: it was begun over the very same image, and all of it follows.
pub fn goes_on(
    session: &Session,
    generation: &Generation,
    policy: &Policy,
    following: Following,
) -> bool {
    session.generation().as_ref() == Some(generation) && following.is_all(policy)
}

/// Carries what follows of `old` into the tree assembled at `root`, which nobody is in yet. `aside` is a folder for mounts.
pub fn carry(
    pool: &Pool,
    old: &Session,
    policy: &Policy,
    following: Following,
    root: &Path,
    aside: &Path,
) -> Result<()> {
    let missing = || Error::NoGeneration(old.root().into());
    let generation = old.generation().ok_or_else(missing)?;
    let model = Shown::new(&aside.join("model-before"), |at| {
        assemble::assemble(pool, &generation, None, at)
    })?;
    let clone = Shown::new(&aside.join("clone-before"), |at| {
        assemble::show(pool, &generation, old, at)
    })?;
    let saved = saved_folder(pool, old);
    let mut carrier = Carrier::new(policy, following, &saved);
    carrier.trees(&old.upper(), &model.at, &clone.at, root);
    carrier.run()?;
    let done = carrier.done;
    info!(
        "{} local changes go on over the new generation",
        done.carried
    );
    for path in done.saved.iter().take(NAMED) {
        info!("/{}: changed by the model, too", path.display());
    }
    if !done.saved.is_empty() {
        warn!(
            "{} paths are the model's, who changed them, too; the versions of this clone are in {}",
            done.saved.len(),
            saved.display()
        );
    }
    Ok(())
}

/// Puts what the new session is made of on disk, notes that it is whole, and ends the one before.
pub fn finish(pool: &Pool, new: &Session, old: Option<&Session>) -> Result<()> {
    pool.sync(Barrier::Carried)?;
    new.note_follows(old)?;
    old.map_or(Ok(()), |old| old.end(pool))
}

/// Where the versions that lost are saved, by the name of their session.
fn saved_folder(pool: &Pool, old: &Session) -> PathBuf {
    pool.saved().join(old.name())
}

/// A mount for as long as it is looked at.
struct Shown {
    at: PathBuf,
}

impl Shown {
    fn new<T>(at: &Path, mount: impl FnOnce(&Path) -> Result<T>) -> Result<Self> {
        make_own_dir(at)?;
        mount(at)?;
        Ok(Self { at: at.into() })
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = mount::detach(&self.at);
        let _ = fs::remove_dir(&self.at);
    }
}
