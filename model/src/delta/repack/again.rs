//! The blocks of a zstd frame packed once more, as a recipe packs them, and where its guesses are wrong.

use reclone_format::Result;
use reclone_format::repack::Engine;
use reclone_format::repack::parse::{Guide, Sequence};
use reclone_format::repack::recipe::Job;

use super::blocks::{Blocks, Parsed, ZstdFrame, bad};

/// Packs them one after the other.
#[derive(Debug)]
pub struct Again<'a> {
    engine: Engine,
    blocks: Blocks<'a>,
    /// What the blocks to come yield.
    content: &'a [u8],
}

/// A block, and what came of it.
#[derive(Debug)]
pub struct Packed {
    /// As it is in the frame.
    pub parsed: Parsed,
    /// The sequences that were not as guessed, and their numbers.
    pub corrections: Vec<(u16, Sequence)>,
    /// The bytes that a recipe would give.
    pub bytes: Vec<u8>,
}

impl<'a> Again<'a> {
    /// Those of `frame`, which yield `content`.
    pub fn of(object: &'a [u8], frame: &ZstdFrame, content: &'a [u8], job: Job) -> Self {
        Self {
            engine: Engine::new(job),
            blocks: Blocks::of(object, frame),
            content,
        }
    }

    /// The next one; none after the last.
    pub fn next(&mut self) -> Result<Option<Packed>> {
        let Some(parsed) = self.blocks.next()? else {
            return Ok(None);
        };
        let content = self.content.split_off(..parsed.block.size);
        self.engine.begin_block();
        self.engine.add(content.ok_or_else(bad)?);
        let (mut guide, mut bytes) = (Recorded::of(&parsed), Vec::new());
        self.engine.write(&parsed.block, &mut guide, &mut bytes)?;
        Ok(Some(Packed {
            corrections: guide.corrections,
            parsed,
            bytes,
        }))
    }

    /// Where the next block begins; after the last, where the frame's blocks end.
    pub fn end(&self) -> usize {
        self.blocks.end()
    }

    /// Whether no more content is left.
    pub fn is_used_up(&self) -> bool {
        self.content.is_empty()
    }
}

/// Knows the right sequences and writes down where a guess is wrong.
#[derive(Debug)]
struct Recorded<'a> {
    /// None where the block has no sequences, and so every guess will do.
    sequences: Option<&'a [Sequence]>,
    /// Those that were not as guessed, and their numbers.
    corrections: Vec<(u16, Sequence)>,
}

impl<'a> Recorded<'a> {
    /// Of a block.
    fn of(parsed: &'a Parsed) -> Self {
        let is_compressed = parsed.block.compressed().is_some();
        Self {
            sequences: is_compressed.then_some(&parsed.sequences),
            corrections: Vec::new(),
        }
    }
}

impl Guide for Recorded<'_> {
    fn sequence(&mut self, at: usize, guess: Option<Sequence>) -> Result<Option<Sequence>> {
        let Some(sequences) = self.sequences else {
            return Ok(guess);
        };
        let right = sequences.get(at).copied();
        if let Some(right) = right.filter(|right| Some(*right) != guess) {
            // A block has fewer sequences than a third of its bytes.
            self.corrections.push((at as u16, right));
        }
        Ok(right)
    }
}
