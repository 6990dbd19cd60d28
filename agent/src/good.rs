//! The end of a trial: the system is up and well, and says so.

use std::fs;
use std::path::Path;

use log::{info, warn};

use crate::error::{Error, Result};
use crate::hooks;
use crate::pool::Pool;
use crate::running::Running;
use crate::sys::watchdog;
use crate::trial;

/// Is there while a boot on trial is watched: what a boot sets up and its good end takes down.
pub const WATCHED: &str = "/run/reclone/trial";
/// When a kernel that panicked starts the machine again, in seconds; 0: never.
pub const PANIC: &str = "/proc/sys/kernel/panic";
/// What a boot on trial sets it to.
pub const PANIC_TIME: &str = "20";

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Good {
    /// This generation has proved itself now.
    Proved(u64),
    /// This generation runs, and is not on trial.
    NotOnTrial(u64),
}

/// Ends the trial of the generation that runs, if the administrator's checks find the system well or nobody asks them. When this
/// returns, that is on disk, and nothing starts the machine again. So it is after most errors: only a check that fails leaves the
/// watch over this boot as it is.
pub fn good(pool: &Pool, force: bool) -> Result<Good> {
    if !force && let Some((program, failure)) = hooks::first_failure(Path::new(hooks::HEALTH)) {
        return Err(Error::Unhealthy { program, failure });
    }
    if Path::new(WATCHED).exists() {
        end_watch();
    }
    let running = Running::at(Path::new("/")).map(|running| running.generation);
    let Some(running) = running else {
        return Err(Error::Usage(
            "no generation runs here: this system is its plain root partition".into(),
        ));
    };
    Ok(match trial::prove(pool, &running)? {
        true => Good::Proved(running.number),
        false => Good::NotOnTrial(running.number),
    })
}

/// From here on nothing starts the machine again by itself.
fn end_watch() {
    match watchdog::stop(Path::new(watchdog::DEVICE)) {
        Ok(()) => info!("the watchdog is stopped"),
        Err(error) => info!("{}: {error}: left alone", watchdog::DEVICE),
    }
    // Another value is somebody else's.
    if fs::read_to_string(PANIC).is_ok_and(|value| value.trim() == PANIC_TIME)
        && let Err(error) = fs::write(PANIC, "0")
    {
        warn!("{PANIC}: {error}");
    }
    if let Err(error) = fs::remove_file(WATCHED) {
        warn!("{WATCHED}: {error}");
    }
}
