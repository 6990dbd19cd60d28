//! Writes a delta pack: frames come in any order from all cores and wait in scratch space, then stand in theirs.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use reclone_format::{Codec, Frame, ObjectId, PackIndex, PackRef};

use crate::error::{Context, Error, Result};
use crate::store::Store;

/// The frames of a pack in the making. Memory: their index alone.
#[derive(Debug)]
pub struct DeltaPack {
    scratch: File,
    frames: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    end: u64,
    /// Each frame, and where its bytes wait.
    frames: Vec<Option<(Frame, u64)>>,
}

impl DeltaPack {
    /// Of `count` frames.
    pub fn create(store: &Store, count: usize) -> Result<Self> {
        Ok(Self {
            scratch: store.scratch("delta-frames")?,
            frames: Mutex::new(Waiting {
                end: 0,
                frames: vec![None; count],
            }),
        })
    }

    /// Takes the frame with the number `at` and its bytes, which are as many as it says.
    pub fn add(
        &self,
        store: &Store,
        at: usize,
        frame: Frame,
        payload: &mut impl Read,
    ) -> Result<()> {
        let mut waiting = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = &self.scratch;
        let start = waiting.end;
        scratch
            .seek(SeekFrom::Start(start))
            .and_then(|_| io::copy(payload, &mut scratch))
            .context("write", store.root())?;
        waiting.end += frame.length;
        waiting.frames[at] = Some((frame, start));
        Ok(())
    }

    /// Writes the pack under its name. It is durable when this returns. All frames must have come.
    pub fn finish(self, store: &Store) -> Result<PackRef> {
        let waiting = self
            .frames
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let mut frames: Vec<(Frame, u64)> = waiting.frames.into_iter().flatten().collect();
        order(&mut frames);
        let index: PackIndex = frames.iter().map(|(frame, _)| frame.clone()).collect();
        let (head, id) = index.encode().map_err(Error::Unpublishable)?;
        let mut temp = store.temp("delta")?;
        temp.write(&head)?;
        let mut size = head.len() as u64;
        for (frame, start) in &frames {
            copy_range(&self.scratch, *start, frame.length, &mut temp.file())
                .context("write", temp.path())?;
            size += frame.length;
        }
        temp.persist(&store.pack_path(&id))?;
        let manifest = frames.first().map_or(0, |(frame, _)| frame.length);
        let prelude = head.len() as u64 + manifest;
        Ok(PackRef { id, size, prelude })
    }
}

/// What is packed again has the largest content, so it comes as early as can be: after the manifest and its bases.
fn order(frames: &mut [(Frame, u64)]) {
    let packed = frames
        .iter()
        .filter(|(frame, _)| frame.codec == Codec::Repacked);
    let bases = packed.flat_map(|(frame, _)| &frame.bases);
    let bases: HashSet<ObjectId> = bases.map(|base| base.id).collect();
    if let [_, others @ ..] = frames {
        others.sort_by_key(|(frame, _)| {
            let is_base = frame
                .objects
                .iter()
                .any(|object| bases.contains(&object.id));
            (!is_base, frame.codec != Codec::Repacked)
        });
    }
}

fn copy_range(from: &File, start: u64, length: u64, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let (mut at, end) = (start, start + length);
    while at < end {
        let count = buffer.len().min((end - at) as usize);
        from.read_exact_at(&mut buffer[..count], at)?;
        to.write_all(&buffer[..count])?;
        at += count as u64;
    }
    Ok(())
}
