//! Reads packs of the store: an index, and single objects, each checked against its id.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use reclone_format::frame::{Sink, decode};
use reclone_format::pack::HEADER;
use reclone_format::{
    Error as FormatError, Frame, Head, ObjectId, PackHeader, PackId, PackIndex, PackRef,
    PackedObject,
};

use crate::error::{Context, InFile, Result};
use crate::store::Store;

/// The index of `pack`, checked against its name.
pub fn read_index(store: &Store, pack: &PackRef) -> Result<PackIndex> {
    let path = store.pack_path(&pack.id);
    let file = File::open(&path).context("open", &path)?;
    let length = file.metadata().context("read", &path)?.len();
    let mut bytes = vec![0; HEADER];
    file.read_exact_at(&mut bytes, 0).context("read", &path)?;
    let end = PackHeader::parse(&bytes).in_file(&path)?.index_end();
    if end > length {
        return Err(FormatError::Malformed {
            structure: "pack",
            reason: "it ends inside its index".into(),
        })
        .in_file(&path);
    }
    bytes.resize(end as usize, 0);
    file.read_exact_at(&mut bytes[HEADER..], HEADER as u64)
        .context("read", &path)?;
    PackIndex::parse(&bytes, &pack.id).in_file(&path)
}

/// The manifest of the generation of `head`.
pub fn read_manifest(store: &Store, head: &Head) -> Result<Vec<u8>> {
    let pack = &head.packs[0];
    let index = read_index(store, pack)?;
    let path = store.pack_path(&pack.id);
    let id = head.manifest.id;
    let frame = index
        .frames()
        .iter()
        .find(|frame| frame.objects.iter().any(|object| object.id == id));
    let Some(frame) = frame else {
        return Err(FormatError::Malformed {
            structure: "pack",
            reason: format!("it does not hold the manifest {id}"),
        })
        .in_file(&path);
    };
    read_object(store, &pack.id, frame, &[], id)
}

/// One object of a frame; `bases` is the content of the frame's bases, one after the other.
pub fn read_object(
    store: &Store,
    pack: &PackId,
    frame: &Frame,
    bases: &[u8],
    id: ObjectId,
) -> Result<Vec<u8>> {
    let mut contents = read_objects(store, pack, frame, bases, &[id])?;
    Ok(contents.remove(&id).unwrap_or_default())
}

/// Some objects of a frame; `bases` as in [`read_object`].
pub fn read_objects(
    store: &Store,
    pack: &PackId,
    frame: &Frame,
    bases: &[u8],
    wanted: &[ObjectId],
) -> Result<HashMap<ObjectId, Vec<u8>>> {
    let path = store.pack_path(pack);
    let file = File::open(&path).context("open", &path)?;
    let mut some = Wanted {
        wanted,
        open: Vec::new(),
        done: HashMap::new(),
    };
    decode(frame, FrameBytes::new(&file, frame), bases, &mut some).in_file(&path)?;
    Ok(some.done)
}

/// The bytes of a frame in its pack.
pub struct FrameBytes<'a> {
    pack: &'a File,
    at: u64,
    left: u64,
}

impl<'a> FrameBytes<'a> {
    /// Of `frame` in `pack`.
    pub fn new(pack: &'a File, frame: &Frame) -> Self {
        Self {
            pack,
            at: frame.offset,
            left: frame.length,
        }
    }
}

impl Read for FrameBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.pack.read_at(&mut buffer[..wanted], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Keeps the wanted objects of a frame.
struct Wanted<'a> {
    wanted: &'a [ObjectId],
    open: Vec<u8>,
    done: HashMap<ObjectId, Vec<u8>>,
}

impl Sink for Wanted<'_> {
    fn start(&mut self, object: &PackedObject) -> io::Result<bool> {
        self.open = Vec::new();
        Ok(self.wanted.contains(&object.id))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.open.extend_from_slice(bytes);
        Ok(())
    }

    fn complete(&mut self, object: &PackedObject) -> io::Result<()> {
        self.done.insert(object.id, std::mem::take(&mut self.open));
        Ok(())
    }
}
