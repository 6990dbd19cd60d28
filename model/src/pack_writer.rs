//! Makes a pack: worker threads read and compress frames, one thread writes them in their planned order, so that the same
//! tree gives the same bytes. Memory is bounded by a few frames, not by the size of any file.
//!
//! Header and index stand first, and the manifest's frame behind them; their length is computed before the first frame is
//! written. Only where a file changed under the second read does it come out different, and the frames are moved.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};

use reclone_format::pack::HEADER;
use reclone_format::{Frame, ObjectId, PackIndex, PackRef, PackedObject};

use crate::content::ContentReader;
use crate::error::{Context, Error, Result};
use crate::frame_plan::Plan;
use crate::frame_writer::{Built, Job, Payload, build, compress};
use crate::identify::Outcome;
use crate::progress::Progress;
use crate::store::Store;
use crate::temp_file::TempFile;

/// Frames that may wait for an earlier one to be written.
const AHEAD: usize = 8;
const FRAME_RECORD: u64 = 16;
const OBJECT_RECORD: u64 = 40;

/// A pack in the making, under a temporary name.
#[derive(Debug)]
pub struct PackWriter {
    temp: TempFile,
    start: u64,
    at: u64,
    frames: Vec<Frame>,
}

/// The manifest as a frame.
#[derive(Debug)]
pub struct ManifestFrame {
    frame: Frame,
    bytes: Vec<u8>,
}

/// A pack that is complete but has no name yet.
#[derive(Debug)]
pub struct FinishedPack {
    temp: TempFile,
    pack: PackRef,
    /// How many objects it holds beside the manifest.
    pub objects: usize,
}

impl ManifestFrame {
    /// Compresses `manifest`, whose name is `object`.
    pub fn new(manifest: &[u8], object: PackedObject, level: i32) -> io::Result<Self> {
        let (frame, bytes) = compress(manifest, vec![object], level)?;
        Ok(Self { frame, bytes })
    }
}

impl PackWriter {
    /// Begins a pack that will hold `manifest` and the frames of `plan`.
    pub fn create(store: &Store, plan: &Plan, manifest: &ManifestFrame) -> Result<Self> {
        let objects = plan.iter().map(Vec::len).sum::<usize>() as u64 + 1;
        let index = (plan.len() as u64 + 1) * FRAME_RECORD + objects * OBJECT_RECORD;
        let start = HEADER as u64 + index + manifest.bytes.len() as u64;
        let temp = store.temp("pack")?;
        let mut file = temp.file();
        file.seek(SeekFrom::Start(start))
            .context("write", temp.path())?;
        Ok(Self {
            temp,
            start,
            at: start,
            frames: Vec::with_capacity(plan.len()),
        })
    }

    fn append(&mut self, built: Built) -> Result<()> {
        let Some(frame) = built.frame else {
            return Ok(());
        };
        let mut file = self.temp.file();
        match built.payload {
            Payload::Memory(bytes) => file.write_all(&bytes),
            Payload::Scratch(mut scratch) => scratch
                .seek(SeekFrom::Start(0))
                .and_then(|_| io::copy(&mut scratch, &mut file).map(drop)),
        }
        .context("write", self.temp.path())?;
        self.at += frame.length;
        self.frames.push(frame);
        Ok(())
    }

    /// What was packed so far.
    pub fn objects(&self) -> HashSet<ObjectId> {
        let objects = self.frames.iter().flat_map(|frame| &frame.objects);
        objects.map(|object| object.id).collect()
    }

    /// Puts header, index and manifest before the frames. Nothing is synced yet.
    pub fn finish(self, store: &Store, manifest: ManifestFrame) -> Result<FinishedPack> {
        let objects = self.frames.iter().map(|frame| frame.objects.len()).sum();
        let index: PackIndex = std::iter::once(manifest.frame).chain(self.frames).collect();
        let (mut prelude, id) = index.encode().map_err(Error::Unpublishable)?;
        prelude.extend_from_slice(&manifest.bytes);
        let length = prelude.len() as u64;
        let pack = PackRef {
            id,
            size: length + (self.at - self.start),
            prelude: length,
        };
        let path = self.temp.path().to_owned();
        let temp = if length == self.start {
            self.temp
                .file()
                .write_all_at(&prelude, 0)
                .context("write", &path)?;
            self.temp
        } else {
            let mut moved = store.temp("pack-moved")?;
            moved.write(&prelude)?;
            let mut frames = self.temp.file();
            frames
                .seek(SeekFrom::Start(self.start))
                .and_then(|_| io::copy(&mut frames, &mut moved.file()))
                .context("write", moved.path())?;
            moved
        };
        Ok(FinishedPack {
            temp,
            pack,
            objects,
        })
    }
}

impl FinishedPack {
    /// Gives the pack its name. It is durable when this returns.
    pub fn persist(self, store: &Store) -> Result<PackRef> {
        self.temp.persist(&store.pack_path(&self.pack.id))?;
        Ok(self.pack)
    }
}

/// Reads the planned files on all cores, compresses them and appends their frames to `writer`. What was not as planned any
/// more comes back.
pub fn write_frames(
    writer: &mut PackWriter,
    job: &Job,
    plan: &Plan,
    progress: &Progress,
) -> Result<Vec<(usize, Outcome)>> {
    let turn = Turn::default();
    let (sender, receiver) = channel();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (mut waiting, mut written, mut changes) = (BTreeMap::new(), 0, Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let sender = sender.clone();
            scope.spawn(|| work(job, plan, &turn, sender, progress));
        }
        drop(sender);
        for (at, built) in receiver {
            waiting.insert(at, built);
            while let Some(built) = waiting.remove(&written) {
                let appended = built.and_then(|mut built: Built| {
                    changes.append(&mut built.changes);
                    writer.append(built)
                });
                if appended.is_err() {
                    turn.written(usize::MAX);
                    return appended;
                }
                written += 1;
                turn.written(written);
            }
        }
        Ok(())
    })?;
    Ok(changes)
}

/// Keeps workers from running too far ahead of the writer.
#[derive(Default)]
struct Turn {
    /// The next frame to be made, and how many are written; all, once writing failed.
    state: Mutex<(usize, usize)>,
    moved: Condvar,
}

impl Turn {
    fn next(&self, count: usize) -> Option<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let at = state.0;
        state.0 += 1;
        while at < count && state.1 != usize::MAX && at >= state.1 + AHEAD {
            state = self
                .moved
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        (at < count && state.1 != usize::MAX).then_some(at)
    }

    fn written(&self, count: usize) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = count;
        self.moved.notify_all();
    }
}

fn work(
    job: &Job,
    plan: &Plan,
    turn: &Turn,
    sender: Sender<(usize, Result<Built>)>,
    progress: &Progress,
) {
    let mut reader = ContentReader::new(job.tree);
    while let Some(at) = turn.next(plan.len()) {
        let objects = &plan[at];
        let built = build(job, objects, &mut reader, at);
        progress.add(objects.iter().map(|planned| planned.object.size).sum());
        if sender.send((at, built)).is_err() {
            return;
        }
    }
}
