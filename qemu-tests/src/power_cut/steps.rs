//! What a clone does while its disk is recorded, and what must hold after each step. The machine that is recorded and the
//! check of its disk both read this list.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::umount;

const PAUSE: Duration = Duration::from_micros(200);
/// A mount that is in use for longer stays in use.
const PATIENCE: Duration = Duration::from_secs(10);

/// The newest store, to which every disk must come in the end.
pub const NEWEST: u64 = 4;
/// The folder of the store disk, in the machine and at the check.
pub const STORES: &str = "/stores";
/// Where the root partition is mounted.
pub const ROOT: &str = "/root";
/// Where the agent moves it.
pub const DISK: &str = "/run/reclone/disk";
/// A folder of the plain system that clones keep, with [`OWN_TEXT`] in the file `file`.
pub const OWN: &str = "own";
/// What is in there from before the first boot on.
pub const OWN_TEXT: &str = "of the plain system\n";
/// The first generation with a policy.
pub const FIRST_POLICY: u64 = 2;
/// A folder that the model seeds.
pub const SEEDED: &str = "seeded";
/// The file of the third generation that gets damaged, and is not in the fourth.
pub const DAMAGED: &str = "srv/third";
/// What is written into its object then.
pub const DAMAGE: &[u8] = b"damage";
/// Where, in bytes.
pub const DAMAGE_AT: u64 = 100;
/// The file of the store disk that names that file's object.
pub const OBJECT: &str = "damaged-object";
/// The end of the recorded disk, which no file system has: there the machine writes which step is done.
pub const MARKS: u64 = 1 << 20;
/// What a mark begins with; the number of the step and the machine's id follow.
pub const MARK: &str = "reclone-mark ";

/// Unmounts what a boot mounted. For some seconds it waits for the kernel, which lets go of a loop device a moment after its
/// last user, and for programs that are just being started and have inherited a file.
pub fn unmount(place: &str) -> nix::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match umount(place) {
            Err(Errno::EBUSY) if Instant::now() < end => thread::sleep(PAUSE),
            unmounted => return unmounted,
        }
    }
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Boots, with the store as it was after this many publications.
    Boot(u64),
    /// Somebody writes files and gives the machine this name, and syncs nothing.
    Session(&'static str),
    /// The system is shut down.
    Halt,
    /// `reclone rollback`.
    Rollback,
    /// `reclone sync` from that store.
    Sync(u64),
    /// An object of the current generation gets damaged.
    Damage,
    /// `reclone reset` from that store.
    Reset(u64),
    /// `reclone prune`.
    Prune,
    /// The last: the agent is the shutdown program.
    Shutdown,
}

/// What must hold from the moment that a step is done until the next one is.
#[derive(Clone, Copy, Debug)]
pub struct After {
    /// The current generation.
    pub current: u64,
    /// The newest generation whose head was accepted.
    pub newest: u64,
    /// The machine's names that may be the kept one.
    pub names: &'static [&'static str],
    /// Whether [`DAMAGED`] may be damaged.
    pub damaged: bool,
}

const PLAIN: &str = "plain\n";
const FIRST: &str = "first\n";
const SECOND: &str = "second\n";

const fn after(current: u64, newest: u64, names: &'static [&'static str], damaged: bool) -> After {
    After {
        current,
        newest,
        names,
        damaged,
    }
}

/// Every step in its order, with what must hold after it.
pub const STEPS: [(Step, After); 13] = [
    (Step::Boot(1), after(1, 1, &[PLAIN], false)),
    (Step::Session(FIRST), after(1, 1, &[PLAIN, FIRST], false)),
    (Step::Halt, after(1, 1, &[FIRST], false)),
    (Step::Boot(2), after(2, 2, &[FIRST], false)),
    (Step::Rollback, after(1, 2, &[FIRST], false)),
    (Step::Sync(3), after(3, 3, &[FIRST], false)),
    (Step::Damage, after(3, 3, &[FIRST], true)),
    (Step::Reset(3), after(3, 3, &[FIRST], false)),
    (Step::Sync(4), after(4, 4, &[FIRST], false)),
    (Step::Prune, after(4, 4, &[FIRST], false)),
    (Step::Boot(4), after(4, 4, &[FIRST], false)),
    (Step::Session(SECOND), after(4, 4, &[FIRST, SECOND], false)),
    (Step::Shutdown, after(4, 4, &[SECOND], false)),
];

/// What must hold before the first step is done: nothing is there yet.
pub const BEFORE: After = after(0, 0, &[PLAIN], false);
