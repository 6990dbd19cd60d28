//! The bytes of one frame: every codec that suits it is tried, and the smallest result taken.

use std::io;

use reclone_format::patch;
use reclone_format::{Codec, Frame};
use zstd::zstd_safe::{CCtx, CParameter, compress_bound, get_error_name};

use super::bsdiff::difference;
use super::effort::Effort;
use super::groups::Group;

/// The most memory that a frame may take a clone, as [`Frame::memory`] reckons.
pub const MEMORY: u64 = 64 << 20;
const MIN_WINDOW_LOG: u8 = 10;
/// The largest window of a frame without bases.
const MAX_WINDOW_LOG: u8 = 24;
/// The largest window of each of a patch's streams.
const PATCH_WINDOW_LOG: u8 = 22;
/// What is compressed to less than this part of its content owes it to its bases.
const LITTLE: u64 = 5;

/// A frame and its bytes.
pub type Encoded = (Frame, Vec<u8>);

/// The smallest frame of `group`, whose contents are `content` and whose bases are `base`, one after the other.
pub fn encode(group: &Group, content: &[u8], base: &[u8], effort: Effort) -> io::Result<Encoded> {
    let mut best: Option<Encoded> = None;
    let mut keep = |tried: Option<Encoded>| {
        let tried = tried.filter(|(frame, _)| frame.memory() <= MEMORY);
        if let Some(tried) = tried
            && best
                .as_ref()
                .is_none_or(|best| tried.1.len() < best.1.len())
        {
            best = Some(tried);
        }
        best.as_ref().map_or(u64::MAX, |best| best.0.length)
    };
    let mut smallest = u64::MAX;
    if !base.is_empty() {
        if effort.patches(group) {
            smallest = keep(Some(patched(group, content, base, effort)?));
        }
        if group.base() + content.len().next_power_of_two() as u64 <= MEMORY {
            smallest = keep(Some(prefixed(group, content, base, effort)?));
        }
    }
    if smallest > content.len() as u64 / LITTLE {
        let whole = Group {
            bases: Vec::new(),
            ..group.clone()
        };
        keep(Some(prefixed(&whole, content, &[], effort)?));
    }
    let stored = || {
        let whole = Group {
            bases: Vec::new(),
            ..group.clone()
        };
        let frame = frame(&whole, Codec::Stored, 0, content.len());
        (frame, content.to_vec())
    };
    Ok(best
        .filter(|best| best.1.len() < content.len())
        .unwrap_or_else(stored))
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
    let most = if base.is_empty() { MAX_WINDOW_LOG } else { 27 };
    let window_log = window_log(content.len(), most);
    let bytes = compress(content, base, window_log, effort)?;
    Ok((frame(group, Codec::Zstd, window_log, bytes.len()), bytes))
}

/// As a patch of the bases.
fn patched(group: &Group, content: &[u8], base: &[u8], effort: Effort) -> io::Result<Encoded> {
    let difference = difference(base, content);
    let control = patch::control(&difference.steps).map_err(io::Error::other)?;
    let streams = [&control, &difference.diff, &difference.extra];
    let longest = streams.map(Vec::len).into_iter().max().unwrap_or_default();
    let window_log = window_log(longest, PATCH_WINDOW_LOG);
    let compress = |stream| compress(stream, &[], window_log, effort);
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
fn compress(content: &[u8], prefix: &[u8], window_log: u8, effort: Effort) -> io::Result<Vec<u8>> {
    let failed = |code| io::Error::other(get_error_name(code));
    let mut context = CCtx::create();
    let mut set = |parameter| context.set_parameter(parameter).map_err(failed);
    set(CParameter::CompressionLevel(effort.level()))?;
    set(CParameter::WindowLog(u32::from(window_log)))?;
    let span = window_log_of(content.len() + prefix.len());
    if span > MOST_INDEXED && effort.level() >= TREE_LEVEL {
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
