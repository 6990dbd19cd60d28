//! Carries out a plan: reads the frames of its packs in as few requests as make sense, decodes them on every core and
//! hands their objects to the staging folder. The network is read by one thread, in order; it never waits for the disk
//! longer than the queues are full.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use reclone_format::{Error as FormatError, Frame, PackedObject, frame, object_id_of};

use crate::error::{Error, Result};
use crate::plan::{PackPlan, Plan};
use crate::pool::Pool;
use crate::stage::{ObjectSink, Staging};
use crate::store::Store;
use crate::wanted::Wanted;

/// Gaps up to this many bytes are read and dropped, where a further request would cost more.
const GAP: u64 = 64 * 1024;
const CHUNK: usize = 128 * 1024;
/// Chunks of one frame that wait for a decoder; with the frames in flight they bound the memory.
const QUEUE: usize = 8;
const MAX_WORKERS: usize = 4;

/// Who wants to know how far a transfer is.
pub trait Watcher: Sync {
    /// `done` of `total` bytes have come.
    fn transferred(&self, done: u64, total: u64);
}

/// Someone who does not want to know.
impl Watcher for () {
    fn transferred(&self, _: u64, _: u64) {}
}

/// What a transfer needs.
pub struct Transfer<'a> {
    /// Where from.
    pub store: &'a dyn Store,
    /// Whose objects may be bases.
    pub pool: &'a Pool,
    /// Where to.
    pub staging: &'a Staging,
    /// Which objects.
    pub wanted: &'a Wanted,
    /// Who is told.
    pub watcher: &'a dyn Watcher,
}

/// A frame on its way to a decoder, and its bytes as they come.
struct Job<'p> {
    frame: &'p Frame,
    place: String,
    payload: Receiver<Vec<u8>>,
}

impl Transfer<'_> {
    /// Fetches every frame of `plan`. When this returns every planned object is staged and verified; nothing is synced.
    /// After a failure, what was staged until then is taken over by the next run.
    pub fn run(&self, plan: &Plan) -> Result<()> {
        let total = plan.transfer();
        let done = AtomicU64::new(0);
        self.watcher.transferred(0, total);
        for round in &plan.rounds {
            self.round(round, &|count| {
                let done = done.fetch_add(count, Ordering::Relaxed) + count;
                self.watcher.transferred(done, total);
            })?;
        }
        Ok(())
    }

    fn round(&self, packs: &[PackPlan], progress: &dyn Fn(u64)) -> Result<()> {
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let workers = thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(MAX_WORKERS);
        // Bounded too: small frames fit whole into their queues, and would pile up while the disk is slow.
        let (jobs, queue) = sync_channel::<Job>(1);
        let queue = Mutex::new(queue);
        let read = thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(&queue, &failure));
            }
            // Moved in, so that the workers end when the last job was sent.
            let jobs = jobs;
            packs
                .iter()
                .try_for_each(|pack| self.read_pack(pack, &jobs, progress))
        });
        // Whoever failed first makes the other fail too, with less to say: a decoder whose input ends early calls it
        // damaged, a reader whose decoder is gone calls it absent. Only the reader meets errors of the store.
        match (read, failure.into_inner()) {
            (Err(error @ Error::Store(_)), _) => Err(error),
            (_, Ok(Some(error))) => Err(error),
            (read, _) => read,
        }
    }

    fn read_pack<'p>(
        &self,
        plan: &'p PackPlan,
        jobs: &SyncSender<Job<'p>>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let place = plan.pack.id.store_path();
        let gap = if self.store.ranges() { GAP } else { u64::MAX };
        for run in plan
            .frames
            .chunk_by(|a, b| b.offset - (a.offset + a.length) <= gap)
        {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let end = last.offset + last.length;
            let mut reader = self.store.read(&place, first.offset, end - first.offset)?;
            let mut at = first.offset;
            for frame in run {
                let failed = |error| Error::published(&place)(FormatError::Io(error));
                io::copy(
                    &mut reader.by_ref().take(frame.offset - at),
                    &mut io::sink(),
                )
                .map_err(failed)?;
                let (payload, receiver) = sync_channel(QUEUE);
                let job = Job {
                    frame,
                    place: place.clone(),
                    payload: receiver,
                };
                if jobs.send(job).is_err()
                    || !send(&mut reader, frame.length, &payload, progress).map_err(failed)?
                {
                    return Err(Error::Absent(frame.objects[0].id));
                }
                at = frame.offset + frame.length;
            }
        }
        Ok(())
    }

    /// Decodes jobs until there are no more. After a failure the rest is taken and dropped, so that the reader, which
    /// may wait for a place in a queue, finds its other end gone.
    fn work(&self, queue: &Mutex<Receiver<Job>>, failure: &Mutex<Option<Error>>) {
        let next = || queue.lock().ok()?.recv().ok();
        while let Some(job) = next() {
            let failed = failure.lock().is_ok_and(|failure| failure.is_some());
            if failed {
                continue;
            }
            if let (Err(error), Ok(mut failure)) = (self.decode(&job), failure.lock()) {
                failure.get_or_insert(error);
            }
        }
    }

    fn decode(&self, job: &Job) -> Result<()> {
        let bases = self.bases(&job.frame.bases)?;
        let mut sink = ObjectSink::new(self.staging, self.wanted);
        let payload = Payload {
            chunks: &job.payload,
            current: io::Cursor::default(),
        };
        frame::decode(job.frame, payload, &bases, &mut sink)
            .map_err(Error::passed_on(&job.place, &self.staging.objects()))
    }

    /// The contents of a frame's bases, one after the other, each verified.
    fn bases(&self, bases: &[PackedObject]) -> Result<Vec<u8>> {
        // The index was checked: all bases together fit into memory.
        let mut content = Vec::new();
        for base in bases {
            // Staged is verified; the pool's may be the damaged one that it is to replace.
            let paths = [self.staging.object(&base.id), self.pool.object(&base.id)];
            let path = if paths[0].exists() {
                &paths[0]
            } else {
                &paths[1]
            };
            let start = content.len();
            let read =
                File::open(path).and_then(|file| file.take(base.size).read_to_end(&mut content));
            read.map_err(Error::system("can not read", path))?;
            if object_id_of(&content[start..]) != base.id {
                let reason = "its content is not what its name says".to_owned();
                return Err(Error::Damaged {
                    path: path.clone(),
                    reason,
                });
            }
        }
        Ok(content)
    }
}

/// Sends exactly `length` bytes on; no where the other end is gone.
fn send(
    reader: &mut impl Read,
    mut length: u64,
    payload: &SyncSender<Vec<u8>>,
    progress: &dyn Fn(u64),
) -> io::Result<bool> {
    while length > 0 {
        let size = CHUNK.min(usize::try_from(length).unwrap_or(CHUNK));
        let mut chunk = vec![0; size];
        reader.read_exact(&mut chunk)?;
        length -= size as u64;
        progress(size as u64);
        if payload.send(chunk).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The bytes of a frame as they come.
struct Payload<'a> {
    chunks: &'a Receiver<Vec<u8>>,
    current: io::Cursor<Vec<u8>>,
}

impl Read for Payload<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.current.read(buffer)? {
                0 if !buffer.is_empty() => match self.chunks.recv() {
                    Ok(chunk) => self.current = io::Cursor::new(chunk),
                    Err(_) => return Ok(0),
                },
                count => return Ok(count),
            }
        }
    }
}
