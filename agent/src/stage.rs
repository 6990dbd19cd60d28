//! Lays verified objects, the manifest and the image out under `staging/`, where nothing relies on them. Syncs nothing:
//! what is durable is the business of [`crate::commit`].

mod sparse_file;

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nix::unistd::syncfs;
use reclone_format::frame::Sink;
use reclone_format::{ObjectHasher, ObjectId, PackedObject};
use rustix::fs::Advice;

use crate::barrier::Barrier;
use crate::error::{Error, Result};
use crate::pool::{Pool, list, make_own_dir, remove_any, remove_dir};
use crate::wanted::Wanted;

pub use sparse_file::SparseFile;

/// The file that says that everything is staged and synced.
const READY: &str = "ready";
/// The longest such file, in bytes.
const MAX_READY: u64 = 128;
/// What came of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The object is staged.
    Whole,
    /// It was something else.
    Other,
    /// Someone else has it already.
    Taken,
}

/// The folder `staging/` of a pool.
#[derive(Debug)]
pub struct Staging {
    root: PathBuf,
    /// Of the pool's disk. The system tells a failed write once to everyone who had opened the disk before it failed, and not
    /// to those who come later.
    disk: File,
}

impl Staging {
    /// The staging folder, made where it is missing.
    pub fn open(pool: &Pool) -> Result<Self> {
        let disk = File::open(pool.root()).map_err(Error::system("can not open", pool.root()))?;
        let staging = Self {
            root: pool.staging(),
            disk,
        };
        make_own_dir(&staging.root)?;
        make_own_dir(&staging.objects())?;
        staging.forget_ready()?;
        Ok(staging)
    }

    /// The staging folder as a run left it that had staged the whole generation with this manifest, and synced it. What it
    /// staged then is as good as what the pool has.
    pub fn ready(pool: &Pool, manifest: &ObjectId) -> Result<Option<Self>> {
        if ready_generation(pool).is_none_or(|(_, ready)| ready != *manifest) {
            return Ok(None);
        }
        let disk = File::open(pool.root()).map_err(Error::system("can not open", pool.root()))?;
        Ok(Some(Self {
            root: pool.staging(),
            disk,
        }))
    }

    /// Syncs what is staged and notes that it is all that a generation needs. When this returns, all of it is on disk.
    pub fn set_ready(&self, number: u64, manifest: &ObjectId) -> Result<()> {
        self.sync(Barrier::Staged)?;
        let path = self.root.join(READY);
        // Not synced: where a power cut takes it, the next run reads what is staged.
        fs::write(&path, ready_line(number, manifest))
            .map_err(Error::system("can not write", &path))
    }

