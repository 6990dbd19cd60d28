//! A disk as it was at a point of the recording, in memory and as the file behind a loop device.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

/// What is compared and written at a time, in bytes: a page.
const BLOCK: usize = 4096;
/// What is read of a file at a time.
const READ: usize = 256 * BLOCK;

type Block = Arc<[u8; BLOCK]>;

/// A disk. Its copies share the blocks that are the same.
#[derive(Clone)]
pub struct Image {
    size: u64,
    /// None where nothing was ever written.
    blocks: Vec<Option<Block>>,
}

/// What an image had before it was changed.
pub type Undo = Vec<(usize, Option<Block>)>;

impl Image {
    /// The first `size` bytes of `file`, a multiple of a block's, without its holes.
    pub fn read(file: &File, size: u64) -> io::Result<Image> {
        let mut image = Image {
            size,
            blocks: vec![None; size as usize / BLOCK],
        };
        each_block(file, size, |number, block| {
            image.blocks[number] = Some(Arc::new(*block));
            Ok(())
        })?;
        Ok(image)
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes `data` at `offset`; what makes that undone comes behind `undo`.
    pub fn write(&mut self, offset: u64, mut data: &[u8], undo: &mut Undo) {
        let mut at = offset as usize;
        while !data.is_empty() {
            let (number, start) = (at / BLOCK, at % BLOCK);
            let (piece, rest) = data.split_at(data.len().min(BLOCK - start));
            let block = &mut self.blocks[number];
            undo.push((number, block.clone()));
            let block = block.get_or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[start..start + piece.len()].copy_from_slice(piece);
            (at, data) = (at + piece.len(), rest);
        }
    }

    /// Takes writes back, the last one first.
    pub fn undo(&mut self, undo: Undo) {
        for (number, before) in undo.into_iter().rev() {
            self.blocks[number] = before;
        }
    }

    /// Makes `file` the same, whatever it was; writes only what differs. Nobody may have the file mounted.
    pub fn restore(&self, file: &File) -> io::Result<()> {
        let mut missing: Vec<bool> = self.blocks.iter().map(Option::is_some).collect();
        let mut holes: Vec<Range<usize>> = Vec::new();
        each_block(file, self.size, |number, there| {
            missing[number] = false;
            match &self.blocks[number] {
                Some(wanted) if **wanted == *there => Ok(()),
                Some(wanted) => file.write_all_at(&**wanted, (number * BLOCK) as u64),
                None => {
                    match holes.last_mut() {
                        Some(last) if last.end == number => last.end += 1,
                        _ => holes.push(number..number + 1),
                    }
                    Ok(())
                }
            }
        })?;
        for hole in holes {
            punch(file, hole)?;
        }
        for (number, block) in self.blocks.iter().enumerate() {
            if let Some(block) = block.as_ref().filter(|_| missing[number]) {
                file.write_all_at(&**block, (number * BLOCK) as u64)?;
            }
        }
        Ok(())
    }
}

fn punch(file: &File, blocks: Range<usize>) -> io::Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(
        file,
        flags,
        (blocks.start * BLOCK) as i64,
        (blocks.len() * BLOCK) as i64,
    )?)
}

/// Goes through the first `size` bytes that are no holes, a block at a time.
fn each_block(
    file: &File,
    size: u64,
    mut work: impl FnMut(usize, &[u8; BLOCK]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    for (start, end) in data_of(file, size)? {
        let (mut at, end) = (start / BLOCK * BLOCK, end.next_multiple_of(BLOCK));
        while at < end {
            let part = &mut buffer[..READ.min(end - at)];
            file.read_exact_at(part, at as u64)?;
            let (blocks, _) = part.as_chunks::<BLOCK>();
            for (number, block) in (at / BLOCK..).zip(blocks) {
                work(number, block)?;
            }
            at += part.len();
        }
    }
    Ok(())
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
