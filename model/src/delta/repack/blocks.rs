//! A zstd frame taken apart (RFC 8878, 3.1.1): where its blocks are, and what a recipe says of them. What these yield is left
//! to zstd.

use reclone_format::repack::huffman::read_weights;
use reclone_format::repack::recipe::{Block, Compressed, Packing};
use reclone_format::repack::sequences::Tables;
use reclone_format::{Error, Result};

use super::ZSTD_MAGIC;

/// Where a zstd frame is in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZstdFrame {
    /// Where it begins.
    pub start: usize,
    /// Where its first block begins.
    pub blocks: usize,
}

impl ZstdFrame {
    /// The frame that begins at `start`, if there is one that needs no dictionary.
    pub fn at(object: &[u8], start: usize) -> Option<Self> {
        let rest = object.get(start..)?.strip_prefix(&ZSTD_MAGIC)?;
        let descriptor = *rest.first()?;
        let is_single = descriptor & 0x20 != 0;
        let size = match descriptor >> 6 {
            0 => usize::from(is_single),
            log => 1 << log,
        };
        let window = usize::from(!is_single);
        (descriptor & 3 == 0).then_some(Self {
            start,
            blocks: start + ZSTD_MAGIC.len() + 1 + window + size,
        })
    }
}

/// The blocks of a frame, one after the other.
#[derive(Debug)]
pub struct Blocks<'a> {
    object: &'a [u8],
    at: usize,
    is_over: bool,
    tables: Tables,
}

impl<'a> Blocks<'a> {
    /// Those of `frame`.
    pub fn of(object: &'a [u8], frame: &ZstdFrame) -> Self {
        Self {
            object,
            at: frame.blocks,
            is_over: false,
            tables: Tables::default(),
        }
    }

    /// Where the next block begins; after the last, where the frame's blocks end.
    pub fn end(&self) -> usize {
        self.at
    }

    /// The next one; none after the last.
    pub fn next(&mut self) -> Result<Option<Block>> {
        if self.is_over {
            return Ok(None);
        }
        let mut rest = Rest(self.object.get(self.at..).ok_or_else(bad)?);
        let header = rest.number(3)?;
        let size = (header >> 3) as usize;
        self.is_over = header & 1 == 1;
        let (packing, length, size) = match header >> 1 & 3 {
            0 => (Packing::Raw, size, size),
            1 => (Packing::Run, 1, size),
            _ => {
                let (compressed, content) = self.compressed(rest.take(size)?)?;
                (Packing::Compressed(compressed), size, content)
            }
        };
        self.at += 3 + length;
        Ok(Some(Block {
            is_last: self.is_over,
            size,
            packing,
        }))
    }

    /// What a block says, and how many bytes it yields.
    fn compressed(&mut self, body: &[u8]) -> Result<(Compressed, usize)> {
        let mut rest = Rest(body);
        let mut block = Compressed::default();
        let mut content = literals(&mut rest, &mut block)?;
        block.sequences = rest.0.to_vec();
        self.tables.read(rest.0, |(_, length)| {
            content += length as usize;
            Ok(())
        })?;
        Ok((block, content))
    }
}

/// Reads what a block says of its literals; how many there are.
fn literals(rest: &mut Rest, block: &mut Compressed) -> Result<usize> {
    let first = u64::from(*rest.0.first().ok_or_else(bad)?);
    block.literals = first as u8 & 15;
    let (kind, format) = (first & 3, first as usize >> 2 & 3);
    if kind < 2 {
        let (length, shift) = [(1, 3), (2, 4), (1, 3), (3, 4)][format];
        let size = rest.number(length)? >> shift;
        rest.take(if kind == 0 { size as usize } else { 1 })?;
        return Ok(size as usize);
    }
    let (bits, length) = [(10, 3), (10, 3), (14, 4), (18, 5)][format];
    let mut header = [0; 8];
    header[..length].copy_from_slice(rest.take(length)?);
    let header = u64::from_le_bytes(header) >> 4;
    let mask = (1u64 << bits) - 1;
    let streams = rest.take((header >> bits & mask) as usize)?;
    if kind == 2 {
        let (_, used) = read_weights(streams)?;
        block.codes = streams[..used].to_vec();
    }
    Ok((header & mask) as usize)
}

/// What is left of a block.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(bad)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of at most four bytes.
    fn number(&mut self, length: usize) -> Result<u32> {
        let mut bytes = [0; 4];
        bytes[..length].copy_from_slice(self.take(length)?);
        Ok(u32::from_le_bytes(bytes))
    }
}

/// What is no such frame.
fn bad() -> Error {
    Error::Malformed {
        structure: "zstd frame",
        reason: "it is not one, or not such a one".into(),
    }
}
