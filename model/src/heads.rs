//! The head to go on from, and the signing of the next one.

use reclone_format::Head;

use crate::error::{Error, Result};
use crate::keys::Signer;
use crate::store::Store;

/// The head to go on from, and whether it is but a copy because `head` was lost. Counting from 1 again would have every
/// clone refuse what is published.
pub fn last_head(store: &Store) -> Result<(Option<Head>, bool)> {
    let last = store.head()?;
    if last.is_some() {
        return Ok((last, false));
    }
    let copy = store.newest_copy()?;
    if let Some(copy) = &copy {
        log::warn!(
            "the store has lost its head: going on after generation {}",
            copy.generation
        );
    }
    let is_lost = copy.is_some();
    Ok((copy, is_lost))
}

/// The serial of the head that follows `last`: above that of every head that may have been seen.
pub fn next_serial(store: &Store, last: &Head) -> u64 {
    // A publish that was cut short may have replaced the copy and not the head.
    let copy = store.head_of(last.generation).ok().flatten();
    copy.map_or(0, |copy| copy.serial).max(last.serial) + 1
}

/// Signs `head` and makes it the newest. Everything that it names must be durable; it is durable when this returns.
pub fn sign_and_publish(store: &Store, signer: &Signer, head: &Head) -> Result<()> {
    head.check().map_err(Error::Unpublishable)?;
    let comment = format!(
        "reclone head of {}, serial {}, generation {}",
        head.model, head.serial, head.generation
    );
    let signed = signer.sign(&head.encode(), &comment)?;
    store.publish_head(head.generation, &signed)
}
