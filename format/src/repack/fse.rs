//! Tables of zstd's finite state entropy coding (RFC 8878, 4.1): what a table's description says, and what it is for a reader.

use crate::{Error, Result};

use super::STRUCTURE;
use super::bits::{BackwardBits, ForwardBits};

/// How often each symbol comes, of `1 << log`; -1 is "less than once".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    log: u32,
    of: Vec<i16>,
}

impl Counts {
    /// These, which add up.
    pub fn fixed(log: u32, of: &[i16]) -> Self {
        let of = of.to_vec();
        Self { log, of }
    }

    /// Reads a description of symbols up to `most`, in at most `1 << most_log` states; gives its length too.
    pub fn read(bytes: &[u8], most: usize, most_log: u32) -> Result<(Self, usize)> {
        let bad = || Error::malformed(STRUCTURE, "an entropy table is not valid");
        let mut bits = ForwardBits::of(bytes);
        let log = bits.peek(4) + 5;
        bits.skip(4);
        if log > most_log {
            return Err(bad());
        }
        let (mut left, mut of) = (1i32 << log, Vec::with_capacity(most + 1));
        while left > 0 {
            let count = read_count(&mut bits, left);
            of.push(count);
            left -= i32::from(count).abs();
            if count == 0 {
                loop {
                    let zeros = bits.peek(2);
                    bits.skip(2);
                    of.resize(of.len() + zeros as usize, 0);
                    if zeros < 3 || of.len() > most {
                        break;
                    }
                }
            }
            if of.len() > most + usize::from(left == 0) {
                return Err(bad());
            }
        }
        let used = bits.used().filter(|_| left == 0).ok_or_else(bad)?;
        Ok((Self { log, of }, used))
    }

    /// The symbol of each state.
    fn spread(&self) -> Result<Vec<u8>> {
        let size = 1usize << self.log;
        let (mut symbols, mut high) = (vec![0; size], size);
        for (symbol, count) in self.of.iter().enumerate() {
            if *count < 0 {
                high -= 1;
                symbols[high] = symbol as u8;
            }
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut at = 0;
        for (symbol, count) in self.of.iter().enumerate() {
            for _ in 0..*count {
                symbols[at] = symbol as u8;
                at = (at + step) & (size - 1);
                while at >= high && high > 0 {
                    at = (at + step) & (size - 1);
                }
            }
        }
        match at {
            0 => Ok(symbols),
            _ => Err(Error::malformed(STRUCTURE, "an entropy table is not full")),
        }
    }
}

/// One count of a description, of which `left` are not yet given. Small ones are a bit shorter.
fn read_count(bits: &mut ForwardBits, left: i32) -> i16 {
    let width = (left + 1).ilog2() + 1;
    let threshold = 1i32 << (width - 1);
    let short = 2 * threshold - 1 - (left + 1);
    let low = bits.peek(width - 1) as i32;
    let value = if low < short {
        bits.skip(width - 1);
        low
    } else {
        let all = bits.peek(width) as i32;
        bits.skip(width);
        all - if all >= threshold { short } else { 0 }
    };
    (value - 1) as i16
}

/// What each state means and where it leads.
#[derive(Clone, Debug)]
pub struct Reading {
    log: u32,
    states: Vec<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    symbol: u8,
    /// Bits to be added to `base` for the next state.
    bits: u32,
    base: u32,
}

impl Reading {
    /// Of these counts.
    pub fn of(counts: &Counts) -> Result<Self> {
        let (log, size) = (counts.log, 1u32 << counts.log);
        let mut next: Vec<u32> = counts
            .of
            .iter()
            .map(|count| u32::from(count.unsigned_abs()))
            .collect();
        let state = |symbol: u8| {
            let number = &mut next[usize::from(symbol)];
            let bits = log - number.ilog2();
            let base = (*number << bits) - size;
            *number += 1;
            State { symbol, bits, base }
        };
        let states = counts.spread()?.into_iter().map(state).collect();
        Ok(Self { log, states })
    }

    /// Of one symbol that is always meant.
    pub fn always(symbol: u8) -> Self {
        let state = State {
            symbol,
            bits: 0,
            base: 0,
        };
        Self {
            log: 0,
            states: vec![state],
        }
    }

    /// The first state.
    pub fn first(&self, bits: &mut BackwardBits) -> Option<u32> {
        bits.take(self.log)
    }

    /// What a state means.
    pub fn symbol(&self, state: u32) -> u8 {
        self.states[state as usize].symbol
    }

    /// The next state; none if bits for it are missing.
    pub fn next(&self, state: u32, bits: &mut BackwardBits) -> Option<u32> {
        let state = self.states[state as usize];
        Some(state.base + bits.take(state.bits)?)
    }
}
