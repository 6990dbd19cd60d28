//! The bytes of one frame: every codec that suits it is tried, and the smallest result taken.

use std::io;

use reclone_format::patch;
use reclone_format::{Codec, Frame};
use zstd::zstd_safe::{CCtx, CParameter, compress_bound, get_error_name};

use super::bsdiff::difference;
use super::effort::Effort;
use super::groups::Group;
use super::similar::are_alike;

/// The most memory that a frame may take a clone, as [`Frame::memory`] reckons.
pub const MEMORY: u64 = 64 << 20;
const MIN_WINDOW_LOG: u8 = 10;
/// The largest window of a frame without bases.
const MAX_WINDOW_LOG: u8 = 24;
/// The largest window of a frame with bases.
const MOST_PREFIXED: u8 = 27;
/// The largest window of each of a patch's streams.
const PATCH_WINDOW_LOG: u8 = 22;
/// A level that shows quickly what a higher one may come to, and how much less that is at most, in percent.
const QUICK: i32 = 3;
const GAIN: usize = 33;
/// What a prefix leaves more of than this part, in thousandths, has little to do with it.
const HOPELESS: usize = 800;

/// A frame and its bytes.
pub type Encoded = (Frame, Vec<u8>);

/// The smallest frame of `group`, whose contents are `content` and whose bases are `base`, one after the other. `repacked` is such a frame
/// already, which is the smallest where a quick look at the others shows nothing else.
pub fn smallest(
    repacked: Encoded,
    group: &Group,
    content: &[u8],
    base: &[u8],
    effort: Effort,
) -> io::Result<Encoded> {
    let length = repacked.1.len();
    let fits = repacked.0.memory() <= MEMORY;
    if fits && !may_come_below(after(content, base, QUICK)?.len(), length) {
        return Ok(repacked);
    }
    let other = encode(group, content, base, effort)?;
    Ok(match fits && length < other.1.len() {
        true => repacked,
        false => other,
    })
}

/// The smallest frame of `group`, whose contents are `content` and whose bases are `base`, one after the other.
pub fn encode(group: &Group, content: &[u8], base: &[u8], effort: Effort) -> io::Result<Encoded> {
    let mut best = Best::of(content.len());
    if !base.is_empty() {
        let prefix = group.base() + content.len().next_power_of_two() as u64;
        if group.is_code && effort.patches() {
            best.take(patched(group, content, base, effort)?);
        }
        if prefix <= MEMORY && best.is_above(effort.enough()) {
            best.take(prefixed(group, content, base, effort)?);
        }
        // What a prefix makes nearly nothing, or leaves nearly all of, a patch does so too.
        let is_open = match best.encoded {
            Some(_) => best.is_above(effort.enough()) && !best.is_above(HOPELESS),
            None => are_alike(content, base),
        };
        if !group.is_code && effort.patches() && is_open {
            best.take(patched(group, content, base, effort)?);
        }
    }
    let whole = Group {
        bases: Vec::new(),
        ..group.clone()
    };
    if best.may_lose_to_whole(content)? {
        best.take(prefixed(&whole, content, &[], effort)?);
    }
    let stored = (
        frame(&whole, Codec::Stored, 0, content.len()),
        content.to_vec(),
    );
    let smaller = best.encoded.filter(|best| best.1.len() < content.len());
    Ok(smaller.unwrap_or(stored))
}

/// The smallest result so far; of equals the last, which needs the least.
struct Best {
    content: usize,
    encoded: Option<Encoded>,
}

impl Best {
    fn of(content: usize) -> Self {
        let encoded = None;
        Self { content, encoded }
    }

    fn take(&mut self, tried: Encoded) {
        let is_smaller = |best: &Encoded| tried.1.len() <= best.1.len();
        if tried.0.memory() <= MEMORY && self.encoded.as_ref().is_none_or(is_smaller) {
            self.encoded = Some(tried);
        }
    }

    /// Whether the content without bases may come out smaller.
    fn may_lose_to_whole(&self, content: &[u8]) -> io::Result<bool> {
        let Some((_, bytes)) = &self.encoded else {
            return Ok(true);
        };
        let quick = after(content, &[], QUICK)?;
        Ok(may_come_below(quick.len(), bytes.len()))
    }

