//! Asks again where that may help: after a pause that doubles, with jitter, never past the deadline.
//!
//! A read that breaks off goes on with one single-range request from the byte it reached.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sys::random;

use super::http::{HttpStore, Part};
use super::{HeadAnswer, Kind, Store, StoreError, StoreOptions, Traffic, Validators};

/// This many bytes in one piece make a line good again: the count of failures starts anew.
const PROGRESS: u64 = 64 * 1024;

/// A server that wants more patience than this is given up.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);

/// An [`HttpStore`] that is asked again when it fails for a while.
pub struct RetryStore {
    inner: Arc<HttpStore>,
    options: StoreOptions,
}

impl RetryStore {
    /// Wraps `inner`.
    pub fn new(inner: HttpStore, options: &StoreOptions) -> Self {
        Self {
            inner: Arc::new(inner),
            options: options.clone(),
        }
    }

    /// Asks until there is an answer, or asking again does not help any more.
    fn again<T>(&self, ask: impl Fn(&HttpStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut backoff = self.backoff();
        loop {
            match ask(&self.inner) {
                Ok(answer) => return Ok(answer),
                Err(error) => backoff.wait(error)?,
            }
            self.inner.count_retry();
        }
    }

    fn backoff(&self) -> Backoff {
        let StoreOptions {
            retries,
            pause,
            deadline,
            ..
        } = self.options;
        Backoff {
            failures: 0,
            retries,
            pause,
            deadline,
        }
    }
}

impl Store for RetryStore {
    fn head(&self, known: Option<&Validators>) -> Result<HeadAnswer, StoreError> {
        self.again(|store| store.head(known))
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.again(|store| store.file(path))
    }

    fn read(
        &self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        let mut reader = Resuming {
            store: Arc::clone(&self.inner),
            path: path.to_owned(),
            offset,
            left: length,
            part: None,
            version: None,
            backoff: self.backoff(),
            in_one_piece: 0,
        };
        if length > 0 {
            reader.connect()?;
        }
        Ok(Box::new(reader))
    }

    fn ranges(&self) -> bool {
        self.inner.ranges()
    }

    fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }
}

/// A read that survives broken connections.
struct Resuming {
    store: Arc<HttpStore>,
    path: String,
    /// Where the next byte comes from.
    offset: u64,
    left: u64,
    part: Option<Part>,
    /// The state of the file at the first answer; every later one must be of the same.
    version: Option<Validators>,
    backoff: Backoff,
    in_one_piece: u64,
}

impl Resuming {
    /// Asks for the rest until there is an answer, or asking again does not help any more.
    fn connect(&mut self) -> Result<&mut Part, StoreError> {
        loop {
            let version = self.version.as_ref();
            match self.store.part(&self.path, self.offset, self.left, version) {
                Ok(part) => {
                    self.version.get_or_insert_with(|| part.version.clone());
                    self.in_one_piece = 0;
                    return Ok(self.part.insert(part));
                }
                Err(error) => self.backoff.wait(error)?,
            }
            self.store.count_retry();
        }
    }
}

impl Read for Resuming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let part = match &mut self.part {
                Some(part) => part,
                None => self.connect()?,
            };
            match part.read(buffer) {
                Ok(got) => {
                    self.offset += got as u64;
                    self.left -= got as u64;
                    self.in_one_piece += got as u64;
                    if self.in_one_piece >= PROGRESS {
                        self.backoff.failures = 0;
                    }
                    return Ok(got);
                }
                Err(error) => {
                    let Some(failure) = StoreError::from_io(&error).cloned() else {
                        return Err(error);
                    };
                    self.part = None;
                    self.backoff.wait(failure)?;
                    self.store.count_retry();
                }
            }
        }
    }
}

/// When to try again, and when no more.
struct Backoff {
    failures: u32,
    retries: u32,
    pause: Duration,
    deadline: Option<Instant>,
}

impl Backoff {
    /// Sleeps before the next try; gives the error back where there should be none.
    fn wait(&mut self, error: StoreError) -> Result<(), StoreError> {
        if !error.is_temporary() || self.failures >= self.retries {
            return Err(error);
        }
        let mut pause = jitter(doubled(self.pause, self.failures));
        if let Some(wanted) = error.retry_after() {
            if wanted > MAX_RETRY_AFTER {
                return Err(error);
            }
            pause = pause.max(wanted);
        }
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() + pause >= deadline)
        {
            let what = format!("no time is left to try again after: {}", error.what());
            return Err(StoreError::new(Kind::Deadline, error.location(), what));
        }
        self.failures += 1;
        log::warn!("{error}; trying again in {:.1} s", pause.as_secs_f32());
        std::thread::sleep(pause);
        Ok(())
    }
}

fn doubled(pause: Duration, times: u32) -> Duration {
    let factor = 1u32.checked_shl(times).unwrap_or(u32::MAX);
    pause.saturating_mul(factor).min(StoreOptions::MAX_PAUSE)
}

/// Half of `pause` to all of it, so that a room full of clones does not ask in step.
fn jitter(pause: Duration) -> Duration {
    let part = (random::number() & 0xffff) as f64 / f64::from(u16::MAX);
    pause.mul_f64(0.5 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pause = Duration::from_millis(250);
        assert_eq!(doubled(pause, 0), pause);
        assert_eq!(doubled(pause, 3), Duration::from_secs(2));
        assert_eq!(doubled(pause, 6), StoreOptions::MAX_PAUSE);
        assert_eq!(doubled(pause, 99), StoreOptions::MAX_PAUSE);
    }

    #[test]
    fn jitter_takes_half_at_most() {
        for _ in 0..100 {
            let pause = jitter(Duration::from_secs(2));
            assert!((1.0..=2.0).contains(&pause.as_secs_f64()), "{pause:?}");
        }
    }
}
