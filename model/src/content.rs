//! Reads a file of the live tree to its end and makes sure that it did not change meanwhile.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use reclone_format::{ObjectHasher, ObjectId, TreePath};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::live_tree::{LiveTree, Meta, meta_of};

/// How often a file is read before it counts as always changing.
const ATTEMPTS: usize = 3;
const PIECE: usize = 256 * 1024;
const REGULAR: u32 = 0o100_000;

/// Where the bytes of a file go.
pub trait Take {
    /// The file is read, perhaps once more, from its start: forget what came before.
    fn begin(&mut self, meta: &Meta) -> io::Result<()>;
    /// The next bytes.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// For those who want to know the id alone.
pub struct IdOnly;

impl Take for IdOnly {
    fn begin(&mut self, _: &Meta) -> io::Result<()> {
        Ok(())
    }

    fn bytes(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// A content as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// Its name.
    pub id: ObjectId,
    /// Bytes read.
    pub size: u64,
    /// What the kernel said about the file before.
    pub meta: Meta,
    /// Whether it was still the same afterwards.
    pub settled: bool,
}

/// Reads files; keeps its buffer from one to the next.
pub struct ContentReader<'a> {
    tree: &'a LiveTree,
    buffer: Vec<u8>,
}

impl<'a> ContentReader<'a> {
    /// A reader of files of `tree`.
    pub fn new(tree: &'a LiveTree) -> Self {
        Self {
            tree,
            buffer: vec![0; PIECE],
        }
    }

    /// Reads the file at `path`; none if there is no regular file (any more). A file that changes under the read is read
    /// again; what the last of [`ATTEMPTS`] gave comes back as not settled.
    pub fn read(&mut self, path: &TreePath, take: &mut impl Take) -> io::Result<Option<Content>> {
        let mut attempt = 1;
        loop {
            let file = match self.tree.open_file(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let meta = meta_of(&file)?;
            if meta.kind() != REGULAR {
                return Ok(None);
            }
            take.begin(&meta)?;
            let Read { hasher, size } = self.read_once(&file, &meta, take)?;
            let settled = meta_of(&file)?.stamp == meta.stamp && size == meta.stamp.size;
            if settled || attempt == ATTEMPTS {
                return Ok(Some(Content {
                    id: hasher.finish(),
                    size,
                    meta,
                    settled,
                }));
            }
            attempt += 1;
        }
    }

    fn read_once(&mut self, file: &File, meta: &Meta, take: &mut impl Take) -> io::Result<Read> {
        let mut read = Read {
            hasher: ObjectHasher::new(),
            size: 0,
        };
        if meta.is_sparse {
            while let Some(data) = next_data(file, read.size)? {
                self.give_zeros(data.start, &mut read, take)?;
                self.give_data(file, data.end, &mut read, take)?;
            }
            self.give_zeros(meta.stamp.size, &mut read, take)?;
        }
        self.give_data(file, u64::MAX, &mut read, take)?;
        Ok(read)
    }

    /// Goes on with the file's bytes up to `end` or to the file's.
    fn give_data(
        &mut self,
        file: &File,
        end: u64,
        read: &mut Read,
        take: &mut impl Take,
    ) -> io::Result<()> {
        while read.size < end {
            let wanted = self
                .buffer
                .len()
                .min(usize::try_from(end - read.size).unwrap_or(PIECE));
            match file.read_at(&mut self.buffer[..wanted], read.size) {
                Ok(0) => return Ok(()),
                Ok(count) => read.add(&self.buffer[..count], take)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes on with zeros up to `end`: a hole, which needs no reading.
    fn give_zeros(&mut self, end: u64, read: &mut Read, take: &mut impl Take) -> io::Result<()> {
        if read.size < end {
            self.buffer.fill(0);
        }
        while read.size < end {
            let count = self
                .buffer
                .len()
                .min(usize::try_from(end - read.size).unwrap_or(PIECE));
            read.add(&self.buffer[..count], take)?;
        }
        Ok(())
    }
}

/// How far one read of a file came.
struct Read {
    hasher: ObjectHasher,
    size: u64,
}

impl Read {
    fn add(&mut self, bytes: &[u8], take: &mut impl Take) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        take.bytes(bytes)
    }
}

/// The next run of a sparse file's bytes that are not a hole, from `at` on; none if there is only a hole.
fn next_data(file: &File, at: u64) -> io::Result<Option<Range<u64>>> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(Some(start..rustix::fs::seek(file, SeekFrom::Hole(start))?)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
