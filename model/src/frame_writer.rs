//! Makes one frame of a pack: reads its files and compresses them. Nothing is written to the pack here.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use reclone_format::{Codec, Frame, PackedObject};

use crate::content::{Content, ContentReader, Take};
use crate::error::{Context, Result};
use crate::frame_plan::{FRAME, Planned};
use crate::identify::Outcome;
use crate::live_tree::{LiveTree, Meta};
use crate::node::Node;
use crate::store::Store;

/// The largest zstd window, as a power of two: a clone needs that much memory to decode a frame.
const MAX_WINDOW_LOG: u8 = 24;
const MIN_WINDOW_LOG: u8 = 10;
/// What a frame of small files may come to in memory if some of them grow between being planned and being packed.
const MAX_IN_MEMORY: usize = 64 << 20;

/// What all workers share.
pub struct Job<'a> {
    /// Where contents come from.
    pub tree: &'a LiveTree,
    /// Where large frames are kept until it is their turn.
    pub store: &'a Store,
    /// The tree's nodes.
    pub nodes: &'a [Node],
    /// The zstd level.
    pub level: i32,
}

/// A frame, ready to be written; none if all of its files went away.
pub struct Built {
    /// What the index will say; its offset is not known yet.
    pub frame: Option<Frame>,
    /// Its bytes.
    pub payload: Payload,
    /// What was not as planned any more.
    pub changes: Vec<(usize, Outcome)>,
}

/// The bytes of a frame.
pub enum Payload {
    /// In memory.
    Memory(Vec<u8>),
    /// On the store's disk, the file's whole content.
    Scratch(File),
}

/// Reads and compresses the planned files. `at` is a number that no other frame has meanwhile.
pub fn build(
    job: &Job,
    objects: &[Planned],
    reader: &mut ContentReader,
    at: usize,
) -> Result<Built> {
    match objects {
        [only] if only.object.size > FRAME => build_large(job, *only, reader, at),
        _ => build_small(job, objects, reader),
    }
}

/// A frame of small objects, made in memory.
fn build_small(job: &Job, objects: &[Planned], reader: &mut ContentReader) -> Result<Built> {
    let mut built = Built {
        frame: None,
        payload: Payload::Memory(Vec::new()),
        changes: Vec::new(),
    };
    let (mut content, mut packed) = (Vec::new(), Vec::new());
    for planned in objects {
        let mut take = Append {
            start: content.len(),
            content: &mut content,
        };
        let found = reader.read(&job.nodes[planned.node].entry.path, &mut take);
        packed.extend(built.note(planned, found));
    }
    if !packed.is_empty() {
        let (frame, bytes) =
            compress(&content, packed, job.level).context("compress for", job.store.root())?;
        built.frame = Some(frame);
        built.payload = Payload::Memory(bytes);
    }
    Ok(built)
}

impl Built {
    /// Keeps in mind what was not as planned. Gives the object that was read, if any.
    fn note(
        &mut self,
        planned: &Planned,
        found: io::Result<Option<Content>>,
    ) -> Option<PackedObject> {
        let (object, outcome) = match found {
            Ok(Some(content)) => {
                let (id, size) = (content.id, content.size);
                let object = PackedObject { id, size };
                if object == planned.object && content.settled {
                    return Some(object);
                }
                ((size > 0).then_some(object), Outcome::Content(content))
            }
            Ok(None) => (None, Outcome::Gone),
            Err(error) => (None, Outcome::Failed(error)),
        };
        self.changes.push((planned.node, outcome));
        object
    }
}

/// Collects several files one after the other.
struct Append<'a> {
    start: usize,
    content: &'a mut Vec<u8>,
}

impl Take for Append<'_> {
    fn begin(&mut self, _: &Meta) -> io::Result<()> {
        self.content.truncate(self.start);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.content.len() + bytes.len() > MAX_IN_MEMORY {
            return Err(io::Error::other("it grew too fast while it was read"));
        }
        self.content.extend_from_slice(bytes);
        Ok(())
    }
}

/// The frame of `objects`, whose contents are `content` one after the other. What does not shrink is stored as it is.
pub fn compress(
    content: &[u8],
    objects: Vec<PackedObject>,
    level: i32,
) -> io::Result<(Frame, Vec<u8>)> {
    let window_log = window_log(content.len() as u64);
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
    encoder.window_log(u32::from(window_log))?;
    encoder.set_pledged_src_size(Some(content.len() as u64))?;
    encoder.write_all(content)?;
    let bytes = encoder.finish()?;
    let (codec, window_log, bytes) = match bytes.len() < content.len() {
        true => (Codec::Zstd, window_log, bytes),
        false => (Codec::Stored, 0, content.to_vec()),
    };
    let frame = Frame {
        offset: 0,
        length: bytes.len() as u64,
        codec,
        window_log,
        bases: Vec::new(),
        objects,
    };
    Ok((frame, bytes))
}

/// The smallest window that spans `content` bytes, within what a clone can be asked to hold.
fn window_log(content: u64) -> u8 {
    let log = u64::BITS - content.saturating_sub(1).leading_zeros();
    (log as u8).clamp(MIN_WINDOW_LOG, MAX_WINDOW_LOG)
}

/// A frame of one large object, streamed through the compressor to scratch space.
fn build_large(
    job: &Job,
    planned: Planned,
    reader: &mut ContentReader,
    at: usize,
) -> Result<Built> {
    let scratch = job.store.scratch(&format!("frame-{at}"))?;
    let mut take = Stream {
        scratch: &scratch,
        encoder: None,
        window_log: MIN_WINDOW_LOG,
        level: job.level,
        failed: None,
    };
    let found = reader.read(&job.nodes[planned.node].entry.path, &mut take);
    let window_log = take.window_log;
    // A disk that is full is not the fault of the file that was being read.
    let ended = match (take.failed.take(), take.encoder.take()) {
        (Some(error), _) => Err(error),
        (None, Some(encoder)) => encoder.finish().map(drop),
        (None, None) => Ok(()),
    };
    ended.context("write", job.store.root())?;
    let length = scratch.metadata().context("read", job.store.root())?.len();
    let mut built = Built {
        frame: None,
        payload: Payload::Memory(Vec::new()),
        changes: Vec::new(),
    };
    if let Some(object) = built.note(&planned, found) {
        built.frame = Some(Frame {
            offset: 0,
            length,
            codec: Codec::Zstd,
            window_log,
            bases: Vec::new(),
            objects: vec![object],
        });
        built.payload = Payload::Scratch(scratch);
    }
    Ok(built)
}

/// Compresses a stream to scratch space.
struct Stream<'a> {
    scratch: &'a File,
    encoder: Option<zstd::stream::write::Encoder<'static, &'a File>>,
    window_log: u8,
    level: i32,
    /// Why the scratch space could not be written.
    failed: Option<io::Error>,
}

impl Take for Stream<'_> {
    fn begin(&mut self, meta: &Meta) -> io::Result<()> {
        self.scratch.set_len(0)?;
        let mut start = self.scratch;
        start.seek(SeekFrom::Start(0))?;
        self.window_log = window_log(meta.stamp.size);
        let mut encoder = zstd::stream::write::Encoder::new(self.scratch, self.level)?;
        encoder.window_log(u32::from(self.window_log))?;
        if self.window_log == MAX_WINDOW_LOG {
            encoder.long_distance_matching(true)?;
        }
        self.encoder = Some(encoder);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(());
        };
        encoder.write_all(bytes).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}
