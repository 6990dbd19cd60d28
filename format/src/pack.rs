//! A pack: header, index, frames. Written in `docs/format.md`, section "Pack".
//!
//! The index stands first and names everything that follows, so that one request can stream a pack, and one short
//! request tells which ranges of it hold what. Its digest is the pack's name; every content is checked by its own id.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::object_id::sha256;
use crate::patch::MAX_PATCH;
use crate::repack;
use crate::wire::{Reader, Writer};
use crate::{Error, ObjectId, Result};

const MAGIC: [u8; 8] = *b"RCLNPACK";
const VERSION: u32 = 1;
/// Bytes of a pack's header.
pub const HEADER: usize = 64;
const FRAME_RECORD: usize = 16;
const OBJECT_RECORD: usize = 40;
/// Bytes of the shortest header and index: one frame of one object.
pub const MIN_INDEX: u64 = (HEADER + FRAME_RECORD + OBJECT_RECORD) as u64;
/// The most objects, and the most bases, of one pack.
pub const MAX_OBJECTS: u32 = 1 << 26;
/// The largest zstd window of a frame: 2^27 bytes.
pub const MAX_WINDOW_LOG: u8 = 27;
/// The most bytes of all bases of one frame: a reader holds them in memory.
pub const MAX_BASES: u64 = 256 << 20;
const STRUCTURE: &str = "pack";

/// The name of a pack: the SHA-256 digest of its header and index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(ObjectId);

impl PackId {
    /// An id from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(ObjectId::from_bytes(bytes))
    }

    /// Where a store keeps the pack: `packs/<64 hexadecimal digits>`.
    pub fn store_path(&self) -> String {
        format!("packs/{self}")
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PackId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self)
    }
}

/// How a frame's bytes become its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// The objects as they are, one after the other. No bases.
    Stored,
    /// One zstd frame of the objects, one after the other; its prefix is the bases, one after the other.
    Zstd,
    /// A patch of the bases, one after the other, into the objects, one after the other (see [`crate::patch`]).
    Patch,
    /// A patch of the bases into a content, and the recipe that makes the objects of it (see [`crate::repack`]).
    Repacked,
}

/// An object inside a frame, or one that a frame needs as a base. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedObject {
    /// Its name.
    pub id: ObjectId,
    /// Bytes.
    pub size: u64,
}

/// A run of bytes of a pack and what it yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins, from the start of the pack.
    pub offset: u64,
    /// Bytes in the pack.
    pub length: u64,
    /// How to read it.
    pub codec: Codec,
    /// The zstd window, as a power of two; 0 for frames without one.
    pub window_log: u8,
    /// What it needs, in order.
    pub bases: Vec<PackedObject>,
    /// What it yields, in order; at least one.
    pub objects: Vec<PackedObject>,
}

impl Frame {
    /// Bytes of all its objects. The index was checked: this can not overflow.
    pub fn content(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }

    /// The memory that reading it takes, in bytes, beside buffers of a fixed size: windows; of a zstd frame the bases too;
    /// of a patch its control and difference, for its bases can be read where its steps lead ([`crate::patch::Base`]); and
    /// what making packed bytes again takes.
    pub fn memory(&self) -> u64 {
        let window = 1u64
            .checked_shl(u32::from(self.window_log))
            .unwrap_or(u64::MAX);
        let bases: u64 = self.bases.iter().map(|base| base.size).sum();
        let patch = window
            .saturating_mul(3)
            .saturating_add(self.length.min(MAX_PATCH));
        match self.codec {
            Codec::Stored => 0,
            Codec::Zstd => window.saturating_add(bases),
            Codec::Patch => patch,
            Codec::Repacked => patch.saturating_add(window).saturating_add(repack::MEMORY),
        }
    }
}

/// The counts in a pack's header: how long the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHeader {
    frames: u32,
    objects: u32,
    bases: u32,
}