    /// Removes that note. What is staged changes from here on, so it must not come back.
    fn forget_ready(&self) -> Result<()> {
        let path = self.root.join(READY);
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.and_then(|()| File::open(&self.root)?.sync_all()),
        };
        removed.map_err(Error::system("can not remove", &path))
    }

    /// Claims every object that is staged, by its name and size. Whether these are all that is wanted, and nothing else is
    /// there.
    pub fn is_all_of(&self, wanted: &Wanted) -> Result<bool> {
        for folder in list(&self.objects())? {
            if !kind_of(&folder).is_some_and(|kind| kind.is_dir()) {
                return Ok(false);
            }
            for path in list(&folder)? {
                let object = wanted_at(&path, wanted);
                let fits = object.is_some_and(|object| {
                    let it = fs::symlink_metadata(&path);
                    it.is_ok_and(|it| it.is_file() && it.len() == object.size)
                        && wanted.claim(&object)
                });
                if !fits {
                    return Ok(false);
                }
            }
        }
        Ok(wanted.open().0 == 0)
    }

    /// Staged objects, in the layout of the pool's.
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// The staged manifest.
    pub fn manifest(&self) -> PathBuf {
        self.root.join("manifest")
    }

    /// The staged image.
    pub fn image(&self) -> PathBuf {
        self.root.join("image")
    }

    /// Where an object is staged.
    pub fn object(&self, id: &ObjectId) -> PathBuf {
        self.objects().join(id.pool_path())
    }

    /// Writes everything of the pool's disk to it, and waits: this barrier. Fails where something that was written since
    /// the staging folder was opened did not reach the disk.
    pub fn sync(&self, barrier: Barrier) -> Result<()> {
        let synced = barrier.pass(|| Ok(syncfs(&self.disk)?));
        synced.map_err(Error::system("can not sync", &self.root))
    }

    /// Claims every wanted object that an interrupted run left whole; removes what it left in pieces. No sync protects
    /// staged files, so each is read from the disk and checked; what is not a plain file in a plain folder goes unread.
    /// Gives the number of objects and bytes taken over.
    pub fn take_over(&self, wanted: &Wanted) -> Result<(u64, u64)> {
        let mut taken = (0, 0);
        let folders = list(&self.objects())?;
        if !folders.is_empty() {
            // What the disk does not take now is missed when it is read.
            let _ = syncfs(&self.disk);
        }
        for folder in folders {
            if !kind_of(&folder).is_some_and(|kind| kind.is_dir()) {
                remove_any(&folder)?;
                continue;
            }
            for path in list(&folder)? {
                let object = wanted_at(&path, wanted)
                    .filter(|_| kind_of(&path).is_some_and(|kind| kind.is_file()));
                match object {
                    Some(object) if is_whole(&path, &object)? && wanted.claim(&object) => {
                        wanted.set_staged(&object);
                        taken = (taken.0 + 1, taken.1 + object.size);
                    }
                    _ => remove_any(&path)?,
                }
            }
        }
        Ok(taken)
    }

    /// Stages what should be a copy of `object`, as a reflink where the file system can. Whatever else it is goes again.
    pub fn copy(&self, source: &File, object: &PackedObject, wanted: &Wanted) -> Result<Copied> {
        if !wanted.claim(object) {
            return Ok(Copied::Taken);
        }
        let path = self.object(&object.id);
        let write = || -> io::Result<bool> {
            let mut copy = SparseFile::create(&path)?;
            let id = match copy.reflink(source) {
                // What counts is the copy: nobody else can change that any more.
                Ok(()) => id_of(File::open(&path)?)?,
                Err(_) => copy.fill_from(source.take(object.size + 1))?,
            };
            Ok(id == object.id)
        };
        match write() {
            Ok(true) => {
                wanted.set_staged(object);
                Ok(Copied::Whole)
            }
            Ok(false) => {
                wanted.release(object);
                remove_any(&path)?;
                Ok(Copied::Other)
            }
            // The source's fault or the disk's: as far as this object goes, it is not there.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                wanted.release(object);
                remove_any(&path)?;
                Ok(Copied::Other)
            }
            Err(error) => Err(Error::system("can not write", &path)(error)),
        }
    }

    /// Removes everything staged.
    pub fn clear(self) -> Result<()> {
        remove_dir(&self.root)
    }
}

/// Number and manifest of the generation that is staged completely, if one is.
pub fn ready_generation(pool: &Pool) -> Option<(u64, ObjectId)> {
    let mut line = String::new();
    let file = File::open(pool.staging().join(READY)).ok()?;
    file.take(MAX_READY).read_to_string(&mut line).ok()?;
    let (number, manifest) = line.strip_suffix('\n')?.split_once(' ')?;
    let (number, manifest) = (number.parse().ok()?, manifest.parse().ok()?);
    (ready_line(number, &manifest) == line).then_some((number, manifest))
}

fn ready_line(number: u64, manifest: &ObjectId) -> String {
    format!("{number} {manifest}\n")
}

/// What has this name, a symbolic link itself and not what it leads to.
fn kind_of(path: &Path) -> Option<FileType> {
    fs::symlink_metadata(path)
        .ok()
        .map(|metadata| metadata.file_type())
}

