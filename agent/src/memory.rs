//! The memory that decoders may take, all together: a reader takes it, frame by frame in the order of the packs, and whoever has
//! decoded a frame gives it back.

use std::fs;
use std::sync::{Condvar, Mutex};

/// The most, in bytes: with everything else, a sync stays below 128 MiB.
const MOST: u64 = 80 << 20;

/// Half of what the machine has to spare, and at most 80 MiB.
pub fn limit() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    available(&text).map_or(MOST, |bytes| MOST.min(bytes / 2))
}

/// `MemAvailable` in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Bytes to be taken and given back.
pub struct Budget {
    whole: u64,
    left: Mutex<u64>,
    more: Condvar,
}

/// A part of a budget, until it is dropped.
pub struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    /// This many bytes.
    pub fn new(bytes: u64) -> Self {
        Self {
            whole: bytes,
            left: Mutex::new(bytes),
            more: Condvar::new(),
        }
    }

    /// Waits until `bytes` are left, or everything is, and takes them.
    pub fn take(&self, bytes: u64) -> Share<'_> {
        let bytes = bytes.min(self.whole);
        if let Ok(left) = self.left.lock()
            && let Ok(mut left) = self.more.wait_while(left, |left| *left < bytes)
        {
            *left -= bytes;
        }
        Share {
            budget: self,
            bytes,
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if let Ok(mut left) = self.budget.left.lock() {
            *left += self.bytes;
        }
        self.budget.more.notify_one();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn what_is_taken_has_to_come_back_before_more_is_given() {
        let budget = Budget::new(10);
        let first = budget.take(7);
        let (sender, taken) = channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let share = budget.take(4);
                sender.send(()).unwrap();
                drop(share);
            });
            assert_eq!(*budget.left.lock().unwrap(), 3);
            assert!(taken.try_recv().is_err());
            drop(first);
            taken.recv().unwrap();
        });
        // More than there is, is all.
        drop(budget.take(11));
        assert_eq!(*budget.left.lock().unwrap(), 10);
    }

    #[test]
    fn the_memory_to_spare_is_what_the_kernel_says() {
        let text = "MemTotal:  2048 kB\nMemAvailable:     100 kB\n";
        assert_eq!(available(text), Some(102_400));
        assert_eq!(available("MemTotal:  2048 kB\n"), None);
    }
}
