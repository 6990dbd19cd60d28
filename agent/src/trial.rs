//! Trial boots: a new generation has to prove itself, or the one before comes back.
//!
//! The record counts (`trial`, in `docs/format.md`): 0 for a generation that has proved itself, else one more than the boots that it
//! began. A boot is counted before anything of the generation is used, so that a kernel that panics or an init that hangs
//! counts, too. Where there is no generation to go back to, nobody counts.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::pool::{Lock, Pool};
use crate::rollback::roll_back;
use crate::state::{Generation, State};

/// How long to wait for another that works on the pool.
const PATIENCE: Duration = Duration::from_secs(300);

/// Boots that the current generation began without a good end; none where it is not on trial.
pub fn boots_begun(state: &State) -> Option<u32> {
    state.previous.and(state.trial.checked_sub(1))
}

/// Goes back to the previous generation where the current one is on trial and began this many boots. Gives the one that failed and the
/// one that came back. That one is not on trial, so this happens once.
pub fn fall_back(pool: &Pool, state: &State, boots: u32) -> Result<Option<[Generation; 2]>> {
    let failed = state
        .current
        .filter(|_| boots_begun(state).is_some_and(|begun| begun >= boots));
    let Some(failed) = failed else {
        return Ok(None);
    };
    let back = roll_back(pool, &pool.lock()?)?;
    Ok(Some([failed, back]))
}

/// Counts this boot where the current generation is on trial; gives its number, from 1 on. When this returns it is on disk.
pub fn begin(pool: &Pool, state: &State) -> Result<Option<u32>> {
    if boots_begun(state).is_none() {
        return Ok(None);
    }
    write(pool, &pool.lock()?, state, state.trial.saturating_add(1))?;
    Ok(Some(state.trial))
}

/// Takes back what [`begin`] made of the record `before`: another generation boots.
pub fn take_back(pool: &Pool, before: &State) -> Result<()> {
    write(pool, &pool.lock()?, before, before.trial)
}

/// Ends the trial of the generation that runs, if it is the current one. Whether it was on trial. When this returns it is on disk. Waits for
/// another that works on the pool.
pub fn prove(pool: &Pool, running: &Generation) -> Result<bool> {
    let lock = wait_for_lock(pool)?;
    let state = pool.state()?;
    if state.current != Some(*running) || state.trial == 0 {
        return Ok(false);
    }
    write(pool, &lock, &state, 0).map(|()| true)
}

fn write(pool: &Pool, _: &Lock, state: &State, trial: u32) -> Result<()> {
    let state = state.clone();
    pool.write_state(&State { trial, ..state })
}

fn wait_for_lock(pool: &Pool) -> Result<Lock> {
    let started = Instant::now();
    loop {
        match pool.lock() {
            Err(Error::Busy(_)) if started.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(500));
            }
            result => return result,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use reclone_format::object_id_of;

    fn generation(number: u64) -> Generation {
        Generation {
            number,
            manifest: object_id_of(&number.to_le_bytes()),
            entries: 1,
        }
    }

    /// A pool in which generation 5 was just committed over generation 4.
    fn pool(folder: &tempfile::TempDir) -> Pool {
        let pool = Pool::create(&folder.path().join("pool")).unwrap();
        let state = State {
            current: Some(generation(5)),
            previous: Some(generation(4)),
            trial: 1,
            ..State::default()
        };
        pool.write_state(&state).unwrap();
        pool
    }

    #[test]
    fn a_generation_that_began_as_many_boots_as_it_may_makes_room_for_the_one_before_once() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder);
        let state = || pool.state().unwrap();
        for boot in 1..=3 {
            assert_eq!(fall_back(&pool, &state(), 3).unwrap(), None);
            assert_eq!(begin(&pool, &state()).unwrap(), Some(boot));
        }
        let went = fall_back(&pool, &state(), 3).unwrap();
        assert_eq!(went, Some([generation(5), generation(4)]));
        let state = state();
        assert_eq!(state.current, Some(generation(4)));
        assert_eq!((state.refused, state.trial), (Some(5), 0));
        assert_eq!(begin(&pool, &state).unwrap(), None, "it has proved itself");
        assert_eq!(fall_back(&pool, &state, 1).unwrap(), None);
        assert_eq!(pool.state().unwrap(), state);
    }

    #[test]
    fn a_generation_that_proved_itself_is_not_counted_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder);
        begin(&pool, &pool.state().unwrap()).unwrap();
        assert!(!prove(&pool, &generation(4)).unwrap(), "another one runs");
        assert_eq!(boots_begun(&pool.state().unwrap()), Some(1));
        assert!(prove(&pool, &generation(5)).unwrap());
        assert!(
            !prove(&pool, &generation(5)).unwrap(),
            "it was proved before"
        );
        assert_eq!(begin(&pool, &pool.state().unwrap()).unwrap(), None);
    }

    #[test]
    fn a_boot_that_another_generation_took_over_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder);
        let before = pool.state().unwrap();
        begin(&pool, &before).unwrap();
        take_back(&pool, &before).unwrap();
        assert_eq!(pool.state().unwrap().trial, 1);
    }

    #[test]
    fn the_first_generation_has_none_to_go_back_to_and_is_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder);
        let first = State {
            previous: None,
            trial: 9,
            ..pool.state().unwrap()
        };
        pool.write_state(&first).unwrap();
        assert_eq!(begin(&pool, &first).unwrap(), None);
        assert_eq!(fall_back(&pool, &first, 3).unwrap(), None);
    }
}
