//! A store that is read no faster than allowed.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{HeadAnswer, Store, StoreError, Traffic, Validators};

/// A store of which packs are read at a bounded rate.
pub struct Limited {
    inner: Box<dyn Store>,
    pace: Arc<Pace>,
}

impl Limited {
    /// At most `rate` bytes a second of `inner`, over all that is read at the same time.
    pub fn new(inner: Box<dyn Store>, rate: u64) -> Self {
        let pace = Pace {
            rate: rate.max(1),
            free: Mutex::new(Instant::now()),
        };
        Self {
            inner,
            pace: Arc::new(pace),
        }
    }
}

impl Store for Limited {
    fn head(&self, known: Option<&Validators>) -> Result<HeadAnswer, StoreError> {
        self.inner.head(known)
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.inner.file(path)
    }

    fn read(
        &self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        Ok(Box::new(Paced {
            inner: self.inner.read(path, offset, length)?,
            pace: Arc::clone(&self.pace),
        }))
    }

    fn ranges(&self) -> bool {
        self.inner.ranges()
    }

    fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }
}

/// When the next byte may come.
struct Pace {
    /// Bytes a second.
    rate: u64,
    free: Mutex<Instant>,
}

impl Pace {
    /// Waits for as long as `count` bytes that came take.
    fn pass(&self, count: usize) {
        let time = Duration::from_secs_f64(count as f64 / self.rate as f64);
        let now = Instant::now();
        let Ok(mut free) = self.free.lock() else {
            return;
        };
        *free = (*free).max(now) + time;
        let wait = *free - now;
        drop(free);
        thread::sleep(wait);
    }
}

struct Paced {
    inner: Box<dyn Read + Send>,
    pace: Arc<Pace>,
}

impl Read for Paced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A quarter of a second at most, so that the other side does not take this one for dead.
        let most = usize::try_from(self.pace.rate / 4)
            .unwrap_or(usize::MAX)
            .max(1);
        let count = buffer.len().min(most);
        let got = self.inner.read(&mut buffer[..count])?;
        self.pace.pass(got);
        Ok(got)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{self, StoreOptions};

    #[test]
    fn all_readers_together_are_no_faster_than_the_rate() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("packs")).unwrap();
        std::fs::write(folder.path().join("packs/a"), [7; 30_000]).unwrap();
        let location = folder.path().to_str().unwrap();
        let inner = store::open(location, &StoreOptions::default()).unwrap();
        let limited = Limited::new(inner, 100_000);
        let started = Instant::now();
        for _ in 0..2 {
            let mut content = Vec::new();
            let mut reader = limited.read("packs/a", 0, 30_000).unwrap();
            reader.read_to_end(&mut content).unwrap();
            assert_eq!(content, [7; 30_000]);
        }
        assert!(started.elapsed() >= Duration::from_millis(590));
        assert_eq!(limited.traffic().bytes, 60_000);
    }
}
