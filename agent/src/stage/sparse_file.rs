//! A file that takes no disk for its zeros.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use reclone_format::object_id::is_zero;
use reclone_format::{ObjectHasher, ObjectId};

use crate::pool::create_new;

/// Runs of zeros of this many bytes, at multiples of it, become holes.
const HOLE: u64 = 4096;

/// A new file in which runs of zeros are holes.
pub struct SparseFile {
    file: File,
    at: u64,
    ends_in_hole: bool,
}

impl SparseFile {
    /// Makes the file at `path`, and its folder where that is missing; an older file goes.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = match create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(path))?;
                create_new(path)?
            }
            opened => opened?,
        };
        Ok(Self::new(file))
    }

    /// Fills this file, which is empty.
    pub fn new(file: File) -> Self {
        Self {
            file,
            at: 0,
            ends_in_hole: false,
        }
    }

    /// Makes the new file a reflink of `source`, where both are on a file system that can.
    pub fn reflink(&self, source: &File) -> io::Result<()> {
        Ok(rustix::fs::ioctl_ficlone(&self.file, source)?)
    }

    /// Writes everything in `source`; gives the id of what was written.
    pub fn fill_from(&mut self, mut source: impl Read) -> io::Result<ObjectId> {
        let mut hasher = ObjectHasher::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    self.write_all(&buffer[..count])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.finish()?;
        Ok(hasher.finish())
    }

    /// Adds the next bytes.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
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

    /// Gives the file its size. Syncs nothing.
    pub fn finish(&mut self) -> io::Result<()> {
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
}