impl PackHeader {
    /// Reads the first [`HEADER`] bytes of a pack.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut fields = Reader::new(bytes, STRUCTURE);
        if fields.array()? != MAGIC {
            return Err(fields.bad("its first bytes are not those of a pack"));
        }
        match fields.u32()? {
            VERSION => {}
            found => {
                return Err(Error::Version {
                    structure: STRUCTURE,
                    found,
                    known: VERSION,
                });
            }
        }
        let header = Self {
            frames: fields.u32()?,
            objects: fields.u32()?,
            bases: fields.u32()?,
        };
        if fields.array::<40>()? != [0; 40] {
            return Err(fields.bad("a reserved field is not zero"));
        }
        if header.objects > MAX_OBJECTS
            || header.bases > MAX_OBJECTS
            || header.frames > header.objects
            || header.frames == 0
        {
            let Self {
                frames,
                objects,
                bases,
            } = header;
            return Err(fields.bad(format!(
                "its counts are impossible: {frames} frames, {objects} objects, {bases} bases"
            )));
        }
        Ok(header)
    }

    /// Bytes of header and index together.
    pub fn index_end(&self) -> u64 {
        let records = u64::from(self.objects) + u64::from(self.bases);
        HEADER as u64
            + u64::from(self.frames) * FRAME_RECORD as u64
            + records * OBJECT_RECORD as u64
    }
}

/// What a pack holds, and where.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PackIndex {
    frames: Vec<Frame>,
}

impl PackIndex {
    /// Reads header and index, which must be those that `id` names. `bytes` may go on behind them.
    pub fn parse(bytes: &[u8], id: &PackId) -> Result<Self> {
        let header = PackHeader::parse(bytes)?;
        let end = usize::try_from(header.index_end())
            .ok()
            .filter(|end| *end <= bytes.len());
        let Some(bytes) = end.and_then(|end| bytes.get(..end)) else {
            return Err(Error::malformed(STRUCTURE, "it ends inside its index"));
        };
        let found = PackId::from_bytes(sha256(bytes));
        if found != *id {
            return Err(Error::malformed(
                STRUCTURE,
                format!("its name is {id}, but its index has the digest {found}"),
            ));
        }
        Self::read(&header, &bytes[HEADER..])
    }

    fn read(header: &PackHeader, bytes: &[u8]) -> Result<Self> {
        let (records, objects) = bytes.split_at(header.frames as usize * FRAME_RECORD);
        let mut objects = Reader::new(objects, STRUCTURE);
        let mut frames = Vec::with_capacity(header.frames as usize);
        let (mut offset, mut left) = (header.index_end(), *header);
        for record in records.chunks_exact(FRAME_RECORD) {
            let frame = read_frame(record, offset, &mut left, &mut objects)?;
            offset = offset.checked_add(frame.length).ok_or_else(|| {
                Error::malformed(STRUCTURE, "its frames are longer than 2^64 bytes")
            })?;
            frames.push(frame);
        }
        if left.objects != 0 || left.bases != 0 {
            return Err(Error::malformed(
                STRUCTURE,
                "its index lists objects that no frame holds",
            ));
        }
        check_cycles(&frames)?;
        Ok(Self { frames })
    }

    /// The frames, in the order of their bytes.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Gives the frames away.
    pub fn into_frames(self) -> Vec<Frame> {
        self.frames
    }

    /// Bytes of the whole pack.
    pub fn pack_size(&self) -> u64 {
        self.frames
            .last()
            .map_or(HEADER as u64, |frame| frame.offset + frame.length)
    }

    /// Header and index as bytes, and the pack's name. The frames' offsets are ignored: they follow each other.
    pub fn encode(&self) -> Result<(Vec<u8>, PackId)> {
        let mut fields = Writer::new(Vec::new());
        fields.bytes(&MAGIC)?;
        fields.u32(VERSION)?;
        let count = |number: usize| {
            u32::try_from(number).map_err(|_| Error::malformed(STRUCTURE, "it is too large"))
        };
        fields.u32(count(self.frames.len())?)?;
        fields.u32(count(
            self.frames.iter().map(|frame| frame.objects.len()).sum(),
        )?)?;
        fields.u32(count(
            self.frames.iter().map(|frame| frame.bases.len()).sum(),
        )?)?;
        fields.bytes(&[0; 40])?;
        for frame in &self.frames {
            fields.u64(frame.length)?;
            fields.u8(frame.codec as u8)?;
            fields.u8(frame.window_log)?;
            let bases = u16::try_from(frame.bases.len());
            fields.u16(
                bases.map_err(|_| Error::malformed(STRUCTURE, "a frame has too many bases"))?,
            )?;
            fields.u32(count(frame.objects.len())?)?;
        }
        for object in self
            .frames
            .iter()
            .flat_map(|frame| frame.bases.iter().chain(&frame.objects))
        {
            fields.bytes(object.id.as_bytes())?;
            fields.u64(object.size)?;
        }
        let bytes = fields.into_inner();
        let id = PackId::from_bytes(sha256(&bytes));
        Self::parse(&bytes, &id)?;
        Ok((bytes, id))
    }
}

