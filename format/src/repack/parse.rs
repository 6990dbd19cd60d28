//! Which matches zstd takes, at its levels 5 to 12 (the strategies greedy, lazy and lazy2 over rows): a guess of the
//! sequences of a block from its content. Where the guess is wrong a guide says so, and the next ones go on from what is right.

use crate::{Error, Result};

use super::STRUCTURE;
use super::finder::{Finder, Rows, common, half};

/// Matches that begin in a block's last bytes are not looked for.
const UNSEARCHED: usize = 16;
/// The shortest match.
pub const SHORTEST: u32 = 3;
/// A match at the last distance is written so; greater numbers are distances plus three.
const AGAIN: u32 = 1;
/// Numbers up to this one name one of the last distances.
const NAMED: u32 = 3;

/// A sequence of RFC 8878: literals, then a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Bytes as they are.
    pub literals: u32,
    /// The distance of the match as it is written.
    pub offset: u32,
    /// Bytes of the match.
    pub length: u32,
}

/// What a block was compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// The window as a power of two.
    pub window_log: u32,
    /// How many more places a better match is looked for: 0 to 2.
    pub depth: u32,
    /// Where matches are looked for.
    pub rows: Rows,
}

/// Says what a sequence really is: given its number in the block and the guess, if there is one.
pub trait Guide {
    /// The true one, or that there are no more.
    fn sequence(&mut self, at: usize, guess: Option<Sequence>) -> Result<Option<Sequence>>;
}

/// Guesses block after block.
#[derive(Debug)]
pub struct Parser {
    style: Style,
    finder: Finder,
    /// The last two distances; 0 is none.
    last: [usize; 2],
}

/// The block that is worked on.
struct Block<'a> {
    content: &'a [u8],
    /// Where the window begins.
    low: usize,
    end: usize,
    /// Where the next literals begin.
    anchor: usize,
    /// Where the search goes on.
    at: usize,
    /// Whether a sequence came just before.
    after: bool,
}

/// The best match so far.
#[derive(Clone, Copy)]
struct Best {
    start: usize,
    offset: u32,
    length: usize,
}

impl Best {
    /// How much it is worth if each byte counts `each`; a far match costs bits.
    fn gain(&self, each: i64) -> i64 {
        self.length as i64 * each - i64::from(self.offset.max(1).ilog2())
    }
}

