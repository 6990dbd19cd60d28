//! Where what was written has to be on disk before the next write: the order of `docs/design.md`, "The commit protocol".
//!
//! Tests of that order leave a barrier out or end the program beside one. Only a build with the feature `crash-points`, which no
//! release has, listens to them: `RECLONE_CRASH=before-staged` or `after-staged` aborts there; `RECLONE_OMIT=staged` leaves that
//! barrier out and waits `RECLONE_PAUSE` milliseconds before each other one, so that the kernel writes what it writes unasked.

use std::io;

/// A barrier by what is on disk once it is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// All that a generation needs, still under names that nothing relies on.
    Staged,
    /// Its final names.
    Named,
    /// The new state record, before it takes the old one's place.
    StateWritten,
    /// The name of the state record: the commit.
    StateNamed,
    /// The clone's own files, gathered at its first boot.
    Gathered,
    /// The folder of the clone's own files.
    Adopted,
    /// One of the clone's own files that a session changed, before it takes the old one's place.
    Kept,
    /// What goes on from the last session, in the new one.
    Carried,
    /// What takes the place of something damaged.
    Mended,
    /// Its final name.
    Replaced,
    /// Kernel and initramfs beside the boot loader, and what names them, before it takes the old one's place.
    EntriesWritten,
    /// Its final name.
    EntriesNamed,
}

impl Barrier {
    /// Every barrier.
    pub const ALL: [Barrier; 12] = [
        Barrier::Staged,
        Barrier::Named,
        Barrier::StateWritten,
        Barrier::StateNamed,
        Barrier::Gathered,
        Barrier::Adopted,
        Barrier::Kept,
        Barrier::Carried,
        Barrier::Mended,
        Barrier::Replaced,
        Barrier::EntriesWritten,
        Barrier::EntriesNamed,
    ];

    /// Its name in `RECLONE_CRASH` and `RECLONE_OMIT`.
    pub fn name(self) -> &'static str {
        match self {
            Barrier::Staged => "staged",
            Barrier::Named => "named",
            Barrier::StateWritten => "state-written",
            Barrier::StateNamed => "state-named",
            Barrier::Gathered => "gathered",
            Barrier::Adopted => "adopted",
            Barrier::Kept => "kept",
            Barrier::Carried => "carried",
            Barrier::Mended => "mended",
            Barrier::Replaced => "replaced",
            Barrier::EntriesWritten => "entries-written",
            Barrier::EntriesNamed => "entries-named",
        }
    }

    /// Runs `sync`, which is what puts it on disk.
    pub fn pass(self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        #[cfg(feature = "crash-points")]
        if faults::omits(self) {
            return Ok(());
        }
        let synced = sync();
        #[cfg(feature = "crash-points")]
        faults::crash(self, "after");
        synced
    }
}

#[cfg(feature = "crash-points")]
mod faults {
    use std::{env, process, thread, time::Duration};

    use super::Barrier;

    pub fn omits(barrier: Barrier) -> bool {
        crash(barrier, "before");
        match env::var("RECLONE_OMIT") {
            Ok(name) if name == barrier.name() => true,
            Ok(_) => {
                let pause = env::var("RECLONE_PAUSE")
                    .ok()
                    .and_then(|pause| pause.parse().ok());
                thread::sleep(Duration::from_millis(pause.unwrap_or(0)));
                false
            }
            Err(_) => false,
        }
    }

    pub fn crash(barrier: Barrier, side: &str) {
        let point = format!("{side}-{}", barrier.name());
        if env::var("RECLONE_CRASH").is_ok_and(|name| name == point) {
            process::abort();
        }
    }
}
