//! Which delta packs lead from what a clone has to the generation of a head. Decided by the sizes in signed heads, before any
//! pack is asked for.

use log::debug;
use reclone_format::{Head, PackRef, PublicKey};

use crate::accept::read_head;
use crate::error::{Error, Result};
use crate::store::{Kind, Store};

/// The most delta packs in a row: each costs a request and, but for the last, one for the head that names it.
const MAX_LINKS: usize = 8;

/// Delta packs, in the order in which they lead on. None: there is no such way.
pub type Links = Vec<PackRef>;

/// The shortest way that `head` itself names, from one of the generations in `have`.
pub fn direct(head: &Head, have: &[u64]) -> Option<PackRef> {
    let deltas = head.deltas.iter();
    let usable = deltas.filter(|delta| have.contains(&delta.from));
    let shortest = usable.min_by_key(|delta| delta.pack.size);
    shortest.map(|delta| delta.pack.clone())
}

/// A way over generations between: the heads of these name the deltas that led to them. One request for each such head; none
/// where `head` has no delta from a generation after those in `have`.
pub fn chain(store: &dyn Store, key: &PublicKey, head: &Head, have: &[u64]) -> Result<Links> {
    let Some(newest) = have.iter().max() else {
        return Ok(Links::new());
    };
    let mut links = Links::new();
    let mut to = head.clone();
    while links.len() < MAX_LINKS {
        if let Some(last) = direct(&to, have) {
            links.push(last);
            links.reverse();
            return Ok(links);
        }
        let later = to.deltas.iter().filter(|delta| delta.from > *newest);
        // The furthest back: the fewest requests.
        let Some(step) = later.min_by_key(|delta| (delta.from, delta.pack.size)) else {
            break;
        };
        links.push(step.pack.clone());
        match head_of(store, key, head, step.from)? {
            Some(between) => to = between,
            None => break,
        }
    }
    Ok(Links::new())
}

/// Bytes of all packs.
pub fn size(links: &[PackRef]) -> u64 {
    links
        .iter()
        .map(|pack| pack.size)
        .fold(0, u64::saturating_add)
}

/// The head of an older generation, if the store still has it and it is of the same model.
fn head_of(
    store: &dyn Store,
    key: &PublicKey,
    newest: &Head,
    generation: u64,
) -> Result<Option<Head>> {
    let place = format!("heads/{generation}");
    let bytes = match store.file(&place) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Store(error)),
    };
    match read_head(&bytes, &place, key) {
        Ok(head) if head.generation == generation && head.model == newest.model => Ok(Some(head)),
        Ok(_) => Ok(None),
        Err(error) => {
            debug!("{error}");
            Ok(None)
        }
    }
}
