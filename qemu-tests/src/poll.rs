//! Waiting for what a machine does when it finds the time.

use std::thread;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);
/// What has not happened by then does not happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `attempt` gives in the end; nothing if it gave nothing for 20 seconds.
pub fn poll<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            None if Instant::now() < end => thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}
