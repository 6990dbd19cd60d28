//! `reclone-model prune`: forgets old generations. First their heads go, then the packs that no head names any more, so
//! that at any moment every head of the store has all of its packs.

use std::collections::HashSet;
use std::fs;

use reclone_format::PackId;

use crate::error::{Context, Error, Result};
use crate::progress::bytes;
use crate::store::Store;

/// What to keep.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// How many of the newest generations; the newest of all stays in any case.
    pub keep: usize,
    /// Only say what would be removed.
    pub dry_run: bool,
}

/// Removes all but the newest generations. Needs no key.
pub fn prune(store: &Store, options: &PruneOptions) -> Result<()> {
    let _lock = store.lock("prune")?;
    let Some(newest) = store.head()? else {
        return Err(Error::NothingPublished {
            store: store.root().to_owned(),
        });
    };
    let generations = store.generations()?;
    let (old, kept) = generations.split_at(generations.len().saturating_sub(options.keep.max(1)));
    let mut needed: HashSet<PackId> = packs_of(&newest).collect();
    for generation in kept {
        // A head that can not be read stops everything here: its packs must not be guessed.
        needed.extend(store.head_of(*generation)?.iter().flat_map(packs_of));
    }
    let old: Vec<u64> = old
        .iter()
        .copied()
        .filter(|generation| *generation != newest.generation)
        .collect();
    for generation in &old {
        if !options.dry_run {
            let path = store.head_path(*generation);
            fs::remove_file(&path).context("remove", &path)?;
        }
    }
    if !options.dry_run {
        store.sync_heads()?;
    }
    let (mut freed, mut count) = (0, 0);
    for pack in store.packs()? {
        if needed.contains(&pack) {
            continue;
        }
        let path = store.pack_path(&pack);
        freed += fs::metadata(&path).context("read", &path)?.len();
        count += 1;
        if !options.dry_run {
            fs::remove_file(&path).context("remove", &path)?;
        }
    }
    log::info!(
        "{} {} generations and {count} packs: {}",
        if options.dry_run {
            "would remove"
        } else {
            "removed"
        },
        old.len(),
        bytes(freed)
    );
    Ok(())
}

fn packs_of(head: &reclone_format::Head) -> impl Iterator<Item = PackId> {
    head.all_packs().map(|pack| pack.id)
}
