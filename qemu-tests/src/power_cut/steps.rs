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
/// The first byte of the root partition on the recorded disk.
pub const ROOT_AT: u64 = 1 << 20;
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
/// A folder in which what sessions change goes on. Each writes a file with its own name, and that name in it.
pub const GOES_ON: &str = "goes-on";
/// What each session writes beside that, and only a thawed one keeps: [`DRIFT_CONTENT`].
pub const DRIFT: &str = "srv/drift";
/// The whole of it.
pub static DRIFT_CONTENT: [u8; 100_000] = [7; 100_000];
/// A folder of the disk, beside the plain system's, into which a whole generation is restored.
pub const RESTORED: &str = "restored";
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
    /// `reclone restore` of everything into [`RESTORED`].
    Restore,
    /// `reclone thaw` for two boots.
    Thaw,
    /// `reclone freeze`.
    Freeze,
    /// The system is shut down.
    Halt,
    /// `reclone rollback`.
    Rollback,
    /// `reclone sync` from that store.
    Sync(u64),
    /// `reclone good`, then `reclone loader`: the boot loader gets the kernel of the generation that runs.
    Loader,
    /// An object of the current generation gets damaged.
    Damage,
    /// `reclone reset` from that store.
    Reset(u64),
    /// `reclone prune`.
    Prune,
    /// The last: the agent is the shutdown program.
    Shutdown,
}

/// What becomes of [`DRIFT`] at the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// The boot begins anew.
    Gone,
    /// It may go on, as far as it reached the disk.
    May,
    /// It goes on, whole.
    Stays,
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
    /// The sessions whose files in [`GOES_ON`] are there, whole.
    pub goes_on: &'static [&'static str],
    /// The generation that [`RESTORED`] is, if any.
    pub restored: Option<u64>,
    /// Whether [`DAMAGED`] may be damaged.
    pub damaged: bool,
    /// What a thawed session wrote.
    pub drift: Drift,
    /// The generations whose kernels the boot loader offers beside the disk's own, the one that it starts first.
    pub starts: &'static [u64],
}

const PLAIN: &str = "plain";
const FIRST: &str = "first";
const SECOND: &str = "second";
const MENDED: &str = "mended";
const THIRD: &str = "third";
/// What went on before the third session.
const TWO: &[&str] = &[SECOND, MENDED];

const fn after(
    current: u64,
    newest: u64,
    names: &'static [&'static str],
    goes_on: &'static [&'static str],
) -> After {
    After {
        current,
        newest,
        names,
        goes_on,
        restored: None,
        damaged: false,
        drift: Drift::Gone,
        starts: &[],
    }
}

impl After {
    const fn restored(self) -> After {
        After {
            restored: Some(2),
            ..self
        }
    }

    const fn thawed(self, drift: Drift) -> After {
        After { drift, ..self }
    }

    const fn starts(self, starts: &'static [u64]) -> After {
        After { starts, ..self }
    }

    const fn damaged(self) -> After {
        After {
            damaged: true,
            ..self
        }
    }
}

/// While a boot loader starts the first kernel, and from the second one on.
const ONE: &[u64] = &[1];
const OTHER: &[u64] = &[2, 1];
const LAST: &[u64] = &[4, 2];

/// While the machine is maintained in a session that is to go on, and once that is on disk.
const MAINTAINED: After = later(2, 2, &[SECOND, MENDED], &[SECOND]).restored();
const DONE: After = later(2, 2, &[MENDED], TWO).restored();

/// What must hold between the first update and the last.
const fn later(
    current: u64,
    newest: u64,
    names: &'static [&'static str],
    goes_on: &'static [&'static str],
) -> After {
    after(current, newest, names, goes_on).starts(OTHER)
}

/// Every step in its order, with what must hold after it. What the first session leaves is gone by the second boot, for the first
/// generation has no policy.
pub const STEPS: [(Step, After); 26] = [
    (Step::Boot(1), after(1, 1, &[PLAIN], &[])),
    (Step::Loader, after(1, 1, &[PLAIN], &[]).starts(ONE)),
    (
        Step::Session(FIRST),
        after(1, 1, &[PLAIN, FIRST], &[]).starts(ONE),
    ),
    (Step::Halt, after(1, 1, &[FIRST], &[]).starts(ONE)),
    (Step::Boot(2), after(2, 2, &[FIRST], &[]).starts(ONE)),
    (Step::Loader, later(2, 2, &[FIRST], &[])),
    (Step::Session(SECOND), later(2, 2, &[FIRST, SECOND], &[])),
    (Step::Restore, later(2, 2, &[FIRST, SECOND], &[]).restored()),
    (Step::Halt, later(2, 2, &[SECOND], &[SECOND]).restored()),
    (Step::Boot(2), later(2, 2, &[SECOND], &[SECOND]).restored()),
    (Step::Session(MENDED), MAINTAINED),
    (Step::Thaw, MAINTAINED.thawed(Drift::May)),
    (Step::Halt, DONE.thawed(Drift::Stays)),
    // Thawed, it does not take what the store has.
    (Step::Boot(3), DONE.thawed(Drift::Stays)),
    (Step::Freeze, DONE.thawed(Drift::May)),
    (Step::Rollback, later(1, 2, &[MENDED], TWO).restored()),
    (Step::Sync(3), later(3, 3, &[MENDED], TWO)),
    (Step::Damage, later(3, 3, &[MENDED], TWO).damaged()),
    (Step::Reset(3), later(3, 3, &[MENDED], TWO)),
    (Step::Sync(4), later(4, 4, &[MENDED], TWO)),
    (Step::Prune, later(4, 4, &[MENDED], TWO)),
    (Step::Halt, later(4, 4, &[MENDED], TWO)),
    (Step::Boot(4), later(4, 4, &[MENDED], TWO)),
    (Step::Loader, after(4, 4, &[MENDED], TWO).starts(LAST)),
    (
        Step::Session(THIRD),
        after(4, 4, &[MENDED, THIRD], TWO).starts(LAST),
    ),
    (
        Step::Shutdown,
        after(4, 4, &[THIRD], &[SECOND, MENDED, THIRD]).starts(LAST),
    ),
];

/// What must hold before the first step is done: nothing is there yet.
pub const BEFORE: After = after(0, 0, &[PLAIN], &[]);