impl Parser {
    /// Before the first block.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            finder: Finder::new(style.rows),
            last: [1, 4],
        }
    }

    /// Begins anew after `prefix`, which blocks may refer to.
    pub fn restart(&mut self, prefix: &[u8]) {
        if self.finder.next > 0 {
            self.finder.clear();
        }
        self.last = match prefix {
            [] => [1, 4],
            _ => [0, 0],
        };
        self.finder.keep_all(prefix, prefix.len().saturating_sub(8));
        self.finder.next = prefix.len();
    }

    /// The sequences of the block from `start` to the end of `content`, as the guide says they are.
    pub fn block(
        &mut self,
        content: &[u8],
        start: usize,
        guide: &mut impl Guide,
        sequences: &mut Vec<Sequence>,
    ) -> Result<()> {
        let low = start.saturating_sub(1 << self.style.window_log);
        let mut block = Block {
            content,
            low,
            end: content.len(),
            anchor: start,
            at: start + usize::from(start == low),
            after: false,
        };
        let next = self.finder.next.max(low);
        self.finder.next = match start > next + 384 {
            true => start - (start - next - 384).min(192),
            false => next,
        };
        let held = self.hold_back(&block);
        sequences.clear();
        loop {
            let guess = self.guess(&mut block);
            match guide.sequence(sequences.len(), guess)? {
                Some(sequence) => {
                    self.take(&mut block, sequence)?;
                    sequences.push(sequence);
                }
                None => break,
            }
        }
        self.give_back(held);
        Ok(())
    }

    /// The last two distances.
    pub fn last(&self) -> [usize; 2] {
        self.last
    }

    /// Sets them: a block that was not compressed after all leaves them as they were.
    pub fn set_last(&mut self, last: [usize; 2]) {
        self.last = last;
    }

    /// Distances out of the window are not used in the block.
    fn hold_back(&mut self, block: &Block) -> [usize; 2] {
        let most = block.at
            - block
                .low
                .max(block.at.saturating_sub(1 << self.style.window_log));
        let mut held = [0; 2];
        for (last, held) in self.last.iter_mut().zip(&mut held) {
            if *last > most {
                *held = std::mem::take(last);
            }
        }
        held
    }

    fn give_back(&mut self, mut held: [usize; 2]) {
        if held[0] != 0 && self.last[0] != 0 {
            held[1] = held[0];
        }
        for (last, held) in self.last.iter_mut().zip(held) {
            if *last == 0 {
                *last = held;
            }
        }
    }

    /// The length of a match at the last distance but `which`, if it is four bytes or longer.
    fn again(&self, block: &Block, at: usize, which: usize) -> Option<usize> {
        let old = at.checked_sub(self.last[which]).filter(|old| *old != at)?;
        let is_one = half(block.content, old) == half(block.content, at);
        is_one.then(|| common(block.content, old, at, block.end))
    }

    fn longest(&mut self, block: &Block, at: usize) -> Option<Best> {
        let low = block.low.max(at.saturating_sub(1 << self.style.window_log));
        let (distance, length) = self.finder.longest(block.content, at, low, block.end)?;
        Some(Best {
            start: at,
            offset: distance as u32 + NAMED,
            length,
        })
    }

    fn guess(&mut self, block: &mut Block) -> Option<Sequence> {
        let limit = block.end.saturating_sub(UNSEARCHED);
        if block.after
            && block.at <= limit
            && let Some(length) = self.again(block, block.at, 1)
        {
            return Some(Sequence {
                literals: 0,
                offset: AGAIN,
                length: length as u32,
            });
        }
        block.after = false;
        while block.at < limit {
            let at = block.at;
            let mut best = self.again(block, at + 1, 0).map(|length| Best {
                start: at + 1,
                offset: AGAIN,
                length,
            });
            if self.style.depth > 0 || best.is_none() {
                let found = self.longest(block, at);
                let known = best.map_or(0, |best| best.length);
                best = found.filter(|found| found.length > known).or(best);
            }
            match best {
                Some(best) => return Some(self.settle(block, best, limit)),
                None => block.at += ((at - block.anchor) >> 8) + 1,
            }
        }
        None
    }

    /// Looks for a better one a bit further on, then for where the best really begins.
    fn settle(&mut self, block: &Block, mut best: Best, limit: usize) -> Sequence {
        let mut at = block.at;
        'better: while self.style.depth > 0 && at < limit {
            for step in 1..=self.style.depth {
                if step == 2 && at >= limit {
                    break;
                }
                at += 1;
                let each = if step == 1 { 3 } else { 4 };
                if let Some(length) = self.again(block, at, 0)
                    && length as i64 * each > best.gain(each) + 1
                {
                    best = Best {
                        start: at,
                        offset: AGAIN,
                        length,
                    };
                }
                let more = if step == 1 { 4 } else { 7 };
                if let Some(found) = self.longest(block, at)
                    && found.gain(4) > best.gain(4) + more
                {
                    best = found;
                    continue 'better;
                }
            }
            break;
        }
        if best.offset > NAMED {
            let distance = (best.offset - NAMED) as usize;
            while best.start > block.anchor
                && best.start - distance > block.low
                && block.content[best.start - 1] == block.content[best.start - distance - 1]
            {
                best.start -= 1;
                best.length += 1;
            }
        }
        Sequence {
            literals: (best.start - block.anchor) as u32,
            offset: best.offset,
            length: best.length as u32,
        }
    }

    /// Goes on behind a sequence.
    fn take(&mut self, block: &mut Block, sequence: Sequence) -> Result<()> {
        let Sequence {
            literals,
            offset,
            length,
        } = sequence;
        let end = block.anchor as u64 + u64::from(literals) + u64::from(length);
        if end > block.end as u64 || length < SHORTEST || offset == 0 {
            return Err(Error::malformed(
                STRUCTURE,
                "a sequence leads out of its block",
            ));
        }
        if offset > NAMED {
            self.last = [(offset - NAMED) as usize, self.last[0]];
        } else if literals == 0 && offset == AGAIN {
            self.last.swap(0, 1);
        }
        (block.anchor, block.at, block.after) = (end as usize, end as usize, true);
        Ok(())
    }
}