    /// Whether there is none, or it is larger than this part of the content, in thousandths.
    fn is_above(&self, part: usize) -> bool {
        let is_larger = |best: &Encoded| best.1.len() as u64 * 1000 > (self.content * part) as u64;
        self.encoded.as_ref().is_none_or(is_larger)
    }
}

/// Whether what comes to `quick` bytes at a low level may come below `length` at a higher one.
fn may_come_below(quick: usize, length: usize) -> bool {
    quick * (100 - GAIN) / 100 < length
}

fn frame(group: &Group, codec: Codec, window_log: u8, length: usize) -> Frame {
    Frame {
        offset: 0,
        length: length as u64,
        codec,
        window_log,
        bases: group.bases.clone(),
        objects: group.objects.clone(),
    }
}

/// Compressed after the bases, or after nothing.
fn prefixed(group: &Group, content: &[u8], base: &[u8], effort: Effort) -> io::Result<Encoded> {
    let window_log = window_log_after(content, base);
    let bytes = after(content, base, effort.level())?;
    Ok((frame(group, Codec::Zstd, window_log, bytes.len()), bytes))
}

/// One zstd frame of `content` after `base`.
fn after(content: &[u8], base: &[u8], level: i32) -> io::Result<Vec<u8>> {
    compress(content, base, window_log_after(content, base), level)
}

fn window_log_after(content: &[u8], base: &[u8]) -> u8 {
    let most = match base {
        [] => MAX_WINDOW_LOG,
        _ => MOST_PREFIXED,
    };
    window_log(content.len(), most)
}

/// As a patch of the bases.
fn patched(group: &Group, content: &[u8], base: &[u8], effort: Effort) -> io::Result<Encoded> {
    let difference = difference(base, content);
    let control = patch::control(&difference.steps).map_err(io::Error::other)?;
    let streams = [&control, &difference.diff, &difference.extra];
    let longest = streams.map(Vec::len).into_iter().max().unwrap_or_default();
    let window_log = window_log(longest, PATCH_WINDOW_LOG);
    let compress = |stream| compress(stream, &[], window_log, effort.level());
    let bytes = patch::join(
        &compress(&control)?,
        &compress(&difference.diff)?,
        &compress(&difference.extra)?,
    );
    let bytes = bytes.map_err(io::Error::other)?;
    Ok((frame(group, Codec::Patch, window_log, bytes.len()), bytes))
}

/// The smallest window that spans `content` bytes, but at most this one.
fn window_log(content: usize, most: u8) -> u8 {
    let log = usize::BITS - content.saturating_sub(1).leading_zeros();
    (log as u8).clamp(MIN_WINDOW_LOG, most)
}

/// One zstd frame. A window that spans `content` lets all of it reach all of `prefix`.
fn compress(content: &[u8], prefix: &[u8], window_log: u8, level: i32) -> io::Result<Vec<u8>> {
    let failed = |code| io::Error::other(get_error_name(code));
    let mut context = CCtx::create();
    let mut set = |parameter| context.set_parameter(parameter).map_err(failed);
    set(CParameter::CompressionLevel(level))?;
    set(CParameter::WindowLog(u32::from(window_log)))?;
    let span = window_log_of(content.len() + prefix.len());
    if span > MOST_INDEXED && level >= TREE_LEVEL {
        // The level's own tables forget what lies further back than 2^23 bytes.
        set(CParameter::ChainLog(span + 1))?;
    }
    context.ref_prefix(prefix).map_err(failed)?;
    let mut bytes = Vec::with_capacity(compress_bound(content.len()));
    context.compress2(&mut bytes, content).map_err(failed)?;
    Ok(bytes)
}

/// A power of two, and how far the tables of the tree levels reach back by themselves.
const MOST_INDEXED: u32 = 23;
/// The first level that keeps what it has seen in a tree.
const TREE_LEVEL: i32 = 16;

fn window_log_of(bytes: usize) -> u32 {
    usize::BITS - bytes.saturating_sub(1).leading_zeros()
}

#[cfg(test)]
mod tests;
