//! The Huffman codes of zstd's literals (RFC 8878, 4.2.1): from a table's description to codes, and literals to streams.

use crate::{Error, Result};

use super::STRUCTURE;
use super::bits::{BackwardBits, BitWriter};
use super::fse::{Counts, Reading};

/// The longest code.
const MOST_BITS: u32 = 11;

/// The codes of all bytes, each with its length; 0 where a byte has none.
#[derive(Clone, Debug)]
pub struct Codes(Vec<(u16, u8)>);

impl Codes {
    /// Reads a description; all of `bytes` is one.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let (weights, used) = read_weights(bytes)?;
        match used == bytes.len() {
            true => Self::of(weights),
            false => Err(bad("a table of codes has another length")),
        }
    }

    /// Of the weights of all bytes but the last one, which is what is missing.
    fn of(mut weights: Vec<u8>) -> Result<Self> {
        let sum: u32 = weights.iter().map(|weight| (1 << weight) >> 1).sum();
        if sum == 0 || weights.len() > 255 {
            return Err(bad("a table of codes is empty or too long"));
        }
        let most = sum.ilog2() + 1;
        let missing = (1 << most) - sum;
        if most > MOST_BITS || !missing.is_power_of_two() {
            return Err(bad("a table of codes does not add up"));
        }
        weights.push(missing.ilog2() as u8 + 1);
        let mut codes = vec![(0, 0); 256];
        let mut next = 0u32;
        // The longest codes come first, those of one length in the order of their bytes.
        for weight in 1..=most as u8 {
            let length = most as u8 + 1 - weight;
            for (byte, _) in weights.iter().enumerate().filter(|(_, of)| **of == weight) {
                codes[byte] = (next as u16, length);
                next += 1;
            }
            next >>= 1;
        }
        Ok(Self(codes))
    }

    /// Writes one stream of these literals.
    pub fn write(&self, literals: &[u8], bits: &mut BitWriter, out: &mut Vec<u8>) -> Result<()> {
        for literal in literals.iter().rev() {
            let (code, length) = self.0[usize::from(*literal)];
            if length == 0 {
                return Err(bad("a literal has no code"));
            }
            bits.add(u32::from(code), u32::from(length));
        }
        bits.end(out);
        Ok(())
    }
}

/// The weights that a description gives, and its length.
pub fn read_weights(bytes: &[u8]) -> Result<(Vec<u8>, usize)> {
    let cut = || bad("a table of codes is cut off");
    let (first, rest) = bytes.split_first().ok_or_else(cut)?;
    if *first >= 128 {
        let count = usize::from(*first) - 127;
        let packed = rest.get(..count.div_ceil(2)).ok_or_else(cut)?;
        let mut weights: Vec<u8> = packed.iter().flat_map(|two| [two >> 4, two & 15]).collect();
        weights.truncate(count);
        check(&weights)?;
        return Ok((weights, 1 + packed.len()));
    }
    let packed = rest.get(..usize::from(*first)).ok_or_else(cut)?;
    let (counts, used) = Counts::read(packed, MOST_BITS as usize + 1, 6)?;
    let weights = read_packed_weights(&Reading::of(&counts)?, &packed[used..])?;
    check(&weights)?;
    Ok((weights, 1 + packed.len()))
}

fn check(weights: &[u8]) -> Result<()> {
    match weights.iter().all(|weight| u32::from(*weight) <= MOST_BITS) {
        true => Ok(()),
        false => Err(bad("a code is too long")),
    }
}

/// Two states take turns until the bits for one are missing; then the other's is the last weight.
fn read_packed_weights(table: &Reading, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut bits = BackwardBits::of(bytes)?;
    let cut = || bad("a table of codes is cut off");
    let mut states = [
        table.first(&mut bits).ok_or_else(cut)?,
        table.first(&mut bits).ok_or_else(cut)?,
    ];
    let mut weights = Vec::with_capacity(256);
    while weights.len() < 255 {
        weights.push(table.symbol(states[0]));
        match table.next(states[0], &mut bits) {
            Some(next) => states = [states[1], next],
            None => {
                weights.push(table.symbol(states[1]));
                return Ok(weights);
            }
        }
    }
    Err(bad("a table of codes is too long"))
}

fn bad(reason: &str) -> Error {
    Error::malformed(STRUCTURE, reason)
}
