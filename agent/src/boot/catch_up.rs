//! The part of a boot that looks outside: network and sync, all of it before one deadline.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::boot::Places;
use crate::boot::offline;
use crate::config::{Config, Mode};
use crate::error::Result;
use crate::fetch::Watcher;
use crate::follow::Follow;
use crate::network;
use crate::pool::Pool;
use crate::progress;
use crate::repair;
use crate::sync::{self, Goal, Outcome, SyncOptions, mib};
use crate::verify::{self, Damage};

/// Brings the pool up to date as far as `config` wants it. On an error the pool is as good as before.
pub fn catch_up(pool: &Pool, config: &Config, places: &Places) -> Result<()> {
    match config.mode {
        Mode::On => outside(config, places, pool, |follow| {
            sync(pool, follow, &places.disk())
        }),
        Mode::Reset { .. } => reset(pool, config, places),
        Mode::Skip | Mode::Rollback | Mode::Off => Ok(()),
    }
}

/// Syncs, checks every object, and mends what is damaged: in this order, for a store gives the objects of its newest
/// generation. Without the store the damage is at least named.
fn reset(pool: &Pool, config: &Config, places: &Places) -> Result<()> {
    pool.drop_damaged_state()?;
    let mut checked = false;
    let asked = outside(config, places, pool, |follow| {
        let synced = sync(pool, follow, &places.disk());
        let damage = check(pool)?;
        checked = true;
        if damage.count() > 0 {
            let lock = pool.lock()?;
            repair::mend_all(pool, follow, damage, &lock, &Progress::new())?;
        }
        synced
    });
    if !checked {
        check(pool)?;
    }
    asked
}

fn check(pool: &Pool) -> Result<Damage> {
    if pool.state()?.current.is_none() {
        return Ok(Damage::default());
    }
    info!("checking every object of the pool");
    let damage = verify::verify(pool, &())?;
    for line in damage.describe(pool) {
        warn!("{line}");
    }
    info!(
        "checked {} objects, {} files are damaged",
        damage.checked,
        damage.count()
    );
    Ok(damage)
}

/// Does `work` with the store that is to be followed.
fn outside(
    config: &Config,
    places: &Places,
    pool: &Pool,
    mut work: impl FnMut(&Follow) -> Result<()>,
) -> Result<()> {
    let outside = Outside::new(config, places, pool)?;
    match &config.offline_store {
        Some(named) => offline::with_newer(&outside, named, &mut work),
        None => outside.online(outside.time, work),
    }
}

/// What a clone has to do with stores, and how long it may take.
pub struct Outside<'a> {
    /// What it was told.
    pub config: &'a Config,
    /// Where things are.
    pub places: &'a Places,
    /// What it has.
    pub pool: &'a Pool,
    /// Whether that is nothing yet.
    pub is_first: bool,
    /// For all that is done with one store.
    pub time: Duration,
}

impl<'a> Outside<'a> {
    fn new(config: &'a Config, places: &'a Places, pool: &'a Pool) -> Result<Self> {
        let is_first = pool.state()?.current.is_none();
        // Who asks for a reset wants it done.
        let may_wait_long = is_first || config.mode != Mode::On;
        Ok(Self {
            config,
            places,
            pool,
            is_first,
            time: config.time_to_sync(!may_wait_long),
        })
    }

    /// Whom a configuration names. All waits for that store end when `time` is over.
    pub fn follow(&self, config: &Config, time: Duration) -> Result<Follow> {
        Follow::new(config, Some(Instant::now() + time), self.pool.root())
    }

    /// Does `work` with the configured store, with the network up for as long as it takes, if the store is behind one. The network
    /// has `patience` to come up.
    pub fn online(
        &self,
        patience: Duration,
        work: impl FnOnce(&Follow) -> Result<()>,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        let follow = self.follow(self.config, self.time)?;
        let (location, seconds) = (&follow.location, self.time.as_secs());
        info!("asking {location} for up to {seconds} s");
        network::with(follow.need, &self.places.network, deadline, || {
            work(&follow)
        })
    }
}

fn sync(pool: &Pool, follow: &Follow, plain_root: &Path) -> Result<()> {
    let started = Instant::now();
    let options = SyncOptions {
        location: &follow.location,
        key: &follow.key,
        model: follow.model.as_deref(),
        goal: Goal::Commit,
        plain_root: Some(plain_root),
        watcher: &Progress::new(),
    };
    let report = sync::sync(pool, &*follow.store, &options)?;
    let number = report.generation;
    let seconds = started.elapsed().as_secs_f64();
    match report.outcome {
        Outcome::Committed => info!(
            "generation {number} is new: {} objects, {} received in {seconds:.1} s",
            report.figures.objects,
            mib(report.traffic.bytes)
        ),
        Outcome::Unchanged => info!("generation {number} is the newest, asked in {seconds:.1} s"),
        Outcome::Refused => info!("generation {number} stays: the newest was rolled back here"),
        Outcome::Staged => {}
    }
    Ok(())
}

/// Progress as lines on the console, at most one in two seconds.
struct Progress {
    started: Instant,
    /// When the next line is due, in milliseconds since then.
    due: AtomicU64,
}

impl Progress {
    const INTERVAL: Duration = Duration::from_secs(2);

    fn new() -> Self {
        Self {
            started: Instant::now(),
            due: AtomicU64::new(interval()),
        }
    }
}

fn interval() -> u64 {
    u64::try_from(Progress::INTERVAL.as_millis()).unwrap_or(u64::MAX)
}

impl Watcher for Progress {
    fn transferred(&self, done: u64, total: u64) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = self.due.load(Ordering::Relaxed);
        // Of several threads that are due, one speaks.
        let next = now.saturating_add(interval());
        let ours = now >= due
            && self
                .due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if ours {
            info!(
                "{}",
                progress::line(done, total, self.started.elapsed()).trim()
            );
        }
    }
}
