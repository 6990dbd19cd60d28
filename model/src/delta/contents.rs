//! The contents that a delta is made of: unpacked once from the store's packs to scratch space, then read in any order.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use reclone_format::frame::{Sink, decode};
use reclone_format::{Error as FormatError, Frame, ObjectId, PackId, PackRef, PackedObject};

use super::each::each;
use crate::error::{Context, Error, InFile, Result};
use crate::pack_reader::{FrameBytes, read_index};
use crate::store::Store;

/// Contents in scratch space on the store's disk, which goes with the value.
#[derive(Debug)]
pub struct Contents {
    scratch: File,
    /// Where each begins, and its length.
    places: HashMap<ObjectId, (u64, u64)>,
}

impl Contents {
    /// Unpacks the `wanted` objects of `packs`, each checked against its id, on all cores. Takes as much disk space as
    /// they are large, and memory for a few frames' windows.
    pub fn gather<'a>(
        store: &Store,
        packs: impl Iterator<Item = &'a PackRef>,
        wanted: &HashSet<ObjectId>,
    ) -> Result<Self> {
        let mut contents = Self {
            scratch: store.scratch("contents")?,
            places: HashMap::with_capacity(wanted.len()),
        };
        let frames = contents.assign(store, packs, wanted)?;
        if let Some(missing) = wanted.iter().find(|id| !contents.places.contains_key(id)) {
            return Err(missing_object(store, missing));
        }
        let contents = contents;
        each(frames.len(), |at| {
            let (pack, frame) = &frames[at];
            contents.unpack(store, pack, frame)
        })?;
        Ok(contents)
    }

    /// Gives every wanted object its place, and says which frames have them. The same pack is looked into once.
    fn assign<'a>(
        &mut self,
        store: &Store,
        packs: impl Iterator<Item = &'a PackRef>,
        wanted: &HashSet<ObjectId>,
    ) -> Result<Vec<(PackId, Frame)>> {
        let (mut seen, mut frames, mut end) = (HashSet::new(), Vec::new(), 0);
        for pack in packs.filter(|pack| seen.insert(pack.id)) {
            for frame in read_index(store, pack)?.into_frames() {
                let mut needed = false;
                for PackedObject { id, size } in &frame.objects {
                    if frame.bases.is_empty()
                        && wanted.contains(id)
                        && !self.places.contains_key(id)
                    {
                        self.places.insert(*id, (end, *size));
                        end += size;
                        needed = true;
                    }
                }
                if needed {
                    frames.push((pack.id, frame));
                }
            }
        }
        Ok(frames)
    }

    fn unpack(&self, store: &Store, pack: &PackId, frame: &Frame) -> Result<()> {
        let path = store.pack_path(pack);
        let file = File::open(&path).context("open", &path)?;
        let mut place = Place {
            contents: self,
            at: 0,
            failed: None,
        };
        let decoded = decode(frame, FrameBytes::new(&file, frame), &[], &mut place);
        match place.failed {
            Some(error) => Err(error).context("write", store.root()),
            None => decoded.in_file(&path),
        }
    }

    /// The whole of some objects, one after the other.
    pub fn read_all(&self, store: &Store, objects: &[PackedObject]) -> Result<Vec<u8>> {
        let size: u64 = objects.iter().map(|object| object.size).sum();
        let mut contents = vec![0; size as usize];
        let mut rest = &mut contents[..];
        for object in objects {
            let (content, after) = rest.split_at_mut(object.size as usize);
            self.read_start(store, object, content)?;
            rest = after;
        }
        Ok(contents)
    }

    /// As many of an object's first bytes as `buffer` holds.
    pub fn read_start(
        &self,
        store: &Store,
        object: &PackedObject,
        buffer: &mut [u8],
    ) -> Result<()> {
        match self.places.get(&object.id) {
            Some((at, size)) if *size >= buffer.len() as u64 => self
                .scratch
                .read_exact_at(buffer, *at)
                .context("read", store.root()),
            _ => Err(missing_object(store, &object.id)),
        }
    }
}

fn missing_object(store: &Store, id: &ObjectId) -> Error {
    Error::Damaged {
        path: store.root().join("packs"),
        source: FormatError::Malformed {
            structure: "store",
            reason: format!("no pack holds the object {id}"),
        },
    }
}

/// Puts the objects of a frame where they belong.
struct Place<'a> {
    contents: &'a Contents,
    at: u64,
    failed: Option<io::Error>,
}

impl Sink for Place<'_> {
    fn start(&mut self, object: &PackedObject) -> io::Result<bool> {
        let place = self.contents.places.get(&object.id);
        self.at = place.map_or(0, |(at, _)| *at);
        Ok(place.is_some())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.contents.scratch.write_all_at(bytes, self.at);
        self.at += bytes.len() as u64;
        written.map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }

    fn complete(&mut self, _: &PackedObject) -> io::Result<()> {
        Ok(())
    }
}
