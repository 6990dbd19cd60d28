//! The bits of zstd's streams (RFC 8878, 4.2): written forwards, the lowest first; read forwards in tables and backwards in
//! streams, which end with a one.

use crate::{Error, Result};

use super::STRUCTURE;

/// Writes a stream.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl BitWriter {
    /// Adds the lowest `count` bits of `value`, at most 32.
    pub fn add(&mut self, value: u32, count: u32) {
        let mask = (1u64 << count) - 1;
        self.held |= (u64::from(value) & mask) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend((self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Ends the stream and gives its bytes to `out`; the writer begins anew.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.add(1, 1);
        let left = self.count.div_ceil(8) as usize;
        out.append(&mut self.bytes);
        out.extend(&self.held.to_le_bytes()[..left]);
        (self.held, self.count) = (0, 0);
    }
}

/// Reads a stream from its end.
#[derive(Debug)]
pub struct BackwardBits<'a> {
    bytes: &'a [u8],
    /// Bits that are left.
    left: usize,
}

impl<'a> BackwardBits<'a> {
    /// The whole of `bytes` is the stream.
    pub fn of(bytes: &'a [u8]) -> Result<Self> {
        let last = bytes.last().copied().filter(|last| *last != 0);
        let last = last.ok_or_else(|| Error::malformed(STRUCTURE, "a stream has no end"))?;
        let left = bytes.len() * 8 - last.leading_zeros() as usize - 1;
        Ok(Self { bytes, left })
    }

    /// The next `count` bits, at most 32; none if fewer are left.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        self.left = self.left.checked_sub(count as usize)?;
        Some(bits_at(self.bytes, self.left, count))
    }
}

/// Reads a table's bits forwards; what lies behind its bytes is zeros.
#[derive(Debug)]
pub struct ForwardBits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> ForwardBits<'a> {
    /// From the first bit of `bytes`.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits, at most 32, which stay the next.
    pub fn peek(&self, count: u32) -> u32 {
        bits_at(self.bytes, self.at, count)
    }

    /// Goes on by `count` bits.
    pub fn skip(&mut self, count: u32) {
        self.at += count as usize;
    }

    /// Bytes that were begun, if there are so many.
    pub fn used(&self) -> Option<usize> {
        let used = self.at.div_ceil(8);
        (used <= self.bytes.len()).then_some(used)
    }
}

fn bits_at(bytes: &[u8], at: usize, count: u32) -> u32 {
    let rest = bytes.get(at / 8..).unwrap_or_default();
    let mut word = [0; 8];
    let there = rest.len().min(8);
    word[..there].copy_from_slice(&rest[..there]);
    let value = u64::from_le_bytes(word) >> (at % 8);
    (value & ((1 << count) - 1)) as u32
}
