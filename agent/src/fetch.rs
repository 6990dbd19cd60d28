//! Carries out a plan: reads the frames of its packs in as few requests as make sense, decodes them on every core and
//! hands their objects to the staging folder. The network is read by one thread, in order; it never waits for the disk
//! longer than the queues are full. Frames may wait for bases that frames before them yield: these have come whole by then.

use std::io::{self, Read};
use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use reclone_format::{Error as FormatError, Frame};

use crate::bases::Bases;
use crate::error::{Error, Result};
use crate::memory::{Budget, Share};
use crate::open_pack::Rest;
use crate::plan::{PackPlan, Plan, end_of, runs, widest_gap};
use crate::stage::{ObjectSink, Staging};
use crate::store::Store;
use crate::wanted::Wanted;

const CHUNK: usize = 128 * 1024;
/// Chunks of one frame that wait for a decoder; with the frames in flight they bound the memory.
const QUEUE: usize = 8;
const MAX_WORKERS: usize = 4;

/// Who wants to know how far a transfer is.
pub trait Watcher: Sync {
    /// `done` of `total` bytes have come.
    fn transferred(&self, done: u64, total: u64);

    /// It is known what is to come, by this manifest; nothing of it is here yet.
    fn planned(&self, _manifest: &Path) {}
}

/// Someone who does not want to know.
impl Watcher for () {
    fn transferred(&self, _: u64, _: u64) {}
}

/// What a transfer needs.
pub struct Transfer<'a> {
    /// Where from.
    pub store: &'a dyn Store,
    /// What frames may be based on.
    pub bases: &'a Bases<'a>,
    /// Where to.
    pub staging: &'a Staging,
    /// Which objects.
    pub wanted: &'a Wanted,
    /// Bytes of memory for decoders.
    pub memory: u64,
    /// Who is told.
    pub watcher: &'a dyn Watcher,
}

/// A frame on its way to a decoder, and its bytes as they come.
struct Job<'p> {
    frame: &'p Frame,
    place: &'p Path,
    payload: Receiver<Vec<u8>>,
    _memory: Share<'p>,
}

/// What went wrong in decoders.
#[derive(Default)]
struct Trouble {
    /// The first thing that ends the transfer.
    failure: Mutex<Option<Error>>,
    /// The first frame that its bases did not fit.
    setback: Mutex<Option<Error>>,
}

