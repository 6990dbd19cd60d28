//! Adds delta packs to the newest generation: each is durable before `head` is published again with it, under the next
//! serial. So clones can have the generation before its delta packs are made, and a run that is cut short loses at most
//! the pack that it was making.

use std::time::Instant;

use reclone_format::Head;

use crate::delta::{effort::Effort, make};
use crate::error::{Error, Result};
use crate::heads::{next_serial, sign_and_publish};
use crate::keys::Signer;
use crate::progress::bytes;
use crate::store::Store;

/// Which delta packs to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaOptions {
    /// From these generations, besides the one before the newest.
    pub from: Vec<u64>,
    /// How hard to try.
    pub effort: Effort,
}

/// Makes the delta packs that the newest generation lacks. The caller holds the store's lock. What was made before an
/// error stays.
pub fn add_deltas(store: &Store, signer: &Signer, options: &DeltaOptions) -> Result<()> {
    let Some(mut head) = store.head()? else {
        return Err(Error::NothingPublished {
            store: store.root().to_owned(),
        });
    };
    for from in sources(store, &head, options)? {
        let Some(old) = store.head_of(from)?.filter(|_| from < head.generation) else {
            return Err(Error::NoGeneration {
                store: store.root().to_owned(),
                generation: from,
            });
        };
        let is_made = head.deltas.iter().any(|delta| delta.from == from);
        // The same manifest again: there is nothing to be had.
        if is_made || old.manifest.id == head.manifest.id {
            continue;
        }
        let start = Instant::now();
        let delta = make(store, &old, &head, options.effort)?;
        let size = delta.pack.size;
        head.deltas.push(delta);
        head.serial = next_serial(store, &head);
        sign_and_publish(store, signer, &head)?;
        log::info!(
            "published a delta pack from generation {from} to {}: {}, {:.1} s",
            head.generation,
            bytes(size),
            start.elapsed().as_secs_f32()
        );
    }
    Ok(())
}

/// The generation before the newest, and those that were asked for.
fn sources(store: &Store, head: &Head, options: &DeltaOptions) -> Result<Vec<u64>> {
    let generations = store.generations()?;
    let older = generations.iter().copied();
    let mut sources: Vec<u64> = older
        .filter(|generation| *generation < head.generation)
        .max()
        .into_iter()
        .collect();
    for from in &options.from {
        if !sources.contains(from) {
            sources.push(*from);
        }
    }
    Ok(sources)
}
