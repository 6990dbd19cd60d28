//! A boot of a generation that is on trial: counted before anything of it is used, and watched until it proves itself.

use std::ffi::CStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use log::{info, warn};

use crate::boot::Places;
use crate::boot::handover;
use crate::boot::init;
use crate::config::{Config, Mode, SessionPlace};
use crate::good::{PANIC, PANIC_TIME};
use crate::modules::Modules;
use crate::pool::Pool;
use crate::state::{Generation, State};
use crate::sys::watchdog;
use crate::trial;

/// A watchdog that comes with every kernel; machines that have one of their own load its driver later.
const SOFT: [(&str, &CStr); 1] = [("softdog", c"")];
/// How much longer than the unit of the running system the watchdog waits: that one ends things in order.
const GRACE: Duration = Duration::from_secs(120);

/// A boot that was counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    pool: &'a Pool,
    /// The record without this boot.
    before: &'a State,
    config: &'a Config,
    boot: u32,
}

/// Whether boots count. What runs in memory can not say how it went: the disk is read-only then.
fn counts(config: &Config) -> bool {
    let is_on_disk = config.session == SessionPlace::Disk;
    config.trial_boots > 0 && config.mode != Mode::Rollback && is_on_disk
}

/// Leaves a generation whose trial has failed for the one before.
pub fn fall_back(pool: &Pool, config: &Config) {
    // Whoever needs a record that can not be read says so.
    let Some(state) = pool.state().ok().filter(|_| counts(config)) else {
        return;
    };
    match trial::fall_back(pool, &state, config.trial_boots) {
        Ok(None) => {}
        Ok(Some([failed, back])) => warn!(
            "generation {} began {} boots and none came to a good end: back to generation {}, until the store has a newer one",
            failed.number, config.trial_boots, back.number
        ),
        Err(error) => warn!("{error}: the trial goes on"),
    }
}

/// Counts this boot if the current generation is on trial. A failure costs the count, not the boot.
pub fn begin<'a>(pool: &'a Pool, state: &'a State, config: &'a Config) -> Option<Counted<'a>> {
    if !counts(config) {
        return None;
    }
    let boot = trial::begin(pool, state).unwrap_or_else(|error| {
        warn!("{error}: this boot does not count");
        None
    });
    boot.map(|boot| Counted {
        pool,
        before: state,
        config,
        boot,
    })
}

impl Counted<'_> {
    /// Watches over this boot of `mounted`, or takes the count back where that is another generation or nobody would tell of its good end.
    pub fn go_on(self, mounted: Generation, places: &Places) {
        let is_this = self.before.current == Some(mounted);
        if !is_this || !init::reports(&places.root, &places.command_line()) {
            if is_this {
                info!("nobody here would tell of a good boot: this one does not count");
            }
            if let Err(error) = trial::take_back(self.pool, self.before) {
                warn!("{error}");
            }
            return;
        }
        let (number, boots) = (mounted.number, self.config.trial_boots);
        info!(
            "generation {number} is on trial: boot {} of {boots}",
            self.boot
        );
        self.watch(places);
    }

    /// Has the machine start again where this boot does not come to its good end, however it fails.
    fn watch(self, places: &Places) {
        let time = self.config.trial_timeout;
        if let Err(error) = handover::write_trial(&places.run, time) {
            // Nobody would stop what is started below.
            warn!("{error}: this boot is not watched");
            return;
        }
        if fs::read_to_string(PANIC).is_ok_and(|value| value.trim() == "0")
            && let Err(error) = fs::write(PANIC, PANIC_TIME)
        {
            warn!("{PANIC}: {error}");
        }
        let device = Path::new(watchdog::DEVICE);
        if !device.exists()
            && let Some(modules) = Modules::of_running_kernel(&places.root)
        {
            modules.load(&SOFT, &places.root);
        }
        if let Err(error) = watchdog::start(device, time + GRACE) {
            info!("{}: {error}: a hang is not noticed", device.display());
        }
    }
}
