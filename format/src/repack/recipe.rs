//! What the content does not tell of compressed bytes: `docs/format.md`, "Recipe". Read item by item, written by publishers.

use std::io::{Read, Write};

use crate::wire::{Reader, Writer};
use crate::{Error, Result};

use super::STRUCTURE;

/// The most bytes of a block, and of its content.
pub const MAX_BLOCK: usize = 128 << 10;
/// The most bytes of the description of codes.
const MAX_CODES: usize = 255;

/// A part of the packed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of the content as they are.
    Plain(u64),
    /// A block.
    Block(Block),
    /// There is no more.
    End,
}

/// A block: what its content does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Whether it is its frame's last one.
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
    /// The section of the sequences, as it is in the block.
    pub sequences: Vec<u8>,
}

impl Item {
    /// Reads one.
    pub fn read<R: Read>(fields: &mut Reader<R>) -> Result<Self> {
        let item = match fields.u8()? {
            0 => return Ok(Self::End),
            1 => {
                let length = usize::from(fields.u16()?);
                Self::Bytes(fields.bytes(length, length, "a run of bytes")?)
            }
            2 => Self::Plain(fields.u64()?),
            kind @ 4..=9 => Self::Block(Block::read(fields, kind - 4)?),
            other => return Err(fields.bad(format!("it has an item of the unknown kind {other}"))),
        };
        // Else a short recipe could keep a reader busy for ever.
        match &item {
            Self::Plain(0) => Err(fields.bad("an item yields nothing")),
            Self::Bytes(bytes) if bytes.is_empty() => Err(fields.bad("an item yields nothing")),
            _ => Ok(item),
        }
    }

    /// Writes one.
    pub fn write<W: Write>(&self, fields: &mut Writer<W>) -> Result<()> {
        match self {
            Self::End => fields.u8(0),
            Self::Bytes(bytes) => {
                fields.u8(1)?;
                write_short(fields, bytes)
            }
            Self::Plain(size) => {
                fields.u8(2)?;
                fields.u64(*size)
            }
            Self::Block(block) => block.write(fields),
        }
    }
}

fn write_short<W: Write>(fields: &mut Writer<W>, bytes: &[u8]) -> Result<()> {
    let length = u16::try_from(bytes.len());
    fields.u16(length.map_err(|_| Error::malformed(STRUCTURE, "a run of bytes is too long"))?)?;
    fields.bytes(bytes)
}

impl Block {
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
        let literals = fields.u8()?;
        if literals > 15 {
            return Err(fields.bad("a header of literals has more than four bits"));
        }
        let length = usize::from(fields.u16()?);
        let codes = fields.bytes(length, MAX_CODES, "a description of codes")?;
        let length = fields.u32()? as usize;
        Ok(Self {
            literals,
            codes,
            sequences: fields.bytes(length, MAX_BLOCK, "a section of sequences")?,
        })
    }

    fn write<W: Write>(&self, fields: &mut Writer<W>) -> Result<()> {
        fields.u8(self.literals)?;
        write_short(fields, &self.codes)?;
        fields.u32(self.sequences.len() as u32)?;
        fields.bytes(&self.sequences)
    }
}
