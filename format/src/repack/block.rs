//! Writes blocks as zstd does (RFC 8878, 3.1.1.2 and 3.1.1.3): which bytes are literals, and with which codes, is known; how they
//! are written is not a matter of choice.

use crate::{Error, Result};

use super::STRUCTURE;
use super::bits::BitWriter;
use super::huffman::Codes;
use super::recipe::{Block, Compressed, Packing};
use super::sequences::Tables;

/// Writes the blocks of frames, one after the other.
#[derive(Debug, Default)]
pub struct Blocks {
    codes: Option<Codes>,
    tables: Tables,
    bits: BitWriter,
    literals: Vec<u8>,
    body: Vec<u8>,
}

impl Blocks {
    /// Writes a block with this content to the end of `out`.
    pub fn write(&mut self, block: &Block, content: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.body.clear();
        let (kind, size) = match &block.packing {
            Packing::Raw => {
                self.body.extend_from_slice(content);
                (0, content.len())
            }
            Packing::Run => {
                self.body.extend(content.first());
                (1, content.len())
            }
            Packing::Compressed(compressed) => {
                self.gather(compressed, content)?;
                self.write_literals(compressed)?;
                self.body.extend_from_slice(&compressed.sequences);
                (2, self.body.len())
            }
        };
        let header = u32::from(block.is_last) | kind << 1 | (size as u32) << 3;
        out.extend(&header.to_le_bytes()[..3]);
        out.append(&mut self.body);
        Ok(())
    }

    /// Takes the literals out of a block's content.
    fn gather(&mut self, block: &Compressed, content: &[u8]) -> Result<()> {
        let (literals, mut rest) = (&mut self.literals, content);
        literals.clear();
        self.tables.read(&block.sequences, |(before, length)| {
            let (taken, after) = rest
                .split_at_checked(before as usize)
                .ok_or_else(too_long)?;
            literals.extend_from_slice(taken);
            rest = after.get(length as usize..).ok_or_else(too_long)?;
            Ok(())
        })?;
        literals.extend_from_slice(rest);
        Ok(())
    }

    fn write_literals(&mut self, block: &Compressed) -> Result<()> {
        let (kind, format) = (block.literals & 3, block.literals >> 2 & 3);
        let (first, size) = (u64::from(block.literals & 15), self.literals.len() as u64);
        if kind < 2 {
            let (header, length) = match format {
                0 | 2 => (first & 7 | size << 3, 1),
                1 => (first | size << 4, 2),
                _ => (first | size << 4, 3),
            };
            self.body.extend(&header.to_le_bytes()[..length]);
            match kind {
                0 => self.body.extend_from_slice(&self.literals),
                _ => self.body.extend(self.literals.first()),
            }
            return Ok(());
        }
        if kind == 2 {
            self.codes = Some(Codes::read(&block.codes)?);
        }
        let codes = self.codes.as_ref();
        let codes = codes.ok_or_else(|| Error::malformed(STRUCTURE, "codes are missing"))?;
        let mut streams = block.codes.clone();
        if format == 0 {
            codes.write(&self.literals, &mut self.bits, &mut streams)?;
        } else {
            let jumps = streams.len();
            streams.extend([0; 6]);
            let quarter = self.literals.len().div_ceil(4).max(1);
            for (at, part) in self.literals.chunks(quarter).enumerate() {
                let start = streams.len();
                codes.write(part, &mut self.bits, &mut streams)?;
                let length = (streams.len() - start) as u16;
                if at < 3 {
                    streams[jumps + at * 2..][..2].copy_from_slice(&length.to_le_bytes());
                }
            }
        }
        let (bits, length) = [(10, 3), (10, 3), (14, 4), (18, 5)][usize::from(format)];
        let header = first | size << 4 | (streams.len() as u64) << (4 + bits);
        self.body.extend(&header.to_le_bytes()[..length]);
        self.body.append(&mut streams);
        Ok(())
    }
}

fn too_long() -> Error {
    Error::malformed(STRUCTURE, "a sequence leads out of its block")
}
