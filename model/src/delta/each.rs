//! Work that needs no order, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Result;

/// Calls `work` for each number below `count`, lower ones earlier. After a failure no more is begun; the first is given.
pub fn each(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let run = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return;
            }
            if let Err(error) = work(at) {
                next.store(count, Ordering::Relaxed);
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(run)));
        run();
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok(()), Err)
}

/// Calls `work` for each number below `large`, one at a time, and beside them for each other one below `count`.
pub fn each_beside(
    large: usize,
    count: usize,
    work: impl Fn(usize) -> Result<()> + Sync,
) -> Result<()> {
    let (larges, small) = (Mutex::new(0..large), AtomicUsize::new(large));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    // Who has the lock works on a large one; who does not get it, on a small one, as long as there are any.
    each(threads, |_| {
        loop {
            if let Ok(mut larges) = larges.try_lock()
                && let Some(at) = larges.next()
            {
                work(at)?;
                continue;
            }
            match small.fetch_add(1, Ordering::Relaxed) {
                at if at < count => work(at)?,
                _ => break,
            }
        }
        loop {
            let mut larges = larges.lock().unwrap_or_else(PoisonError::into_inner);
            match larges.next() {
                Some(at) => work(at)?,
                None => return Ok(()),
            }
        }
    })
}

/// What `work` gives for each number below `count`, in their order.
pub fn collect<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let results = Mutex::new((0..count).map(|_| None).collect::<Vec<Option<T>>>());
    each(count, |at| {
        let result = work(at)?;
        results.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(result);
        Ok(())
    })?;
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(results.into_iter().flatten().collect())
}
