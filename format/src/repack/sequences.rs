//! The sequences of a compressed block (RFC 8878, 3.1.1.3.2), as far as they say which of its bytes are literals: how far back
//! a match is does not matter for that.

use crate::{Error, Result};

use super::STRUCTURE;
use super::bits::BackwardBits;
use super::codes::{KINDS, Numbers};
use super::fse::{Counts, Reading};

/// The shortest match.
const SHORTEST: u32 = 3;
/// Modes of a table.
const USUAL: u8 = 0;
const ONE_SYMBOL: u8 = 1;
const DESCRIBED: u8 = 2;

/// The tables of the last block, for one that uses them again.
#[derive(Debug, Default)]
pub struct Tables([Option<Reading>; 3]);

/// The literals before a match, and the bytes of the match.
pub type Lengths = (u32, u32);

impl Tables {
    /// Reads a block's section of sequences, all of `section`, and gives the lengths of each to `each`, in the order of the content.
    pub fn read(
        &mut self,
        mut section: &[u8],
        mut each: impl FnMut(Lengths) -> Result<()>,
    ) -> Result<()> {
        let rest = &mut section;
        let count = match u32::from(byte(rest)?) {
            few @ 0..128 => few,
            more @ 128..255 => ((more - 128) << 8) + u32::from(byte(rest)?),
            _ => u32::from(byte(rest)?) + (u32::from(byte(rest)?) << 8) + 0x7f00,
        };
        if count == 0 {
            return Ok(());
        }
        let modes = byte(rest)?;
        for (which, numbers) in KINDS.into_iter().enumerate() {
            if let Some(table) = table(numbers, modes >> (6 - 2 * which) & 3, rest)? {
                self.0[which] = Some(table);
            }
        }
        let [Some(literals), Some(offsets), Some(lengths)] = &self.0 else {
            return Err(bad("a table is missing"));
        };
        let mut bits = BackwardBits::of(rest)?;
        let mut first = |table: &Reading| table.first(&mut bits).ok_or_else(cut);
        let (mut l, mut o, mut m) = (first(literals)?, first(offsets)?, first(lengths)?);
        for left in (0..count).rev() {
            let (_, width) = first_of(Numbers::Offsets, offsets.symbol(o))?;
            bits.take(width).ok_or_else(cut)?;
            let (least, width) = first_of(Numbers::Lengths, lengths.symbol(m))?;
            let length = least + SHORTEST + bits.take(width).ok_or_else(cut)?;
            let (least, width) = first_of(Numbers::Literals, literals.symbol(l))?;
            each((least + bits.take(width).ok_or_else(cut)?, length))?;
            if left > 0 {
                l = literals.next(l, &mut bits).ok_or_else(cut)?;
                m = lengths.next(m, &mut bits).ok_or_else(cut)?;
                o = offsets.next(o, &mut bits).ok_or_else(cut)?;
            }
        }
        Ok(())
    }
}

/// The table that a block's mode asks for, whose description it takes; none if it is the one before.
fn table(numbers: Numbers, mode: u8, rest: &mut &[u8]) -> Result<Option<Reading>> {
    let (most, most_log) = numbers.limits();
    Ok(Some(match mode {
        USUAL => Reading::of(&numbers.usual())?,
        ONE_SYMBOL => Reading::always(byte(rest)?),
        DESCRIBED => {
            let (counts, used) = Counts::read(rest, most, most_log)?;
            *rest = &rest[used..];
            Reading::of(&counts)?
        }
        _ => return Ok(None),
    }))
}

fn first_of(numbers: Numbers, code: u8) -> Result<(u32, u32)> {
    match usize::from(code) <= numbers.limits().0 {
        true => Ok(numbers.first(code)),
        false => Err(bad("a sequence has a code that there is not")),
    }
}

fn byte(rest: &mut &[u8]) -> Result<u8> {
    let (first, others) = rest.split_first().ok_or_else(cut)?;
    *rest = others;
    Ok(*first)
}

fn cut() -> Error {
    bad("sequences are cut off")
}

fn bad(reason: &str) -> Error {
    Error::malformed(STRUCTURE, reason)
}
