//! Lays verified objects, the manifest and the image out under `staging/`, where nothing relies on them. Syncs nothing:
//! what is durable is the business of [`crate::commit`].

use std::fs::{self, File, FileType};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nix::unistd::syncfs;
use reclone_format::frame::Sink;
use reclone_format::object_id::is_zero;
use reclone_format::{ObjectHasher, ObjectId, PackedObject};
use rustix::fs::Advice;

use crate::barrier::Barrier;
use crate::error::{Error, Result};
use crate::pool::{Pool, create_new, list, make_own_dir, remove_any, remove_dir};
use crate::wanted::Wanted;

/// Runs of zeros of this many bytes, at multiples of it, become holes.
const HOLE: u64 = 4096;

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
        Ok(staging)
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
                        taken = (taken.0 + 1, taken.1 + object.size);
                    }
                    _ => remove_any(&path)?,
                }
            }
        }
        Ok(taken)
    }

    /// Removes everything staged.
    pub fn clear(self) -> Result<()> {
        remove_dir(&self.root)
    }
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

    fn complete(&mut self, _: &PackedObject) -> io::Result<()> {
        self.file.take().map_or(Ok(()), |mut file| file.finish())
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

/// A new file in which runs of zeros are holes.
struct SparseFile {
    file: File,
    at: u64,
    ends_in_hole: bool,
}

impl SparseFile {
    fn create(path: &Path) -> io::Result<Self> {
        let file = match create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(path))?;
                create_new(path)?
            }
            opened => opened?,
        };
        Ok(Self {
            file,
            at: 0,
            ends_in_hole: false,
        })
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let zero = hole(self.at, bytes);
            if zero > 0 {
                self.file.seek(SeekFrom::Current(zero as i64))?;
                self.at += zero as u64;
                self.ends_in_hole = true;
                bytes = &bytes[zero..];
            }
            let data = data(self.at, bytes);
            if data > 0 {
                self.file.write_all(&bytes[..data])?;
                self.at += data as u64;
                self.ends_in_hole = false;
                bytes = &bytes[data..];
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        match self.ends_in_hole {
            true => self.file.set_len(self.at),
            false => Ok(()),
        }
    }
}

/// How many bytes at the start of `bytes`, which stand at `at`, can be a hole.
fn hole(at: u64, bytes: &[u8]) -> usize {
    match at % HOLE {
        0 => {
            let blocks = bytes.chunks_exact(HOLE as usize);
            blocks.take_while(|block| is_zero(block)).count() * HOLE as usize
        }
        _ => 0,
    }
}

/// How many bytes come before the next hole.
fn data(at: u64, bytes: &[u8]) -> usize {
    let first = ((HOLE - at % HOLE) % HOLE) as usize;
    let Some(aligned) = bytes.get(first..) else {
        return bytes.len();
    };
    let blocks = aligned.chunks_exact(HOLE as usize);
    match blocks.clone().position(is_zero) {
        Some(at) => first + at * HOLE as usize,
        None => bytes.len(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use reclone_format::object_id_of;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn zeros_become_holes_and_every_byte_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = vec![0u8; 300_000];
        content[10_000] = 1;
        content[200_000..200_100].fill(7);
        for step in [1000, 4096, 65_536, 300_000] {
            let path = folder.path().join(step.to_string());
            let mut file = SparseFile::create(&path).unwrap();
            content
                .chunks(step)
                .for_each(|piece| file.write_all(piece).unwrap());
            file.finish().unwrap();
            assert!(fs::read(&path).unwrap() == content, "pieces of {step}");
            if step >= 4096 {
                assert!(
                    fs::metadata(&path).unwrap().blocks() * 512 < 40_000,
                    "pieces of {step}"
                );
            }
        }
    }

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
