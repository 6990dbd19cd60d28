//! A disk as it was at a point of the recording, in memory and as the file behind a loop device.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

/// What is compared and written at a time, in bytes: a page.
const BLOCK: usize = 4096;

/// A disk.
#[derive(Clone)]
pub struct Image {
    bytes: Vec<u8>,
    /// Which blocks were ever written.
    written: Vec<bool>,
}

/// What an image had before it was changed.
pub type Undo = Vec<(usize, Vec<u8>)>;

impl Image {
    /// The first `size` bytes of `file`, without its holes.
    pub fn read(file: &File, size: u64) -> io::Result<Image> {
        let mut image = Image {
            bytes: vec![0; size as usize],
            written: vec![false; (size as usize).div_ceil(BLOCK)],
        };
        for (start, end) in data_of(file, size)? {
            file.read_exact_at(&mut image.bytes[start..end], start as u64)?;
            image.written[start / BLOCK..end.div_ceil(BLOCK)].fill(true);
        }
        Ok(image)
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Writes `data` at `offset`; gives what makes that undone.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> (usize, Vec<u8>) {
        let start = offset as usize;
        let place = start..start + data.len();
        self.written[start / BLOCK..place.end.div_ceil(BLOCK)].fill(true);
        let before = self.bytes[place.clone()].to_vec();
        self.bytes[place].copy_from_slice(data);
        (start, before)
    }

    /// Takes writes back, the last one first.
    pub fn undo(&mut self, undo: Undo) {
        for (start, before) in undo.into_iter().rev() {
            self.bytes[start..start + before.len()].copy_from_slice(&before);
        }
    }

    /// Makes `file` the same, whatever it was; writes only what differs. Nobody may have the file mounted.
    pub fn restore(&self, file: &File) -> io::Result<()> {
        let mut there = vec![false; self.written.len()];
        let mut block = [0; BLOCK];
        for (start, end) in data_of(file, self.size())? {
            let blocks = start / BLOCK..end.div_ceil(BLOCK);
            there[blocks.clone()].fill(true);
            for number in blocks {
                let wanted = self.block(number);
                file.read_exact_at(&mut block[..wanted.len()], (number * BLOCK) as u64)?;
                match self.written[number] {
                    true if block[..wanted.len()] == *wanted => {}
                    true => file.write_all_at(wanted, (number * BLOCK) as u64)?,
                    false => punch(file, number)?,
                }
            }
        }
        for (number, _) in there.iter().enumerate().filter(|(_, there)| !**there) {
            if self.written[number] {
                file.write_all_at(self.block(number), (number * BLOCK) as u64)?;
            }
        }
        Ok(())
    }

    fn block(&self, number: usize) -> &[u8] {
        let start = number * BLOCK;
        &self.bytes[start..(start + BLOCK).min(self.bytes.len())]
    }
}

fn punch(file: &File, number: usize) -> io::Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(
        file,
        flags,
        (number * BLOCK) as i64,
        BLOCK as i64,
    )?)
}

/// The parts of the first `size` bytes that are no holes.
fn data_of(file: &File, size: u64) -> io::Result<Vec<(usize, usize)>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Ok(start) = lseek(file.as_fd(), at, Whence::SeekData) {
        let end = lseek(file.as_fd(), start, Whence::SeekHole)?.min(size as i64);
        if start >= end {
            break;
        }
        parts.push((start as usize, end as usize));
        at = end;
    }
    Ok(parts)
}
