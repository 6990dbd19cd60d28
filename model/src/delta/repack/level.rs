//! At which of zstd's levels something was compressed.

use reclone_format::Result;
use reclone_format::repack::Engine;
use reclone_format::repack::parse::{Guide, Sequence};
use reclone_format::repack::recipe::Job;

use super::blocks::{Blocks, ZstdFrame};

/// Blocks that are compared.
const LOOKED_AT: usize = 24;
/// At most this part of all sequences may be guessed wrong, in thousandths.
const WRONG: usize = 100;

/// The one whose guesses are right most often, if they mostly are; the lowest of equals.
pub fn of(object: &[u8], frame: &ZstdFrame, content: &[u8]) -> Option<Job> {
    let jobs = (5..=11).filter_map(Job::of_level);
    let fitting = jobs.filter(|job| frame.window_log == Some(job.style.window_log));
    let wrong = |job: Job| Some((wrong(object, frame, content, job).ok()?, job));
    let (wrong, job) = fitting.filter_map(wrong).min_by_key(|(wrong, _)| *wrong)?;
    (wrong <= WRONG).then_some(job)
}

/// How many of a thousand sequences at the start are not as they would be.
pub(super) fn wrong(object: &[u8], frame: &ZstdFrame, content: &[u8], job: Job) -> Result<usize> {
    let (mut engine, mut blocks, mut at) = (Engine::new(job), Blocks::of(object, frame), 0);
    let (mut wrong, mut all, mut made) = (0, 1, Vec::new());
    for _ in 0..LOOKED_AT {
        let Some(parsed) = blocks.next()? else {
            break;
        };
        let Some(content) = content.get(at..at + parsed.block.size) else {
            break;
        };
        at += content.len();
        made.clear();
        engine.begin_block();
        engine.add(content);
        let mut guide = Recorded::of(&parsed);
        engine.write(&parsed.block, &mut guide, &mut made)?;
        wrong += guide.corrections.len();
        all += parsed.sequences.len();
    }
    Ok(wrong * 1000 / all)
}

/// Knows the right sequences and writes down where a guess is wrong.
#[derive(Debug)]
pub struct Recorded<'a> {
    /// None where the block has no sequences, and so every guess will do.
    sequences: Option<&'a [Sequence]>,
    /// Those that were not as guessed, and their numbers.
    pub corrections: Vec<(u16, Sequence)>,
}

impl<'a> Recorded<'a> {
    /// Of a block.
    pub fn of(parsed: &'a super::blocks::Parsed) -> Self {
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
