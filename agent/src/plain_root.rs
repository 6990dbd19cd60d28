//! Objects from files that are here already: a first clone of a machine that was installed like the model need not fetch
//! them. Files are looked for under their paths in the manifest; what has the right size is copied, as a reflink where
//! the file system can, and taken where it has the right content.

use std::fs::File;
use std::io::Read;
use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use log::debug;
use reclone_format::{ManifestReader, PackedObject, TreePath};
use rustix::fs::{OFlags, ResolveFlags};

use crate::error::{Error, Result};
use crate::stage::{Copied, Staging};
use crate::sys::beneath;
use crate::wanted::Wanted;

/// Files that were not what they might have been: this many may be looked at for nothing, and eight more for each that was.
const VAIN_FILES: u64 = 4096;
const WORTH: u64 = 8;
/// Bytes that may be read for nothing, beside as many as were taken.
const VAIN_BYTES: u64 = 16 << 20;
const MAX_WORKERS: usize = 4;

/// What came of it so far.
#[derive(Default)]
struct Tally {
    objects: u64,
    bytes: u64,
    vain_files: u64,
    vain_bytes: u64,
}

impl Tally {
    /// Whether to go on: where nothing fits, the store is the faster way.
    fn pays(&self) -> bool {
        self.vain_files <= VAIN_FILES + WORTH * self.objects
            && self.vain_bytes <= VAIN_BYTES + self.bytes
    }
}

/// Stages every object of `wanted` that a file below `root` holds under its path in the manifest, as long as that pays. Gives
/// the number of objects and bytes. No link is followed, and nothing of `root` is changed. Syncs nothing.
pub fn take_from<R: Read + Send>(
    root: &Path,
    manifest: ManifestReader<R>,
    wanted: &Wanted,
    staging: &Staging,
) -> Result<(u64, u64)> {
    let taker = Taker {
        top: File::open(root).map_err(Error::system("can not open", root))?,
        wanted,
        staging,
        manifest: Mutex::new(manifest),
        tally: Mutex::default(),
    };
    let workers = thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(MAX_WORKERS);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| taker.work())).collect();
        let mut worked = workers.into_iter().map(|it| it.join().unwrap_or(Ok(())));
        worked.try_for_each(|it| it)
    })?;
    let tally = taker.tally.into_inner().unwrap_or_default();
    debug!(
        "{} files, {} bytes were looked at in vain",
        tally.vain_files, tally.vain_bytes
    );
    Ok((tally.objects, tally.bytes))
}

struct Taker<'a, R> {
    top: File,
    wanted: &'a Wanted,
    staging: &'a Staging,
    manifest: Mutex<ManifestReader<R>>,
    tally: Mutex<Tally>,
}

impl<R: Read> Taker<'_, R> {
    fn work(&self) -> Result<()> {
        while self.tally.lock().is_ok_and(|tally| tally.pays()) {
            let Some((path, object)) = self.next()? else {
                break;
            };
            let (looked_at, came) = match self.open(&path, object.size) {
                None => (0, Copied::Other),
                Some(file) => (object.size, self.staging.copy(&file, &object, self.wanted)?),
            };
            let Ok(mut tally) = self.tally.lock() else {
                break;
            };
            match came {
                Copied::Whole => {
                    tally.objects += 1;
                    tally.bytes += object.size;
                }
                Copied::Other => {
                    tally.vain_files += 1;
                    tally.vain_bytes += looked_at;
                }
                Copied::Taken => {}
            }
        }
        Ok(())
    }

    /// The next file of the manifest whose content nobody has yet.
    fn next(&self) -> Result<Option<(TreePath, PackedObject)>> {
        let Ok(mut manifest) = self.manifest.lock() else {
            return Ok(None);
        };
        while let Some(item) = manifest
            .next_entry()
            .map_err(Error::published("manifest"))?
        {
            if let Some((id, size)) = item.entry.object() {
                let object = PackedObject { id, size };
                let place = self.wanted.place(&object);
                if place.is_some_and(|at| self.wanted.is_open(at)) {
                    return Ok(Some((item.entry.path, object)));
                }
            }
        }
        Ok(None)
    }

    /// The plain file of this size at `path`, if there is one: below the top, and no link on the way.
    fn open(&self, path: &TreePath, size: u64) -> Option<File> {
        // A pipe where a file belongs would be waited for without end.
        let (flags, further) = (OFlags::NONBLOCK, ResolveFlags::empty());
        let opened = beneath::open(&self.top, path.as_bytes(), flags, further);
        let file = File::from(opened.ok()?);
        let it = file.metadata().ok()?;
        (it.is_file() && it.len() == size).then_some(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_vain_is_bounded_by_what_was_worth_it() {
        let tally = |objects, bytes, vain_files, vain_bytes| Tally {
            objects,
            bytes,
            vain_files,
            vain_bytes,
        };
        assert!(tally(0, 0, 4096, 0).pays());
        assert!(!tally(0, 0, 4097, 0).pays());
        assert!(tally(1000, 0, 12_096, 0).pays());
        assert!(!tally(1000, 0, 12_097, 0).pays());
        assert!(!tally(0, 0, 1, (16 << 20) + 1).pays());
        assert!(tally(0, 1, 1, (16 << 20) + 1).pays());
    }
}
