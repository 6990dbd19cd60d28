//! Fetches again what [`crate::verify`] found damaged. A store gives the objects of its newest generation; what only an
//! older one needs may be gone from it.

use log::{info, warn};
use reclone_format::{Head, ObjectId, PackedObject};

use crate::accept::read_head;
use crate::barrier::Barrier;
use crate::bases::Bases;
use crate::commit::{move_objects, rename};
use crate::error::{Error, Result};
use crate::fetch::{Transfer, Watcher};
use crate::follow::Follow;
use crate::manifest::{fetch_manifest, has_id, objects_of, write_image};
use crate::memory;
use crate::plan::Sources;
use crate::pool::{Lock, Pool};
use crate::stage::Staging;
use crate::state::State;
use crate::store::HeadAnswer;
use crate::verify::{Damage, verify};
use crate::wanted::Wanted;

/// Damage in one place can hide damage in another: a generation is looked at again after its manifest was mended.
const ROUNDS: usize = 3;

/// Fetches everything that [`verify`] found damaged. When this returns without an error the pool is whole, and on disk;
/// the damage is returned. A previous generation that the store can not mend any more is forgotten, with a warning.
pub fn mend_all(
    pool: &Pool,
    follow: &Follow,
    damage: Damage,
    lock: &Lock,
    watcher: &dyn Watcher,
) -> Result<Damage> {
    let mut hidden = mend(pool, follow, &damage, lock, watcher)?;
    for _ in 1..ROUNDS {
        if !hidden {
            return Ok(damage);
        }
        let rest = verify(pool, watcher)?;
        hidden = mend(pool, follow, &rest, lock, watcher)?;
    }
    match hidden {
        false => Ok(damage),
        true => Err(Error::Unsound {
            path: pool.root().into(),
            count: damage.count(),
        }),
    }
}

/// Mends this damage; whether there may be more behind it.
fn mend(
    pool: &Pool,
    follow: &Follow,
    damage: &Damage,
    _: &Lock,
    watcher: &dyn Watcher,
) -> Result<bool> {
    if damage.count() == 0 {
        return Ok(false);
    }
    let HeadAnswer::Fresh { bytes, .. } = follow.store.head(None)? else {
        return Ok(true);
    };
    let head = read_head(&bytes, &follow.location, &follow.key)?;
    let state = pool.state()?;
    let mended = mend_manifests(pool, follow, damage, &state, &head)
        .and_then(|()| mend_objects(pool, follow, damage, &head, watcher))
        .and_then(|()| mend_images(pool, damage));
    match (mended, state.previous) {
        (Err(Error::Absent(id)), Some(previous)) if !needs(pool, &state, &id)? => {
            warn!(
                "generation {} can not be mended and is forgotten",
                previous.number
            );
            pool.write_state(&State {
                previous: None,
                ..state
            })?;
            Ok(true)
        }
        (mended, _) => mended.map(|()| !damage.manifests.is_empty()),
    }
}

/// Whether the current generation needs an object, as far as its manifest can still tell.
fn needs(pool: &Pool, state: &State, id: &ObjectId) -> Result<bool> {
    let Some(current) = state.current else {
        return Ok(false);
    };
    let path = pool.manifest(current.number);
    if current.manifest == *id || !has_id(&path, &current.manifest)? {
        return Ok(true);
    }
    Ok(objects_of(&path)?.contains(id))
}

/// Puts what is mended, and staged, in the place of what is damaged: a cut leaves one or the other.
fn replace(pool: &Pool, staging: &Staging, rename_all: impl FnOnce() -> Result<()>) -> Result<()> {
    staging.sync(Barrier::Mended)?;
    rename_all()?;
    pool.sync(Barrier::Replaced)
}

fn mend_manifests(
    pool: &Pool,
    follow: &Follow,
    damage: &Damage,
    state: &State,
    head: &Head,
) -> Result<()> {
    for generation in state
        .generations()
        .filter(|it| damage.manifests.contains(&it.number))
    {
        if generation.manifest != head.manifest.id {
            return Err(Error::Absent(generation.manifest));
        }
        let staging = Staging::open(pool)?;
        let bases = Bases::new(pool, Vec::new());
        fetch_manifest(&*follow.store, head, &bases, &staging.manifest())?;
        write_image(&staging.manifest(), &staging.image())?;
        replace(pool, &staging, || {
            rename(&staging.manifest(), &pool.manifest(generation.number))?;
            rename(&staging.image(), &pool.image(generation.number))
        })?;
        info!("mended the manifest of generation {}", generation.number);
    }
    Ok(())
}

fn mend_objects(
    pool: &Pool,
    follow: &Follow,
    damage: &Damage,
    head: &Head,
    watcher: &dyn Watcher,
) -> Result<()> {
    if damage.objects.is_empty() {
        return Ok(());
    }
    let objects = damage.objects.iter().map(|(id, size)| PackedObject {
        id: *id,
        size: *size,
    });
    let wanted = Wanted::new(objects.collect());
    let staging = Staging::open(pool)?;
    staging.take_over(&wanted)?;
    let sources = Sources::new(&*follow.store, &head.packs);
    // What is damaged is no base.
    let damaged = |id: &ObjectId| {
        damage
            .objects
            .binary_search_by_key(id, |(object, _)| *object)
            .is_ok()
    };
    let (mut plan, _) = sources.plan(&wanted, |id| !damaged(id) && pool.object(id).exists())?;
    let transfer = Transfer {
        store: &*follow.store,
        bases: &Bases::new(pool, Vec::new()),
        staging: &staging,
        wanted: &wanted,
        memory: memory::limit(),
        watcher,
    };
    transfer.run(&mut plan)?;
    replace(pool, &staging, || {
        move_objects(&staging.objects(), &pool.objects())
    })?;
    info!("mended {} objects", damage.objects.len());
    staging.clear()
}

fn mend_images(pool: &Pool, damage: &Damage) -> Result<()> {
    for number in &damage.images {
        let staging = Staging::open(pool)?;
        write_image(&pool.manifest(*number), &staging.image())?;
        replace(pool, &staging, || {
            rename(&staging.image(), &pool.image(*number))
        })?;
        staging.clear()?;
        info!("mended the image of generation {number}");
    }
    Ok(())
}
