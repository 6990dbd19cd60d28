//! A zstd frame taken apart (RFC 8878, 3.1.1): where its blocks are, what their tables are, which sequences they have. What
//! these yield is left to zstd.

use std::ops::Range;

use reclone_format::repack::bits::BackwardBits;
use reclone_format::repack::codes::{KINDS, Numbers};
use reclone_format::repack::fse::{Counts, Reading};
use reclone_format::repack::huffman::read_weights;
use reclone_format::repack::parse::{SHORTEST, Sequence};
use reclone_format::repack::recipe::{Block, Compressed, Packing};
use reclone_format::{Error, Result};

use super::ZSTD_MAGIC;

/// Where a zstd frame is in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZstdFrame {
    /// Where it begins.
    pub start: usize,
    /// Where its first block begins.
    pub blocks: usize,
    /// Its window, as a power of two; none if that is another number.
    pub window_log: Option<u32>,
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
        let window = *rest.get(1).filter(|_| !is_single)?;
        Some(Self {
            start,
            blocks: start + ZSTD_MAGIC.len() + 2 + size,
            window_log: (window & 7 == 0).then_some(10 + u32::from(window >> 3)),
        })
        .filter(|_| descriptor & 3 == 0)
    }
}

/// A block and its sequences.
#[derive(Debug)]
pub struct Parsed {
    /// What a recipe says of it, as long as every sequence is as guessed.
    pub block: Block,
    /// What it has.
    pub sequences: Vec<Sequence>,
    /// Where it is in the object, header included.
    pub place: Range<usize>,
}

/// The blocks of a frame, one after the other.
#[derive(Debug)]
pub struct Blocks<'a> {
    object: &'a [u8],
    at: usize,
    is_over: bool,
    /// The tables of the last block, for one that uses them again.
    tables: [Option<Reading>; 3],
}

impl<'a> Blocks<'a> {
    /// Those of `frame`.
    pub fn of(object: &'a [u8], frame: &ZstdFrame) -> Self {
        Self {
            object,
            at: frame.blocks,
            is_over: false,
            tables: [const { None }; 3],
        }
    }

    /// Where the next block begins; after the last, where the frame's blocks end.
    pub fn end(&self) -> usize {
        self.at
    }

    /// The next one; none after the last.
    pub fn next(&mut self) -> Result<Option<Parsed>> {
        if self.is_over {
            return Ok(None);
        }
        let mut rest = Rest(&self.object[self.at..]);
        let header = rest.number(3)?;
        let (size, body) = ((header >> 3) as usize, self.at + 3);
        self.is_over = header & 1 == 1;
        let mut sequences = Vec::new();
        let (packing, length, size) = match header >> 1 & 3 {
            0 => (Packing::Raw, size, size),
            1 => (Packing::Run, 1, size),
            _ => {
                let (compressed, content) = self.compressed(rest.take(size)?, &mut sequences)?;
                (Packing::Compressed(compressed), size, content)
            }
        };
        let end = body + length;
        let place = self.at..end;
        self.at = end.min(self.object.len());
        Ok(Some(Parsed {
            block: Block {
                is_last: self.is_over,
                size,
                packing,
            },
            sequences,
            place,
        }))
    }

    /// What a block says, its sequences, and how many bytes they and its literals yield.
    fn compressed(
        &mut self,
        body: &[u8],
        sequences: &mut Vec<Sequence>,
    ) -> Result<(Compressed, usize)> {
        let mut rest = Rest(body);
        let mut block = Compressed::default();
        let mut content = literals(&mut rest, &mut block)?;
        let count = match rest.number(1)? {
            few @ 0..128 => few,
            more @ 128..255 => ((more - 128) << 8) + rest.number(1)?,
            _ => rest.number(2)? + 0x7f00,
        };
        block.count = u16::try_from(count).map_err(|_| bad())?;
        if count > 0 {
            block.modes = rest.number(1)? as u8;
            for (which, numbers) in KINDS.into_iter().enumerate() {
                let mode = block.modes >> (6 - 2 * which) & 3;
                block.tables[which] = self.table(which, numbers, mode, &mut rest)?;
            }
            self.sequences(count, rest.0, sequences)?;
        }
        let lengths = sequences.iter().map(|sequence| sequence.length as usize);
        content += lengths.sum::<usize>();
        Ok((block, content))
    }

    /// Reads a table that a block describes, if it does, and gives the description.
    fn table(
        &mut self,
        which: usize,
        numbers: Numbers,
        mode: u8,
        rest: &mut Rest,
    ) -> Result<Vec<u8>> {
        let (most, most_log) = numbers.limits();
        let (table, used) = match mode {
            0 => (Reading::of(&numbers.usual())?, 0),
            1 => (Reading::always(*rest.0.first().ok_or_else(bad)?), 1),
            2 => {
                let (counts, used) = Counts::read(rest.0, most, most_log)?;
                (Reading::of(&counts)?, used)
            }
            _ => return Ok(Vec::new()),
        };
        self.tables[which] = Some(table);
        Ok(rest.take(used)?.to_vec())
    }

    fn sequences(&self, count: u32, bytes: &[u8], sequences: &mut Vec<Sequence>) -> Result<()> {
        let [Some(literals), Some(offsets), Some(lengths)] = &self.tables else {
            return Err(bad());
        };
        let mut bits = BackwardBits::of(bytes)?;
        let mut first = |table: &Reading| table.first(&mut bits).ok_or_else(bad);
        let (mut l, mut o, mut m) = (first(literals)?, first(offsets)?, first(lengths)?);
        for at in 0..count {
            let mut number = |numbers: Numbers, code: u8| {
                if usize::from(code) > numbers.limits().0 {
                    return Err(bad());
                }
                let (first, width) = numbers.first(code);
                Ok(first + bits.take(width).ok_or_else(bad)?)
            };
            let offset = number(Numbers::Offsets, offsets.symbol(o))?;
            let length = number(Numbers::Lengths, lengths.symbol(m))? + SHORTEST;
            let literal = number(Numbers::Literals, literals.symbol(l))?;
            sequences.push(Sequence {
                literals: literal,
                offset,
                length,
            });
            if at + 1 < count {
                l = literals.next(l, &mut bits).ok_or_else(bad)?;
                m = lengths.next(m, &mut bits).ok_or_else(bad)?;
                o = offsets.next(o, &mut bits).ok_or_else(bad)?;
            }
        }
        Ok(())
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
pub fn bad() -> Error {
    Error::Malformed {
        structure: "zstd frame",
        reason: "it is not one, or not such a one".into(),
    }
}
