//! The kernel's randomness. Early in a boot there may be none yet: a machine without a generator of its own waits for what its
//! devices do. ring, which TLS uses, would wait for that by looking at `/dev/random`, for ever if nothing happens;
//! a call of getrandom(2) has the kernel make some by itself, in about a second (Linux 5.4 and later).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};

/// How long to wait where nobody says.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits until the kernel has randomness. No, if it has none at `deadline`.
pub fn wait(deadline: Option<Instant>) -> bool {
    let mut byte = [0; 1];
    if getrandom(&mut byte, GetRandomFlags::NONBLOCK).is_ok() {
        return true;
    }
    let (sender, ready) = mpsc::channel();
    // The call can not be given up; a thread that is still in it ends with the program.
    thread::spawn(move || {
        let made = getrandom(&mut [0; 1], GetRandomFlags::empty()).is_ok();
        // Whoever waited may have gone.
        let _ = sender.send(made);
    });
    let left = deadline.map_or(LONGEST, |deadline| {
        deadline.saturating_duration_since(Instant::now())
    });
    ready.recv_timeout(left).unwrap_or(false)
}

/// A number that differs from call to call and from machine to machine, without a wait. It may be guessed.
pub fn number() -> u64 {
    // The keys of a new hash table are all that the standard library has, and it does not wait for them.
    RandomState::new().hash_one(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ() {
        assert_ne!(number(), number());
    }

    #[test]
    fn a_system_that_runs_has_randomness() {
        assert!(wait(Some(Instant::now())));
    }
}
