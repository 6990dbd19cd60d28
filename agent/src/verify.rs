//! Reads everything that the pool's generations need, and tells what is damaged. [`crate::repair`] mends it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek};
use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use reclone_format::{ObjectId, PackedObject};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::error::{Error, Result};
use crate::fetch::Watcher;
use crate::image;
use crate::manifest::{has_id, read_manifest, write_image};
use crate::pool::Pool;
use crate::stage::{id_of, is_whole};

/// What is wrong with a pool.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Objects that are missing or not what their names say.
    pub objects: Vec<(ObjectId, u64)>,
    /// Generations whose manifest is missing or damaged; their objects could not be checked.
    pub manifests: Vec<u64>,
    /// Generations whose image is missing or not the one that their manifest makes.
    pub images: Vec<u64>,
    /// How many objects were read.
    pub checked: usize,
}

impl Damage {
    /// How many files.
    pub fn count(&self) -> usize {
        self.objects.len() + self.manifests.len() + self.images.len()
    }

    /// One line a file, for people.
    pub fn describe(&self, pool: &Pool) -> Vec<String> {
        let objects = self.objects.iter().map(|(id, _)| pool.object(id));
        let manifests = self.manifests.iter().map(|number| pool.manifest(*number));
        let images = self.images.iter().map(|number| pool.image(*number));
        let paths = objects.chain(manifests).chain(images);
        paths
            .map(|path| format!("{} is damaged or missing", path.display()))
            .collect()
    }
}

/// Reads every object, manifest and image of the current and the previous generation, on every core.
pub fn verify(pool: &Pool, watcher: &dyn Watcher) -> Result<Damage> {
    let state = pool.state()?;
    if state.current.is_none() {
        return Err(Error::NoGeneration(pool.root().into()));
    }
    let mut damage = Damage::default();
    let mut objects = BTreeMap::new();
    for generation in state.generations() {
        let path = pool.manifest(generation.number);
        if !has_id(&path, &generation.manifest)? {
            damage.manifests.push(generation.number);
            continue;
        }
        for item in read_manifest(&path)? {
            let item = item.map_err(Error::published(&path.display().to_string()))?;
            objects.extend(item.entry.object());
        }
        if !image_is_whole(&path, &pool.image(generation.number))? {
            damage.images.push(generation.number);
        }
    }
    damage.checked = objects.len();
    let objects: Vec<_> = objects
        .into_iter()
        .map(|(id, size)| PackedObject { id, size })
        .collect();
    damage.objects = check_objects(pool, &objects, watcher)?;
    Ok(damage)
}

/// The same manifest always makes the same image: what differs is damage.
pub fn image_is_whole(manifest: &Path, image: &Path) -> Result<bool> {
    let fresh = image.with_extension("check");
    let made = write_image(manifest, &fresh).and_then(|()| {
        let id = File::open(&fresh).and_then(id_of);
        id.map_err(Error::system("can not read", &fresh))
    });
    if fresh.exists() {
        fs::remove_file(&fresh).map_err(Error::system("can not remove", &fresh))?;
    }
    let expected = match made {
        // That the disk is full is no damage.
        Err(error) if error.is_full_disk() => image_id(manifest)?,
        made => made?,
    };
    has_id(image, &expected)
}

/// The id of the image that a manifest makes. The image is in memory meanwhile.
fn image_id(manifest: &Path) -> Result<ObjectId> {
    let failed = |error: io::Error| Error::system("can not make the image of", manifest)(error);
    let memory =
        memfd_create("image", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let mut memory = File::from(memory);
    image::write(|| File::open(manifest), &memory)
        .map_err(Error::published(&manifest.display().to_string()))?;
    memory.rewind().map_err(failed)?;
    id_of(memory).map_err(failed)
}

fn check_objects(
    pool: &Pool,
    objects: &[PackedObject],
    watcher: &dyn Watcher,
) -> Result<Vec<(ObjectId, u64)>> {
    let next = AtomicUsize::new(0);
    let outcome = Mutex::new((Vec::new(), None));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(object) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let whole = is_whole(&pool.object(&object.id), object);
                    watcher.transferred(
                        next.load(Ordering::Relaxed).min(objects.len()) as u64,
                        objects.len() as u64,
                    );
                    let Ok(mut outcome) = outcome.lock() else {
                        return;
                    };
                    match whole {
                        Ok(true) => {}
                        Ok(false) => outcome.0.push((object.id, object.size)),
                        Err(error) => outcome.1 = Some(error),
                    }
                }
            });
        }
    });
    match outcome.into_inner() {
        Ok((mut damaged, None)) => {
            damaged.sort_unstable();
            Ok(damaged)
        }
        Ok((_, Some(error))) => Err(error),
        Err(_) => Err(Error::Usage("A checking thread failed".into())),
    }
}
