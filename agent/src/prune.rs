//! Removes what no generation, session or running system needs: objects, images, manifests, ended sessions.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use log::warn;
use reclone_format::ObjectId;

use crate::error::{Error, Result};
use crate::keep;
use crate::manifest::{has_id, objects_of};
use crate::pool::{Lock, Pool, list};
use crate::session::{self, Cap};
use crate::sys::loop_device::{BackingFile, backing_files};
use crate::verify::image_is_whole;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Generations.
    pub generations: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of those objects.
    pub bytes: u64,
    /// Ended sessions, and what was saved of such.
    pub sessions: u64,
}

/// Removes all that [`prune_within`] does, and every session that ended.
pub fn prune(pool: &Pool, lock: &Lock) -> Result<Pruned> {
    prune_within(pool, lock, &Cap::NONE)
}

/// Removes all but the current and the previous generation and those that are mounted, and ends every session that nobody is in,
/// once what the clone keeps of it is saved. Of the ended ones, and of what was saved of such, stays as much as `cap` says. Syncs nothing else: what power brings
/// back is removed the next time.
pub fn prune_within(pool: &Pool, _: &Lock, cap: &Cap) -> Result<Pruned> {
    // What the last sessions left makes room for what is saved of those that end now.
    let mut pruned = Pruned {
        sessions: session::trim_ended(pool, cap)?,
        ..Pruned::default()
    };
    let needed = Needed::of(pool)?;
    for manifest in list_if_there(&pool.root().join("manifests"))? {
        if !needed.has(&manifest) {
            pruned.generations += 1;
            remove_file(&manifest)?;
        }
    }
    // Those of these generations, and what a run that was killed left beside them.
    for image in list_if_there(&pool.root().join("images"))? {
        if !needed.has(&image) {
            remove_file(&image)?;
        }
    }
    if let Some(objects) = &needed.objects {
        remove_objects(pool, objects, &mut pruned)?;
    }
    if let Err(error) = keep::end_sessions(pool) {
        warn!("{error}");
    }
    pruned.sessions += session::trim_ended(pool, cap)? + session::trim_saved(pool, cap)?;
    Ok(pruned)
}

/// What has to stay.
struct Needed {
    generations: BTreeSet<u64>,
    /// Sorted. None where nobody knows them all.
    objects: Option<Vec<ObjectId>>,
}

impl Needed {
    /// Fails where a generation of the state record has not its manifest: what it needs can not be known, but mended.
    fn of(pool: &Pool) -> Result<Self> {
        let (mut generations, mut manifests) = (BTreeSet::new(), Vec::new());
        for generation in pool.state()?.generations() {
            let path = pool.manifest(generation.number);
            if !has_id(&path, &generation.manifest)? {
                let reason = "it is damaged or missing".into();
                return Err(Error::Damaged { path, reason });
            }
            generations.insert(generation.number);
            manifests.push(path);
        }
        let mut all_known = true;
        // A system may run on a generation that no record names any more: no store can mend its manifest, and only its image
        // tells whether that is the right one.
        for number in mounted(pool) {
            if !generations.insert(number) {
                continue;
            }
            let path = pool.manifest(number);
            match image_is_whole(&path, &pool.image(number)) {
                Ok(true) => manifests.push(path),
                _ => {
                    warn!(
                        "generation {number} is mounted and its manifest is damaged: all objects stay"
                    );
                    all_known = false;
                }
            }
        }
        let mut objects = Vec::new();
        for path in &manifests {
            objects.extend(objects_of(path)?);
            objects.sort_unstable();
            objects.dedup();
        }
        Ok(Self {
            generations,
            objects: all_known.then_some(objects),
        })
    }

    /// Whether a manifest or an image is that of such a generation.
    fn has(&self, path: &Path) -> bool {
        number_of(path).is_some_and(|number| self.generations.contains(&number))
    }
}

/// The generation that a manifest or an image is named for. One generation has one name.
fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let number: u64 = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}

/// The generations whose image is mounted.
fn mounted(pool: &Pool) -> BTreeSet<u64> {
    let images = pool.root().join("images");
    let own = |file: BackingFile| number_of(&file.path).filter(|_| is_of(&file, &images));
    backing_files().into_iter().filter_map(own).collect()
}

/// Whether the file behind a loop device is an image in this folder, or was until another took its place. Other pools have
/// images of the same names.
fn is_of(file: &BackingFile, images: &Path) -> bool {
    let (Some(folder), Some(name)) = (file.path.parent(), file.path.file_name()) else {
        return false;
    };
    let identity = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let image = identity(&images.join(name));
    match file.identity {
        _ if file.deleted => identity(folder).is_some_and(|it| identity(images) == Some(it)),
        Some(_) => image == file.identity,
        None => image.is_some() && folder.ends_with("images"),
    }
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
