//! What can not be guessed of compressed bytes: `docs/format.md`, "Repacked". Read item by item, written by publishers.

use std::io::{Read, Write};

use crate::wire::{Reader, Writer};
use crate::{Error, Result};

use super::STRUCTURE;
use super::finder::Rows;
use super::parse::{Sequence, Style};

/// The most bytes of a block's content.
pub const MAX_BLOCK: usize = 128 << 10;
/// The most bytes of an entropy table's description.
const MAX_TABLE: usize = 255;

/// A part of the packed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of the content as they are.
    Plain(u64),
    /// The blocks of a zstd frame follow.
    Frame(Job),
    /// A block.
    Block(Block),
    /// There is no more.
    End,
}

/// How a frame was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Level and strategy.
    pub style: Style,
    /// After so many bytes, as a power of two, the compressor forgot what it knew.
    pub size_log: u32,
    /// All but so many, as a power of two.
    pub overlap_log: u32,
}

/// A block: what its content does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Whether it is the frame's last one.
    pub is_last: bool,
    /// Bytes of content.
    pub size: usize,
    /// How they are packed.
    pub packing: Packing,
}

/// How a block is packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Raw,
    /// One byte many times.
    Run,
    /// Literals and sequences.
    Compressed(Compressed),
}

/// What the content of a compressed block does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compressed {
    /// The lowest four bits of the literals' header.
    pub literals: u8,
    /// The description of their codes, where there is one.
    pub codes: Vec<u8>,
    /// Sequences.
    pub count: u16,
    /// The byte with the modes of their tables.
    pub modes: u8,
    /// The descriptions of these, where there are any.
    pub tables: [Vec<u8>; 3],
    /// Sequences that are not as guessed, and the number of each in the block, rising.
    pub corrections: Vec<(u16, Sequence)>,
}

impl Job {
    /// The level of zstd's own tables for large contents; none where it has another strategy.
    pub fn of_level(level: u32) -> Option<Self> {
        let (window_log, places_log, search_log, depth) = match level {
            5 => (21, 19, 3, 0),
            6 => (21, 19, 3, 1),
            7 => (21, 20, 4, 1),
            8 => (21, 20, 4, 2),
            9 => (22, 21, 4, 2),
            10 => (22, 22, 5, 2),
            11 => (22, 22, 6, 2),
            _ => return None,
        };
        Some(Self::new(window_log, places_log, search_log, 5, depth))
    }

    fn new(window_log: u32, places_log: u32, search_log: u32, hashed: u32, depth: u32) -> Self {
        let row_log = search_log.clamp(4, 6);
        Self {
            style: Style {
                window_log,
                depth,
                rows: Rows {
                    places_log,
                    row_log,
                    attempts: 1 << search_log.min(row_log),
                    hashed,
                },
            },
            size_log: window_log + 2,
            overlap_log: window_log - if depth == 2 { 2 } else { 3 },
        }
    }

    /// Six bytes.
    fn read<R: Read>(fields: &mut Reader<R>) -> Result<Self> {
        let [window, places, search, hashed, depth, size, overlap] =
            fields.array::<7>()?.map(u32::from);
        let good = (10..=22).contains(&window)
            && (14..=22).contains(&places)
            && (1..=6).contains(&search)
            && (4..=6).contains(&hashed)
            && depth <= 2
            && (17..=24).contains(&size)
            && (10..=22).contains(&overlap)
            && overlap < size;
        if !good {
            return Err(fields.bad("a frame was compressed with figures that are not allowed"));
        }
        Ok(Self {
            size_log: size,
            overlap_log: overlap,
            ..Self::new(window, places, search, hashed, depth)
        })
    }

    fn write<W: Write>(&self, fields: &mut Writer<W>) -> Result<()> {
        let Style {
            window_log,
            depth,
            rows,
        } = self.style;
        let search_log = rows.attempts.ilog2();
        for figure in [
            window_log,
            rows.places_log,
            search_log,
            rows.hashed,
            depth,
            self.size_log,
            self.overlap_log,
        ] {
            fields.u8(figure as u8)?;
        }
        Ok(())
    }
}

