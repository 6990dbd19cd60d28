//! Writes blocks as zstd does (RFC 8878, 3.1.1.2): which sequences, tables and modes is known, how they are written is not
//! a matter of choice.

use crate::{Error, Result};

use super::STRUCTURE;
use super::bits::BitWriter;
use super::codes::{KINDS, Numbers};
use super::fse::{Counts, Writing};
use super::huffman::Codes;
use super::parse::{SHORTEST, Sequence};
use super::recipe::{Block, Compressed, Packing};

/// Modes of a table.
const USUAL: u8 = 0;
const ONE_SYMBOL: u8 = 1;
const DESCRIBED: u8 = 2;

/// Writes the blocks of a frame, one after the other.
#[derive(Debug, Default)]
pub struct Blocks {
    codes: Option<Codes>,
    tables: [Option<Writing>; 3],
    bits: BitWriter,
    literals: Vec<u8>,
    body: Vec<u8>,
}

impl Blocks {
    /// Writes a block with this content and these sequences to `out`.
    pub fn write(
        &mut self,
        block: &Block,
        content: &[u8],
        sequences: &[Sequence],
        out: &mut Vec<u8>,
    ) -> Result<()> {
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
                self.compress(compressed, content, sequences)?;
                (2, self.body.len())
            }
        };
        let header = u32::from(block.is_last) | kind << 1 | (size as u32) << 3;
        out.extend(&header.to_le_bytes()[..3]);
        out.append(&mut self.body);
        Ok(())
    }

    fn compress(
        &mut self,
        block: &Compressed,
        content: &[u8],
        sequences: &[Sequence],
    ) -> Result<()> {
        self.literals.clear();
        let mut rest = content;
        for sequence in sequences {
            let (literals, length) = (sequence.literals as usize, sequence.length as usize);
            let (literals, after) = rest.split_at_checked(literals).ok_or_else(outside)?;
            self.literals.extend_from_slice(literals);
            rest = after.get(length..).ok_or_else(outside)?;
        }
        self.literals.extend_from_slice(rest);
        self.write_literals(block)?;
        self.write_sequences(block, sequences)
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

    fn write_sequences(&mut self, block: &Compressed, sequences: &[Sequence]) -> Result<()> {
        match sequences.len() as u32 {
            count @ 0..128 => self.body.push(count as u8),
            count @ 128..0x7f00 => self.body.extend([(count >> 8) as u8 + 0x80, count as u8]),
            count => {
                self.body.push(0xff);
                self.body.extend(&(count - 0x7f00).to_le_bytes()[..2]);
            }
        }
        if sequences.is_empty() {
            return Ok(());
        }
        self.body.push(block.modes);
        for (which, numbers) in KINDS.into_iter().enumerate() {
            let described = &block.tables[which];
            self.body.extend_from_slice(described);
            if let Some(table) = table(numbers, block.modes >> (6 - 2 * which) & 3, described)? {
                self.tables[which] = Some(table);
            }
        }
        let [Some(literals), Some(offsets), Some(lengths)] = &self.tables else {
            return Err(Error::malformed(STRUCTURE, "a table is missing"));
        };
        let bits = &mut self.bits;
        let mut states = None;
        for sequence in sequences.iter().rev() {
            let numbers = [
                sequence.literals,
                sequence.offset,
                sequence.length.saturating_sub(SHORTEST),
            ];
            let [(l, l_bits), (o, o_bits), (m, m_bits)] =
                [0, 1, 2].map(|which| KINDS[which].code(numbers[which]));
            states = Some(match states {
                None => (literals.first(l)?, offsets.first(o)?, lengths.first(m)?),
                Some((l_state, o_state, m_state)) => {
                    let o_state = offsets.next(o_state, o, bits)?;
                    let m_state = lengths.next(m_state, m, bits)?;
                    (literals.next(l_state, l, bits)?, o_state, m_state)
                }
            });
            bits.add(numbers[0], l_bits);
            bits.add(numbers[2], m_bits);
            bits.add(numbers[1], o_bits);
        }
        if let Some((l_state, o_state, m_state)) = states {
            lengths.end(m_state, bits);
            offsets.end(o_state, bits);
            literals.end(l_state, bits);
        }
        bits.end(&mut self.body);
        Ok(())
    }
}

/// The table that a block's mode asks for; none if it is the one before.
fn table(numbers: Numbers, mode: u8, described: &[u8]) -> Result<Option<Writing>> {
    let (most, most_log) = numbers.limits();
    Ok(Some(match mode {
        USUAL => Writing::of(&numbers.usual())?,
        ONE_SYMBOL => match described {
            [symbol] if usize::from(*symbol) <= most => Writing::always(*symbol),
            _ => return Err(Error::malformed(STRUCTURE, "a table has no symbol")),
        },
        DESCRIBED => match Counts::read(described, most, most_log)? {
            (counts, used) if used == described.len() => Writing::of(&counts)?,
            _ => return Err(Error::malformed(STRUCTURE, "a table has another length")),
        },
        _ => return Ok(None),
    }))
}

fn outside() -> Error {
    Error::malformed(STRUCTURE, "a sequence leads out of its block")
}
