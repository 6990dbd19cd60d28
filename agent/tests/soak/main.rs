//! The long run: random histories of a model, its store and a clone, each in a world of its own, until there were `STEPS`
//! steps or `MINUTES` are over. `SEED` is the first history's seed, the next has the next. `DISK` is ext4 or xfs.
//!
//! `make soak` runs it, with the feature `crash-points`. It has no harness: the last line is `N steps, M violations`, and the
//! exit status says whether M is 0. When a kill comes is not the seed's to decide.
#![allow(clippy::unwrap_used)]

#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/tree_compare.rs"]
mod tree_compare;
// By its path, so that its parts are beside it here as they are for the short test.
#[path = "world.rs"]
mod world;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use world::World;

/// Steps of one history.
const HISTORY: u64 = 100;
/// Steps without `STEPS`: for who runs every test there is.
const STEPS: u64 = 50;
/// Steps between two lines of progress.
const PROGRESS: u64 = 500;
/// Steps that are told before a violation.
const TRAIL: usize = 12;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

fn main() -> ExitCode {
    if !mounts::is_root() {
        return ExitCode::SUCCESS;
    }
    let seed = number("SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let steps = number("STEPS").unwrap_or(STEPS);
    let minutes = number("MINUTES").unwrap_or(60);
    let disk = env::var("DISK").ok().filter(|disk| !disk.is_empty());
    let disk = disk.unwrap_or_else(|| "ext4".into());
    println!("SEED={seed} STEPS={steps} MINUTES={minutes} DISK={disk}");
    let started = Instant::now();
    let end = started + Duration::from_secs(60 * minutes);
    let (mut done, mut violations, mut told) = (0, 0, 0);
    for seed in seed.. {
        if done >= steps || Instant::now() >= end {
            break;
        }
        let (taken, is_sound) = history(seed, &disk, HISTORY.min(steps - done), end);
        done += taken;
        violations += u64::from(!is_sound);
        if done / PROGRESS > told {
            told = done / PROGRESS;
            let rate = done as f64 / started.elapsed().as_secs_f64();
            println!("{done} steps, {rate:.1} a second, {violations} violations");
        }
    }
    println!("{done} steps, {violations} violations");
    ExitCode::from(u8::from(violations > 0))
}

/// One history: how many steps it took, and whether all was as it must be.
fn history(seed: u64, disk: &str, steps: u64, end: Instant) -> (u64, bool) {
    let mut trail = Vec::new();
    let mut taken = 0;
    let run = AssertUnwindSafe(|| {
        let mut world = World::new(seed, disk);
        while taken < steps && Instant::now() < end {
            taken += 1;
            trail.push(world.step());
        }
        world.mend();
    });
    let is_sound = catch_unwind(run).is_ok();
    if !is_sound {
        println!("violation in step {taken} of the history with SEED={seed}; before it:");
        let first = trail.len().saturating_sub(TRAIL);
        trail[first..].iter().for_each(|step| println!("  {step}"));
    }
    (taken, is_sound)
}
