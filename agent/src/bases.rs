//! Where the bases of frames are: in the pool, among what was staged, or manifests. They are not checked before use: what
//! a frame yields is, by its id, and tells whether they were right.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use reclone_format::frame::{self, Sink};
use reclone_format::patch::Base;
use reclone_format::{Codec, Frame, ObjectId, PackedObject};

use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::stage::id_of;
use crate::wanted::Wanted;

/// Bases of a patch of up to this many bytes together are read at once: those of a frame of small objects.
const SMALL: u64 = 8 << 20;
/// Others are read in blocks of this many bytes, for most steps are short, and come back to where others were.
const BLOCK: u64 = 4 << 10;
/// As many blocks are kept.
const BLOCKS: u64 = 2048;

/// The places where bases may be.
pub struct Bases<'a> {
    pool: &'a Pool,
    manifests: Vec<(ObjectId, PathBuf)>,
}

impl<'a> Bases<'a> {
    /// The pool's objects, what is staged, and these manifests.
    pub fn new(pool: &'a Pool, manifests: Vec<(ObjectId, PathBuf)>) -> Self {
        Self { pool, manifests }
    }

    /// One more manifest.
    pub fn add_manifest(&mut self, id: ObjectId, path: PathBuf) {
        self.manifests.push((id, path));
    }

    /// Whether a base is one of the manifests.
    pub fn is_manifest(&self, id: &ObjectId) -> bool {
        self.manifests.iter().any(|(manifest, _)| manifest == id)
    }

    /// Reads a frame over its bases. Waits for those that are on their way. A base that is not there, or not whole, is
    /// [`Error::Damaged`] or makes the frame yield something else; nothing of that is handed to `sink` as complete.
    pub fn decode(
        &self,
        frame: &Frame,
        payload: &mut dyn Read,
        wanted: &Wanted,
        sink: &mut dyn Sink,
        [place, out]: [&Path; 2],
    ) -> Result<()> {
        let sink = &mut Any(sink);
        let paths = self.paths(&frame.bases, wanted)?;
        let bytes: u64 = frame.bases.iter().map(|base| base.size).sum();
        let decoded = if frame.codec != Codec::Zstd && bytes > SMALL {
            let files = Files::new(&frame.bases, paths);
            frame::decode_patch(frame, payload, &files, sink)
        } else {
            let content = load(&frame.bases, &paths)?;
            frame::decode(frame, payload, &content, sink)
        };
        decoded.map_err(Error::passed_on(&place.display().to_string(), out))
    }

    /// The first of these bases that has not the content of its name, where one has not.
    pub fn damaged(&self, bases: &[PackedObject], wanted: &Wanted) -> Option<PathBuf> {
        let is_damaged = |(base, path): (&PackedObject, PathBuf)| {
            let id = File::open(&path).and_then(id_of);
            (!id.is_ok_and(|id| id == base.id)).then_some(path)
        };
        let paths = self.paths(bases, wanted).ok()?;
        bases.iter().zip(paths).find_map(is_damaged)
    }

    fn paths(&self, bases: &[PackedObject], wanted: &Wanted) -> Result<Vec<PathBuf>> {
        let found = |base: &PackedObject| match wanted.place(base) {
            None => Ok(self.path(&base.id)),
            Some(_) if wanted.wait_for(base) => Ok(self.pool.staged_object(&base.id)),
            Some(_) => Err(Error::Absent(base.id)),
        };
        bases.iter().map(found).collect()
    }

    fn path(&self, id: &ObjectId) -> PathBuf {
        let manifest = self.manifests.iter().find(|(manifest, _)| manifest == id);
        manifest.map_or_else(|| self.pool.object(id), |(_, path)| path.clone())
    }
}

/// One type for every sink: decoders are compiled for each, and are large.
struct Any<'a>(&'a mut dyn Sink);

impl Sink for Any<'_> {
    fn start(&mut self, object: &PackedObject) -> io::Result<bool> {
        self.0.start(object)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    fn complete(&mut self, object: &PackedObject) -> io::Result<()> {
        self.0.complete(object)
    }
}

