//! A pack of the store whose index was read, and what is left of the answer that it came in.

use std::io::{self, Read};

use reclone_format::pack::{HEADER, PackHeader};
use reclone_format::{Error as FormatError, Frame, PackIndex, PackRef};

use crate::error::{Error, Result};
use crate::store::Store;

/// A pack whose index was read and checked.
pub struct OpenPack {
    /// The pack.
    pub pack: PackRef,
    /// Its frames, in the order of their bytes.
    pub frames: Vec<Frame>,
    /// Bytes that were asked for and not read yet.
    pub rest: Option<Rest>,
}

/// An answer that goes on.
pub struct Rest {
    /// The bytes.
    pub reader: Box<dyn Read + Send>,
    /// Where in the pack the next one stands.
    pub at: u64,
    /// Where in the pack the answer ends.
    pub end: u64,
}

impl OpenPack {
    /// Asks for the first `length` bytes of a pack, at least its prelude, and reads its index from them.
    pub fn open(store: &dyn Store, pack: &PackRef, length: u64) -> Result<Self> {
        let place = pack.id.store_path();
        let mut reader = store.read(&place, 0, length)?;
        let index = read_index(&mut reader, pack).map_err(Error::published(&place))?;
        let at = index.frames().first().map_or(length, |frame| frame.offset);
        let rest = (at < length).then_some(Rest {
            reader,
            at,
            end: length,
        });
        Ok(Self {
            pack: pack.clone(),
            frames: index.into_frames(),
            rest,
        })
    }
}

impl Rest {
    /// Goes on at `offset`, which must not be passed yet: reads and drops what comes before.
    pub fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        let gap = offset - self.at;
        let skipped = io::copy(&mut self.reader.by_ref().take(gap), &mut io::sink())?;
        self.at += skipped;
        match skipped == gap {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn read_index(reader: &mut impl Read, pack: &PackRef) -> Result<PackIndex, FormatError> {
    let bad = |reason: &str| FormatError::Malformed {
        structure: "pack",
        reason: reason.to_owned(),
    };
    let mut bytes = Vec::new();
    reader
        .by_ref()
        .take(HEADER as u64)
        .read_to_end(&mut bytes)?;
    let end = PackHeader::parse(&bytes)?.index_end();
    if end > pack.prelude {
        return Err(bad("its index is longer than the head says"));
    }
    // The memory grows with what really comes.
    reader
        .by_ref()
        .take(end - HEADER as u64)
        .read_to_end(&mut bytes)?;
    let index = PackIndex::parse(&bytes, &pack.id)?;
    match index.pack_size() == pack.size {
        true => Ok(index),
        false => Err(bad("its size is not the one that the head says")),
    }
}
