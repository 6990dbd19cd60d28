//! Which heads a clone takes: signed by the right key, of the right model, and never an older one than it has seen.

use reclone_format::object_id::sha256;
use reclone_format::{Head, ObjectId, PublicKey};

use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::state::{Generation, State};
use crate::store::Validators;

/// What the head may be asked for with: only what this very store said, and only where its answer is still here to be used.
pub fn known_validators<'s>(
    pool: &Pool,
    state: &'s State,
    location: &str,
    model: Option<&str>,
) -> Option<&'s Validators> {
    let same = state.store.as_deref() == Some(location);
    let followed = model.is_none_or(|model| state.model.as_deref() == Some(model));
    let whole = state
        .current
        .is_some_and(|current| pool.image(current.number).exists());
    (same && followed && whole).then_some(&state.validators)
}

/// Checks the signature of the head that the store at `location` gave, then reads it.
pub fn read_head(bytes: &[u8], location: &str, key: &PublicKey) -> Result<Head> {
    Head::verify(bytes, key).map_err(Error::published(&format!("{location}/head")))
}

/// What must hold between a head and what was seen before: the model, and that time goes forward.
pub fn check_head(head: &Head, bytes: &[u8], state: &State, model: Option<&str>) -> Result<()> {
    let followed = model.or(state.model.as_deref());
    if let Some(wanted) = followed.filter(|wanted| *wanted != head.model) {
        return Err(Error::OtherModel {
            wanted: wanted.into(),
            found: head.model.clone(),
        });
    }
    // Serials of another model say nothing.
    if state
        .model
        .as_deref()
        .is_some_and(|model| model != head.model)
    {
        return Ok(());
    }
    if head.serial < state.serial {
        return Err(Error::Older {
            found: head.serial,
            known: state.serial,
        });
    }
    let digest = ObjectId::from_bytes(sha256(bytes));
    match state.head {
        Some(seen) if head.serial == state.serial && seen != digest => {
            Err(Error::Forked(head.serial))
        }
        _ => Ok(()),
    }
}

/// A generation is never changed: one that is here under the same number with another manifest would have its files
/// replaced under it.
pub fn check_number(head: &Head, state: &State) -> Result<()> {
    let changed =
        |known: Generation| known.number == head.generation && known.manifest != head.manifest.id;
    match state.generations().any(changed) {
        true => Err(Error::Renumbered(head.generation)),
        false => Ok(()),
    }
}