impl FromIterator<Frame> for PackIndex {
    fn from_iter<I: IntoIterator<Item = Frame>>(frames: I) -> Self {
        Self {
            frames: frames.into_iter().collect(),
        }
    }
}

/// Reads one record of the index, and its bases and objects from theirs; `left` counts down what may still come.
fn read_frame(
    record: &[u8],
    offset: u64,
    left: &mut PackHeader,
    objects: &mut Reader<&[u8]>,
) -> Result<Frame> {
    let mut fields = Reader::new(record, STRUCTURE);
    let length = fields.u64()?;
    let codec = match fields.u8()? {
        0 => Codec::Stored,
        1 => Codec::Zstd,
        2 => Codec::Patch,
        3 => Codec::Repacked,
        other => return Err(fields.bad(format!("a frame has the unknown codec {other}"))),
    };
    let window_log = fields.u8()?;
    let bases = u32::from(fields.u16()?);
    let count = fields.u32()?;
    if count == 0 || count > left.objects || bases > left.bases {
        return Err(fields.bad("a frame has more objects or bases than the index, or none"));
    }
    left.objects -= count;
    left.bases -= bases;
    let bases = read_objects(objects, bases)?;
    let frame = Frame {
        offset,
        length,
        codec,
        window_log,
        bases,
        objects: read_objects(objects, count)?,
    };
    check_frame(&frame)?;
    Ok(frame)
}

fn read_objects(fields: &mut Reader<&[u8]>, count: u32) -> Result<Vec<PackedObject>> {
    let mut objects = Vec::with_capacity(count as usize);
    for _ in 0..count {
        objects.push(PackedObject {
            id: ObjectId::from_bytes(fields.array()?),
            size: fields.u64()?,
        });
    }
    Ok(objects)
}

fn check_frame(frame: &Frame) -> Result<()> {
    let total = |objects: &[PackedObject]| {
        objects
            .iter()
            .try_fold(0u64, |sum, object| match object.size {
                0 => None,
                size => sum.checked_add(size),
            })
    };
    let (Some(content), Some(base)) = (total(&frame.objects), total(&frame.bases)) else {
        return Err(Error::malformed(
            STRUCTURE,
            "an object is empty, or a frame's are larger than 2^64 bytes",
        ));
    };
    let window = 10..=MAX_WINDOW_LOG;
    let good = match frame.codec {
        Codec::Stored => frame.bases.is_empty() && frame.window_log == 0 && frame.length == content,
        Codec::Zstd => window.contains(&frame.window_log),
        Codec::Patch | Codec::Repacked => {
            !frame.bases.is_empty() && window.contains(&frame.window_log)
        }
    };
    match good && frame.length > 0 && base <= MAX_BASES {
        true => Ok(()),
        false => Err(Error::malformed(
            STRUCTURE,
            "a frame's figures do not fit its codec",
        )),
    }
}

/// A base must be had before its frame is read: from an earlier frame, or from outside the pack. Memory grows with the
/// number of bases only.
fn check_cycles(frames: &[Frame]) -> Result<()> {
    let mut first_need = HashMap::new();
    for (at, frame) in frames.iter().enumerate() {
        for base in &frame.bases {
            first_need.entry(base.id).or_insert(at);
        }
    }
    if first_need.is_empty() {
        return Ok(());
    }
    for (at, frame) in frames.iter().enumerate() {
        for object in &frame.objects {
            if first_need.get(&object.id).is_some_and(|need| *need <= at) {
                return Err(Error::malformed(
                    STRUCTURE,
                    format!(
                        "a frame needs object {} before the pack yields it",
                        object.id
                    ),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