/// The wanted object whose place `…/ab/cdef…` is, if it is one's.
fn wanted_at(path: &Path, wanted: &Wanted) -> Option<PackedObject> {
    let folder = path.parent()?.file_name()?.to_str()?;
    let id: ObjectId = format!("{folder}{}", path.file_name()?.to_str()?)
        .parse()
        .ok()?;
    let objects = wanted.objects();
    let at = objects.binary_search_by_key(&id, |object| object.id).ok()?;
    Some(objects[at])
}

/// Whether the file at `path` holds the object.
pub fn is_whole(path: &Path, object: &PackedObject) -> Result<bool> {
    let check = || -> io::Result<bool> {
        let file = open_uncached(path)?;
        Ok(file.metadata()?.len() == object.size && id_of(file)? == object.id)
    };
    match check() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // A sector that can not be read is damage like any other: the object is fetched again.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
        checked => checked.map_err(Error::system("can not read", path)),
    }
}

/// Opens a file to read what is on the disk. Memory may hold what the disk has not: what it failed to write, and what has
/// rotted since it was read.
pub fn open_uncached(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    // Where this does nothing there is no disk.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    Ok(file)
}

/// The id of everything in `source`.
pub fn id_of(mut source: impl Read) -> io::Result<ObjectId> {
    let mut hasher = ObjectHasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes the wanted objects of decoded frames into the staging folder.
pub struct ObjectSink<'a> {
    staging: &'a Staging,
    wanted: &'a Wanted,
    file: Option<SparseFile>,
}

impl<'a> ObjectSink<'a> {
    /// A sink for one frame after the other.
    pub fn new(staging: &'a Staging, wanted: &'a Wanted) -> Self {
        Self {
            staging,
            wanted,
            file: None,
        }
    }
}

impl Sink for ObjectSink<'_> {
    fn start(&mut self, object: &PackedObject) -> io::Result<bool> {
        let claimed = self.wanted.claim(object);
        self.file = match claimed {
            true => Some(SparseFile::create(&self.staging.object(&object.id))?),
            false => None,
        };
        Ok(claimed)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file
            .as_mut()
            .map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn complete(&mut self, object: &PackedObject) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            file.finish()?;
            self.wanted.set_staged(object);
        }
        Ok(())
    }
}

/// Writes one verified object, whatever a frame is called, to a file of its own: the manifest.
pub struct FileSink {
    id: ObjectId,
    file: SparseFile,
}

impl FileSink {
    /// Makes the file at `path` for the object `id`; an older one goes.
    pub fn create(path: &Path, id: ObjectId) -> Result<Self> {
        let file = SparseFile::create(path).map_err(Error::system("can not create", path))?;
        Ok(Self { id, file })
    }
}

impl Sink for FileSink {
    fn start(&mut self, object: &PackedObject) -> io::Result<bool> {
        Ok(object.id == self.id)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn complete(&mut self, _: &PackedObject) -> io::Result<()> {
        self.file.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use reclone_format::object_id_of;

    #[test]
    fn what_an_interrupted_run_left_whole_is_taken_over_and_the_rest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::create(folder.path()).unwrap();
        let staging = Staging::open(&pool).unwrap();
        let object = |content: &[u8]| PackedObject {
            id: object_id_of(content),
            size: content.len() as u64,
        };
        let objects = [object(b"whole"), object(b"broken"), object(b"unwanted")];
        for (object, content) in objects.iter().zip([&b"whole"[..], b"br0ken", b"unwanted"]) {
            let path = staging.object(&object.id);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let wanted = Wanted::new(objects[..2].to_vec());
        assert_eq!(staging.take_over(&wanted).unwrap(), (1, 5));
        let left: Vec<bool> = objects
            .iter()
            .map(|o| staging.object(&o.id).exists())
            .collect();
        assert_eq!(left, [true, false, false]);
        assert!(!wanted.claim(&objects[0]) && wanted.claim(&objects[1]));
    }
}
