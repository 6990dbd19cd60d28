//! Removes what no generation, session or running system needs: objects, images, manifests, ended sessions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reclone_format::ObjectId;

use crate::error::{Error, Result};
use crate::keep;
use crate::manifest::{has_id, objects_of};
use crate::pool::{Lock, Pool, list, remove_dir};
use crate::session;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Generations.
    pub generations: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of those objects.
    pub bytes: u64,
    /// Ended sessions.
    pub sessions: u64,
}

/// Removes all but the current and the previous generation and those that are mounted, and every session that nobody is in,
/// once what the clone keeps of it is saved. Syncs nothing else: what power brings back is removed the next time.
pub fn prune(pool: &Pool, _: &Lock) -> Result<Pruned> {
    // What the last sessions left makes room for what is saved of those that end now.
    let mut pruned = Pruned {
        sessions: session::remove_ended(pool)?,
        ..Pruned::default()
    };
    let state = pool.state()?;
    let needed = || state.generations();
    // Without the right manifest nobody knows what is needed: this ends the run before anything is removed.
    for generation in needed() {
        let path = pool.manifest(generation.number);
        if !has_id(&path, &generation.manifest)? {
            let reason = "it is damaged or missing".into();
            return Err(Error::Damaged { path, reason });
        }
    }
    let mounted = crate::sys::loop_device::backing_files();
    let keeps = |path: &Path| {
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let image = path.file_name().map(|name| Path::new("images").join(name));
        number.is_some_and(|number: u64| needed().any(|it| it.number == number))
            || image.is_some_and(|image| mounted.iter().any(|file| file.ends_with(&image)))
    };
    let mut kept = BTreeSet::new();
    for manifest in list_if_there(&pool.root().join("manifests"))? {
        match keeps(&manifest) {
            true => drop(kept.insert(manifest)),
            false => {
                pruned.generations += 1;
                remove_file(&manifest)?;
            }
        }
    }
    // Those of these generations, and what a run that was killed left beside them.
    for image in list_if_there(&pool.root().join("images"))? {
        if !keeps(&image) {
            remove_file(&image)?;
        }
    }
    let mut live = Vec::new();
    for path in &kept {
        live.extend(objects_of(path)?);
        live.sort_unstable();
        live.dedup();
    }
    remove_objects(pool, &live, &mut pruned)?;
    keep::end_sessions(pool)?;
    pruned.sessions += session::remove_ended(pool)?;
    Ok(pruned)
}

fn remove_objects(pool: &Pool, live: &[ObjectId], pruned: &mut Pruned) -> Result<()> {
    for folder in list_if_there(&pool.objects())? {
        let prefix = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for path in list(&folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let id: Option<ObjectId> = format!("{prefix}{name}").parse().ok();
            if id.is_none_or(|id| live.binary_search(&id).is_err()) {
                pruned.objects += 1;
                pruned.bytes += fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
                remove_file(&path)?;
            }
        }
    }
    Ok(())
}

fn list_if_there(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    match folder.exists() {
        true => list(folder),
        false => Ok(Vec::new()),
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::system("can not remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes what an unfinished sync staged.
pub fn drop_staging(pool: &Pool, _: &Lock) -> Result<()> {
    remove_dir(&pool.staging())
}
