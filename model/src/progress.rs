//! One line of progress on standard error, if that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const STEP: Duration = Duration::from_millis(100);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Paths, files, packs.
    Pieces,
    /// Bytes.
    Bytes,
}

/// A count that is shown while it lives.
pub struct Progress {
    shared: Arc<Shared>,
    painter: Option<JoinHandle<()>>,
}

struct Shared {
    label: &'static str,
    unit: Unit,
    total: u64,
    done: AtomicU64,
    ended: AtomicBool,
    wake: (Mutex<()>, Condvar),
}

impl Progress {
    /// Begins to count up to `total`; 0 if that is not known.
    pub fn start(label: &'static str, unit: Unit, total: u64) -> Self {
        let shared = Arc::new(Shared {
            label,
            unit,
            total,
            done: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            wake: Default::default(),
        });
        let painter = io::stderr().is_terminal().then(|| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.paint())
        });
        Self { shared, painter }
    }

    /// Counts `more`.
    pub fn add(&self, more: u64) {
        self.shared.done.fetch_add(more, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(painter) = self.painter.take() {
            self.shared.ended.store(true, Ordering::Relaxed);
            self.shared.wake.1.notify_all();
            let _ = painter.join();
        }
    }
}

impl Shared {
    fn paint(&self) {
        let mut guard = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.ended.load(Ordering::Relaxed) {
            let mut screen = io::stderr();
            let _ = write!(screen, "\r{}\x1b[K", self.line());
            guard = match self.wake.1.wait_timeout(guard, STEP) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        let _ = write!(io::stderr(), "\r\x1b[K");
    }

    fn line(&self) -> String {
        let done = self.done.load(Ordering::Relaxed);
        let show = |count| match self.unit {
            Unit::Pieces => format!("{count}"),
            Unit::Bytes => bytes(count),
        };
        match self.total {
            0 => format!("{} {}", self.label, show(done)),
            total => format!(
                "{} {} of {} ({} %)",
                self.label,
                show(done),
                show(total),
                done.saturating_mul(100) / total
            ),
        }
    }
}

/// Bytes in a unit that a person reads at a glance.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return match unit {
                "bytes" => format!("{count} bytes"),
                unit => format!("{value:.1} {unit}"),
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_short() {
        for (count, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (5 << 30, "5.0 GiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
