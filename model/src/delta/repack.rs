//! An object that is compressed itself, as an initramfs image: its content as a patch of the objects that it was built
//! from, and the recipe to compress it again. Whether that gives the same bytes is tried out before it is believed.

mod blocks;
mod cpio;

use std::collections::HashMap;
use std::io::{self, Read, Write};

use reclone_format::repack::Repacker;
use reclone_format::repack::recipe::Item;
use reclone_format::wire::Writer;
use reclone_format::{Codec, Frame, ObjectId, PackedObject, patch};
use zstd::stream::raw::CParameter;

use super::effort::Effort;
use super::encode::Encoded;
use blocks::{Blocks, ZstdFrame};

/// The first bytes of a zstd frame.
pub const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Larger contents are not unpacked: they are held in memory.
const MAX_CONTENT: u64 = 512 << 20;
/// Windows of the patch's streams: they are zeros and names.
const WINDOW_LOG: u8 = 20;

/// Whether an object that begins so may be one.
pub fn may_be(start: &[u8; 4]) -> bool {
    *start == ZSTD_MAGIC || start == b"0707"
}

/// The frame of `object`, whose bytes are `packed`, made from some of the objects in `known`, if it can be made again.
pub fn encode(
    object: PackedObject,
    packed: &[u8],
    known: &HashMap<ObjectId, u64>,
    effort: Effort,
) -> io::Result<Option<Encoded>> {
    let Some(frame) = ZstdFrame::at(packed, cpio::end(packed)) else {
        return Ok(None);
    };
    let Some(unpacked) = unpack(&packed[frame.start..])? else {
        return Ok(None);
    };
    // What is no sound frame for this module may well be one for zstd, and is packed in another way.
    let Ok(recipe) = recipe(packed, &frame) else {
        return Ok(None);
    };
    let content = [&packed[..frame.start], &unpacked].concat();
    drop(unpacked);
    let made = cpio::patch_of(&content, known);
    if made.bases.is_empty() || !is_right(&recipe, &content, packed) {
        return Ok(None);
    }
    let recipe = compress(&mut &recipe[..], effort)?;
    let mut out = Vec::new();
    for number in [recipe.len(), content.len()] {
        out.extend((number as u64).to_le_bytes());
    }
    out.extend(recipe);
    let control = patch::control(&made.steps).map_err(io::Error::other)?;
    let streams = patch::join(
        &compress(&mut &control[..], effort)?,
        &compress(&mut io::repeat(0).take(made.same), effort)?,
        &compress(&mut &made.extra[..], effort)?,
    );
    out.extend(streams.map_err(io::Error::other)?);
    let frame = Frame {
        offset: 0,
        length: out.len() as u64,
        codec: Codec::Repacked,
        window_log: WINDOW_LOG,
        bases: made.bases,
        objects: vec![object],
    };
    Ok(Some((frame, out)))
}

/// Whether a reader would get `packed`.
fn is_right(recipe: &[u8], content: &[u8], packed: &[u8]) -> bool {
    let again = || -> io::Result<Vec<u8>> {
        let mut again = Vec::with_capacity(packed.len());
        let mut repacker = Repacker::new(recipe, &mut again).map_err(io::Error::other)?;
        repacker.write_all(content)?;
        repacker.finish().map_err(io::Error::other)?;
        Ok(again)
    };
    again().is_ok_and(|again| again == packed)
}

fn unpack(packed: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(packed)?.single_frame();
    let read = decoder.take(MAX_CONTENT + 1).read_to_end(&mut content);
    Ok((read.is_ok() && content.len() as u64 <= MAX_CONTENT).then_some(content))
}

fn compress(stream: &mut impl Read, effort: Effort) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), effort.level())?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG.into()))?;
    io::copy(stream, &mut encoder)?;
    encoder.finish()
}

/// The recipe for the whole object.
fn recipe(object: &[u8], frame: &ZstdFrame) -> reclone_format::Result<Vec<u8>> {
    let mut fields = Writer::new(Vec::new());
    if frame.start > 0 {
        Item::Plain(frame.start as u64).write(&mut fields)?;
    }
    Item::Bytes(object[frame.start..frame.blocks].to_vec()).write(&mut fields)?;
    let mut blocks = Blocks::of(object, frame);
    while let Some(block) = blocks.next()? {
        Item::Block(block).write(&mut fields)?;
    }
    let rest = object.get(blocks.end()..).unwrap_or_default();
    for rest in rest.chunks(usize::from(u16::MAX)) {
        Item::Bytes(rest.to_vec()).write(&mut fields)?;
    }
    Item::End.write(&mut fields)?;
    Ok(fields.into_inner())
}

#[cfg(test)]
mod tests;