/// The contents of bases, one after the other, each of its size.
fn load(bases: &[PackedObject], paths: &[PathBuf]) -> Result<Vec<u8>> {
    // The index was checked: all bases together fit into memory.
    let size: u64 = bases.iter().map(|base| base.size).sum();
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    for (base, path) in bases.iter().zip(paths) {
        let start = content.len() as u64;
        let read = File::open(path).and_then(|file| file.take(base.size).read_to_end(&mut content));
        read.map_err(|error| damaged(path, &error))?;
        if content.len() as u64 - start != base.size {
            return Err(damaged(path, &io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(content)
}

fn damaged(path: &Path, error: &io::Error) -> Error {
    Error::Damaged {
        path: path.into(),
        reason: format!("it can not be read: {error}"),
    }
}

/// Bases one after the other, read where a patch leads.
struct Files {
    /// Where each ends, counted from the start of the first.
    ends: Vec<u64>,
    paths: Vec<PathBuf>,
    cache: RefCell<Cache>,
}

/// What was read last.
#[derive(Default)]
struct Cache {
    /// One of the bases.
    open: Option<(usize, File)>,
    /// The numbers of the blocks that are kept, each at this number modulo [`BLOCKS`].
    numbers: Vec<Option<u64>>,
    bytes: Vec<u8>,
}

impl Files {
    fn new(bases: &[PackedObject], paths: Vec<PathBuf>) -> Self {
        let mut end = 0;
        let ends = bases.iter().map(|base| {
            end += base.size;
            end
        });
        Self {
            ends: ends.collect(),
            paths,
            cache: RefCell::default(),
        }
    }

    /// Reads from the file of one base.
    fn read_from(
        &self,
        open: &mut Option<(usize, File)>,
        which: usize,
        at: u64,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let file = match open {
            Some((last, file)) if *last == which => file,
            open => &mut open.insert((which, File::open(&self.paths[which])?)).1,
        };
        file.read_exact_at(buffer, at)
    }

    /// Reads from the files that have these bytes.
    fn read(
        &self,
        open: &mut Option<(usize, File)>,
        mut at: u64,
        mut buffer: &mut [u8],
    ) -> io::Result<()> {
        while !buffer.is_empty() {
            let which = self.ends.partition_point(|end| *end <= at);
            let end = *self.ends.get(which).ok_or(io::ErrorKind::UnexpectedEof)?;
            let start = which.checked_sub(1).map_or(0, |before| self.ends[before]);
            let count = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let (piece, rest) = buffer.split_at_mut(count);
            // Without its number: what the system says of a base is no word on what is written.
            self.read_from(open, which, at - start, piece)
                .map_err(|error| io::Error::new(error.kind(), format!("a base: {error}")))?;
            at += count as u64;
            buffer = rest;
        }
        Ok(())
    }
}

impl Base for Files {
    fn size(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn read_at(&self, mut at: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        let cache = &mut *self.cache.borrow_mut();
        cache.numbers.resize(BLOCKS as usize, None);
        cache.bytes.resize((BLOCKS * BLOCK) as usize, 0);
        while !buffer.is_empty() {
            let number = at / BLOCK;
            let size = self.size().saturating_sub(number * BLOCK).min(BLOCK);
            let slot = (number % BLOCKS) as usize;
            let block = &mut cache.bytes[slot * BLOCK as usize..][..size as usize];
            let known = &mut cache.numbers[slot];
            if *known != Some(number) {
                *known = None;
                self.read(&mut cache.open, number * BLOCK, block)?;
                *known = Some(number);
            }
            let rest = block.get((at % BLOCK) as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer[..count].copy_from_slice(&rest[..count]);
            at += count as u64;
            buffer = &mut buffer[count..];
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bases_in_files_read_as_one_content() {
        let folder = tempfile::tempdir().unwrap();
        let contents: [&[u8]; 3] = [b"abc", b"d", b"efgh"];
        let object = |content: &[u8]| PackedObject {
            id: ObjectId::EMPTY,
            size: content.len() as u64,
        };
        let paths: Vec<PathBuf> = (0..3)
            .map(|at| folder.path().join(at.to_string()))
            .collect();
        for (path, content) in paths.iter().zip(contents) {
            std::fs::write(path, content).unwrap();
        }
        let files = Files::new(&contents.map(object), paths);
        assert_eq!(files.size(), 8);
        for start in 0..8usize {
            for end in start..=8 {
                let mut read = vec![0; end - start];
                files.read_at(start as u64, &mut read).unwrap();
                assert_eq!(read, b"abcdefgh"[start..end]);
            }
        }
        assert!(files.read_at(7, &mut [0; 2]).is_err());
    }

    #[test]
    fn blocks_of_large_bases_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base");
        // Two and a half times what is kept.
        let content: Vec<u8> = (0..BLOCKS * BLOCK * 5 / 2 + 10)
            .map(|at| (at / 1000) as u8)
            .collect();
        std::fs::write(&path, &content).unwrap();
        let base = PackedObject {
            id: ObjectId::EMPTY,
            size: content.len() as u64,
        };
        let files = Files::new(&[base], vec![path]);
        let whole = (BLOCKS * BLOCK) as usize;
        for (start, length) in [
            (0, 1),
            (whole, 1),
            (0, 5000),
            (4090, 20),
            (2 * whole - 10, 100_000),
            (content.len() - 11, 11),
        ] {
            let mut read = vec![0; length];
            files.read_at(start as u64, &mut read).unwrap();
            assert!(
                read == content[start..start + length],
                "{length} bytes at {start}"
            );
        }
        let mut over = [0; 2];
        assert!(files.read_at(content.len() as u64 - 1, &mut over).is_err());
    }
}
