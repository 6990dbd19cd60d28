//! Structures byte by byte, whatever the rules say: what a hostile publisher could send. Layouts: `docs/format.md`.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::io::Write as _;

use reclone_format::object_id::sha256;
use reclone_format::wire::Writer;
use reclone_format::{ObjectId, PackId, object_id_of};

/// Mode 0, root's, 1970, no xattrs.
pub const PLAIN: [u8; 24] = [0; 24];

pub const DIRECTORY: u8 = 1;
pub const REGULAR: u8 = 2;
pub const SYMLINK: u8 = 3;
pub const CHAR_DEVICE: u8 = 4;
pub const HARD_LINK: u8 = 8;

/// A manifest with these figures and entries.
pub fn manifest(entries: u32, content: u64, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut fields = Writer::new(Vec::new());
    fields.bytes(b"RCLNMANI").unwrap();
    fields.u32(1).unwrap();
    fields.u32(entries).unwrap();
    fields.u64(content).unwrap();
    fields.u64(0).unwrap();
    parts.iter().for_each(|part| fields.bytes(part).unwrap());
    fields.into_inner()
}

/// A manifest of these entries under their right number and the content 0.
pub fn tree(parts: &[Vec<u8>]) -> Vec<u8> {
    manifest(parts.len() as u32, 0, parts)
}

/// An entry: type, shared bytes of its path, the rest of the path, everything after it.
pub fn entry(tag: u8, shared: u16, rest: &[u8], after: &[&[u8]]) -> Vec<u8> {
    let mut fields = Writer::new(Vec::new());
    fields.u8(tag).unwrap();
    fields.u16(shared).unwrap();
    fields.u16(rest.len() as u16).unwrap();
    fields.bytes(rest).unwrap();
    after.iter().for_each(|part| fields.bytes(part).unwrap());
    fields.into_inner()
}

pub fn top() -> Vec<u8> {
    directory(0, b"")
}

pub fn directory(shared: u16, rest: &[u8]) -> Vec<u8> {
    entry(DIRECTORY, shared, rest, &[&PLAIN])
}

/// An empty file.
pub fn empty(shared: u16, rest: &[u8]) -> Vec<u8> {
    file(shared, rest, 0, &ObjectId::EMPTY)
}

pub fn file(shared: u16, rest: &[u8], size: u64, id: &ObjectId) -> Vec<u8> {
    let size = size.to_le_bytes();
    entry(REGULAR, shared, rest, &[&PLAIN, &size, id.as_bytes()])
}

pub fn hard_link(shared: u16, rest: &[u8], to: u32) -> Vec<u8> {
    entry(HARD_LINK, shared, rest, &[&to.to_le_bytes()])
}

/// A frame as a pack's index shows it.
#[derive(Clone)]
pub struct RawFrame {
    pub codec: u8,
    pub window_log: u8,
    pub bases: Vec<(ObjectId, u64)>,
    pub objects: Vec<(ObjectId, u64)>,
    pub payload: Vec<u8>,
}

/// Name and size of a content.
pub fn named(content: &[u8]) -> (ObjectId, u64) {
    (object_id_of(content), content.len() as u64)
}

/// A frame of these contents, all figures right.
pub fn frame(codec: u8, bases: &[&[u8]], objects: &[&[u8]], payload: &[u8]) -> RawFrame {
    RawFrame {
        codec,
        window_log: if codec == 0 { 0 } else { 17 },
        bases: bases.iter().map(|content| named(content)).collect(),
        objects: objects.iter().map(|content| named(content)).collect(),
        payload: payload.to_vec(),
    }
}

/// A whole pack and its name.
pub fn pack(frames: &[RawFrame]) -> (Vec<u8>, PackId) {
    let mut fields = Writer::new(Vec::new());
    fields.bytes(b"RCLNPACK").unwrap();
    fields.u32(1).unwrap();
    fields.u32(frames.len() as u32).unwrap();
    let sum = |count: fn(&RawFrame) -> usize| frames.iter().map(count).sum::<usize>() as u32;
    fields.u32(sum(|frame| frame.objects.len())).unwrap();
    fields.u32(sum(|frame| frame.bases.len())).unwrap();
    fields.bytes(&[0; 40]).unwrap();
    for frame in frames {
        fields.u64(frame.payload.len() as u64).unwrap();
        fields.u8(frame.codec).unwrap();
        fields.u8(frame.window_log).unwrap();
        fields.u16(frame.bases.len() as u16).unwrap();
        fields.u32(frame.objects.len() as u32).unwrap();
    }
    for (id, size) in frames
        .iter()
        .flat_map(|frame| frame.bases.iter().chain(&frame.objects))
    {
        fields.bytes(id.as_bytes()).unwrap();
        fields.u64(*size).unwrap();
    }
    let mut bytes = fields.into_inner();
    let id = PackId::from_bytes(sha256(&bytes));
    frames
        .iter()
        .for_each(|frame| bytes.extend_from_slice(&frame.payload));
    (bytes, id)
}

/// One zstd frame with a window of 2^17 bytes.
pub fn compress(content: &[u8], prefix: &[u8]) -> Vec<u8> {
    let mut encoder =
        zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), 19, prefix).unwrap();
    encoder.window_log(17).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress, always the same ones.
pub fn noise(length: usize, mut seed: u32) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}
