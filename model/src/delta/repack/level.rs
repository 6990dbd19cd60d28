//! At which of zstd's levels something was compressed.

use reclone_format::Result;
use reclone_format::repack::recipe::Job;

use super::again::Again;
use super::blocks::ZstdFrame;

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
    let mut again = Again::of(object, frame, content, job);
    let (mut wrong, mut all) = (0, 1);
    for _ in 0..LOOKED_AT {
        let Some(block) = again.next()? else {
            break;
        };
        wrong += block.corrections.len();
        all += block.parsed.sequences.len();
    }
    Ok(wrong * 1000 / all)
}