impl Item {
    /// Reads one.
    pub fn read<R: Read>(fields: &mut Reader<R>) -> Result<Self> {
        Ok(match fields.u8()? {
            0 => Self::End,
            1 => {
                let length = usize::from(fields.u16()?);
                Self::Bytes(fields.bytes(length, length, "a run of bytes")?)
            }
            2 => Self::Plain(fields.u64()?),
            3 => Self::Frame(Job::read(fields)?),
            kind @ 4..=9 => Self::Block(Block::read(fields, kind - 4)?),
            other => return Err(fields.bad(format!("it has an item of the unknown kind {other}"))),
        })
    }

    /// Writes one.
    pub fn write<W: Write>(&self, fields: &mut Writer<W>) -> Result<()> {
        match self {
            Self::End => fields.u8(0),
            Self::Bytes(bytes) => {
                fields.u8(1)?;
                write_bytes(fields, bytes)
            }
            Self::Plain(size) => {
                fields.u8(2)?;
                fields.u64(*size)
            }
            Self::Frame(job) => {
                fields.u8(3)?;
                job.write(fields)
            }
            Self::Block(block) => block.write(fields),
        }
    }
}

fn write_bytes<W: Write>(fields: &mut Writer<W>, bytes: &[u8]) -> Result<()> {
    let length = u16::try_from(bytes.len());
    fields.u16(length.map_err(|_| Error::malformed(STRUCTURE, "a run of bytes is too long"))?)?;
    fields.bytes(bytes)
}

impl Block {
    /// What a compressed one says.
    pub fn compressed(&self) -> Option<&Compressed> {
        match &self.packing {
            Packing::Compressed(compressed) => Some(compressed),
            _ => None,
        }
    }

    fn read<R: Read>(fields: &mut Reader<R>, kind: u8) -> Result<Self> {
        let size = fields.u32()? as usize;
        if size > MAX_BLOCK || size == 0 && kind / 2 > 0 {
            return Err(fields.bad("a block has a size that is not allowed"));
        }
        Ok(Self {
            is_last: kind % 2 == 1,
            size,
            packing: match kind / 2 {
                0 => Packing::Raw,
                1 => Packing::Run,
                _ => Packing::Compressed(Compressed::read(fields)?),
            },
        })
    }

    fn write<W: Write>(&self, fields: &mut Writer<W>) -> Result<()> {
        let kind = match self.packing {
            Packing::Raw => 0,
            Packing::Run => 1,
            Packing::Compressed(_) => 2,
        };
        fields.u8(4 + kind * 2 + u8::from(self.is_last))?;
        fields.u32(self.size as u32)?;
        match &self.packing {
            Packing::Compressed(compressed) => compressed.write(fields),
            _ => Ok(()),
        }
    }
}

impl Compressed {
    fn read<R: Read>(fields: &mut Reader<R>) -> Result<Self> {
        let (literals, count, modes) = (fields.u8()?, fields.u16()?, fields.u8()?);
        let mut table = || {
            let length = usize::from(fields.u16()?);
            fields.bytes(length, MAX_TABLE, "a table")
        };
        let codes = table()?;
        let tables = [table()?, table()?, table()?];
        let number = fields.u16()?;
        let mut corrections = Vec::with_capacity(number.into());
        for _ in 0..number {
            let at = fields.u16()?;
            let sequence = Sequence {
                literals: fields.u32()?,
                offset: fields.u32()?,
                length: fields.u32()?,
            };
            corrections.push((at, sequence));
        }
        Ok(Self {
            literals,
            codes,
            count,
            modes,
            tables,
            corrections,
        })
    }

    fn write<W: Write>(&self, fields: &mut Writer<W>) -> Result<()> {
        fields.u8(self.literals)?;
        fields.u16(self.count)?;
        fields.u8(self.modes)?;
        for table in [&self.codes].into_iter().chain(&self.tables) {
            write_bytes(fields, table)?;
        }
        fields.u16(self.corrections.len() as u16)?;
        for (at, sequence) in &self.corrections {
            fields.u16(*at)?;
            fields.u32(sequence.literals)?;
            fields.u32(sequence.offset)?;
            fields.u32(sequence.length)?;
        }
        Ok(())
    }
}
