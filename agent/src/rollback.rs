//! Back to the previous generation, for good: until the store has a newer one than that which was left.

use crate::error::{Error, Result};
use crate::pool::{Lock, Pool};
use crate::state::{Generation, State};
use crate::store::Validators;
use crate::thaw;

/// Makes the previous generation current, and the current one the previous. When this returns it is on disk. A second
/// call goes forward again. A clone that is thawed is so no more: its session would boot instead.
pub fn roll_back(pool: &Pool, lock: &Lock) -> Result<Generation> {
    let state = pool.state()?;
    let current = state
        .current
        .ok_or_else(|| Error::NoGeneration(pool.root().into()))?;
    let previous = state
        .previous
        .ok_or_else(|| Error::NoPrevious(pool.root().into()))?;
    // First: the record's way to the disk, which is in the same folder, takes this along.
    thaw::freeze(pool, lock)?;
    pool.write_state(&State {
        current: Some(previous),
        previous: Some(current),
        refused: Some(current.number).filter(|number| *number > previous.number),
        trial: 0,
        // The head was answered with "unchanged" so far; it has to be looked at again.
        validators: Validators::default(),
        ..state
    })?;
    Ok(previous)
}