impl Transfer<'_> {
    /// Fetches every frame of `plan`. When this returns every planned object is staged and verified; nothing is synced. After
    /// a failure, what was staged until then is taken over by the next run. A frame that its bases did not fit is a failure
    /// only when all others were read.
    pub fn run(&self, plan: &mut Plan) -> Result<()> {
        let total = plan.transfer();
        let done = AtomicU64::new(0);
        self.watcher.transferred(0, total);
        let trouble = Trouble::default();
        let budget = Budget::new(self.memory);
        for round in &mut plan.rounds {
            self.round(round, &budget, &trouble, &|count| {
                let done = done.fetch_add(count, Ordering::Relaxed) + count;
                self.watcher.transferred(done, total);
            })?;
        }
        match trouble.setback.into_inner() {
            Ok(Some(setback)) => Err(setback),
            _ => Ok(()),
        }
    }

    fn round(
        &self,
        packs: &mut [PackPlan],
        budget: &Budget,
        trouble: &Trouble,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let workers = thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(MAX_WORKERS);
        let places: Vec<String> = packs.iter().map(|it| it.pack.id.store_path()).collect();
        // Bounded too: small frames fit whole into their queues, and would pile up while the disk is slow.
        let (jobs, queue) = sync_channel::<Job>(1);
        let queue = Mutex::new(queue);
        let read = thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(&queue, trouble));
            }
            // Moved in, so that the workers end when the last job was sent.
            let reader = Reader {
                store: self.store,
                jobs,
                budget,
                progress,
            };
            let mut packs = packs.iter_mut().zip(&places);
            let read = packs.try_for_each(|(pack, place)| reader.read(pack, Path::new(place)));
            if read.is_err() {
                self.wanted.give_up();
            }
            read
        });
        // Whoever failed first makes the other fail too, with less to say: a decoder whose input ends early calls it
        // damaged, a reader whose decoder is gone calls it absent. Only the reader meets errors of the store.
        match (read, trouble.failure.lock().map(|mut it| it.take())) {
            (Err(error @ Error::Store(_)), _) => Err(error),
            (_, Ok(Some(error))) => Err(error),
            (read, _) => read,
        }
    }

    /// Decodes jobs until there are no more. After a failure the rest is taken and dropped, so that the reader, which
    /// may wait for a place in a queue, finds its other end gone.
    fn work(&self, queue: &Mutex<Receiver<Job>>, trouble: &Trouble) {
        let next = || queue.lock().ok()?.recv().ok();
        while let Some(job) = next() {
            let failed = trouble.failure.lock().is_ok_and(|it| it.is_some());
            if failed {
                continue;
            }
            let Err(error) = self.decode(&job) else {
                continue;
            };
            // Without bases, what is wrong is the store; what can not be written is this machine.
            let is_setback = !job.frame.bases.is_empty() && !matches!(error, Error::System { .. });
            let place = match is_setback {
                true => &trouble.setback,
                false => &trouble.failure,
            };
            if let Ok(mut first) = place.lock() {
                first.get_or_insert(error);
            }
            match is_setback {
                true => self.lose(&job),
                false => self.wanted.give_up(),
            }
        }
    }

    fn decode(&self, job: &Job) -> Result<()> {
        let mut sink = ObjectSink::new(self.staging, self.wanted);
        let mut payload = Payload {
            chunks: &job.payload,
            current: io::Cursor::default(),
        };
        let places = [job.place, &self.staging.objects()];
        let decoded = self
            .bases
            .decode(job.frame, &mut payload, self.wanted, &mut sink, places);
        decoded.map_err(
            |error| match self.bases.damaged(&job.frame.bases, self.wanted) {
                Some(path) if !matches!(error, Error::System { .. }) => Error::Damaged {
                    path,
                    reason: "its content is not what its name says".into(),
                },
                _ => error,
            },
        )
    }

    /// Takes what still comes of a frame that its bases did not fit, and gives its objects up.
    fn lose(&self, job: &Job) {
        job.payload.iter().for_each(drop);
        let objects = job.frame.objects.iter();
        objects.for_each(|object| self.wanted.set_lost(object));
    }
}

/// Who reads the network.
struct Reader<'a, 'p> {
    store: &'a dyn Store,
    jobs: SyncSender<Job<'p>>,
    budget: &'p Budget,
    progress: &'a dyn Fn(u64),
}

impl<'p> Reader<'_, 'p> {
    /// Reads the frames of one pack and hands them on, one after the other.
    fn read(&self, plan: &'p mut PackPlan, place: &'p Path) -> Result<()> {
        let mut rest = plan.rest.take();
        let gap = match self.store.ranges() {
            true => widest_gap(&plan.frames),
            false => u64::MAX,
        };
        for run in runs(&plan.frames, gap) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let (start, end) = (first.offset, end_of(last));
            // What was asked for with the index goes on where it leads here.
            let fits = |rest: &Rest| {
                rest.end >= end && (rest.at..=rest.at.saturating_add(gap)).contains(&start)
            };
            let rest = match rest.take().filter(fits) {
                Some(rest) => rest,
                None => self.ask(place, start, end)?,
            };
            self.read_run(run, rest, place)?;
        }
        Ok(())
    }

    fn ask(&self, place: &Path, at: u64, end: u64) -> Result<Rest> {
        let place = place.to_string_lossy();
        let reader = self.store.read(&place, at, end - at)?;
        Ok(Rest { reader, at, end })
    }

    fn read_run(&self, run: &'p [Frame], mut rest: Rest, place: &'p Path) -> Result<()> {
        let failed = |error| Error::published(&place.display().to_string())(FormatError::Io(error));
        for frame in run {
            rest.skip_to(frame.offset).map_err(failed)?;
            let (payload, receiver) = sync_channel(QUEUE);
            let job = Job {
                frame,
                place,
                payload: receiver,
                _memory: self.budget.take(frame.memory()),
            };
            if self.jobs.send(job).is_err()
                || !send(&mut rest.reader, frame.length, &payload, self.progress).map_err(failed)?
            {
                return Err(Error::Absent(frame.objects[0].id));
            }
            rest.at = end_of(frame);
        }
        Ok(())
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
