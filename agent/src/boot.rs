//! The boot, top to bottom, and what happens when a step fails: the current generation boots. What is decided when, and
//! the facts about Debian behind it, are in `docs/boot.md`.
//!
//! The distribution has unlocked, checked and mounted the root partition. Its mount is moved aside to
//! `/run/reclone/disk`, the pool on it is brought up to date, and the generation is assembled where the partition was.

mod catch_up;
mod disk;
mod handover;
mod init;
mod install;
mod kernel;
mod log;
mod offline;
mod root;
mod splash;
mod trial;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ::log::{info, warn};

use crate::config::{CONFIG_FILE, Config, Mode, SessionPlace};
use crate::error::{Error, Result};
use crate::keep;
use crate::modules::Modules;
use crate::network;
use crate::partition::mount_pool_disk;
use crate::pool::{Pool, make_dir, make_private_dir};
use crate::rebase::{self, Following};
use crate::session;
use crate::state::{Generation, State};
use crate::sys::mount;
use crate::thaw::{self, Thawed};

use disk::{Access, Disk};
pub use install::install;
use kernel::Loaded;
use log::BootLog;
use root::Wanted;

/// Where a boot finds and leaves things.
#[derive(Clone, Debug)]
struct Places {
    /// Where the root partition is mounted, and the generation will be.
    root: PathBuf,
    /// What is handed over to the running system.
    run: PathBuf,
    /// The configuration file.
    config: PathBuf,
    /// The kernel command line.
    command_line: PathBuf,
    /// The network's.
    network: network::Places,
}

impl Places {
    /// Those of an initramfs that mounted the root partition at `root`.
    fn initramfs(root: PathBuf) -> Self {
        Self {
            root,
            run: "/run".into(),
            config: CONFIG_FILE.into(),
            command_line: "/proc/cmdline".into(),
            network: network::Places::default(),
        }
    }

    /// The agent's own folder in `/run`.
    fn own(&self) -> PathBuf {
        self.run.join("reclone")
    }

    /// Where the root partition is moved to.
    fn disk(&self) -> PathBuf {
        self.own().join("disk")
    }

    /// Where the pool's own partition is mounted, if it has one.
    fn pool_disk(&self) -> PathBuf {
        self.own().join("pooldisk")
    }

    /// Where a stick with a store is mounted while it is read.
    fn stick(&self) -> PathBuf {
        self.own().join("stick")
    }

    /// The words on the kernel command line, as far as they can be read.
    fn command_line(&self) -> String {
        let bytes = fs::read(&self.command_line).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// Does what [`boot_with`] says in an initramfs that mounted the root partition at `root`.
pub fn boot(root: &Path) -> Result<()> {
    boot_with(&Places::initramfs(root.into()), BootLog::install())
}

/// Puts the current generation at `places.root`, after a sync where that is wanted and possible. Where reclone is switched
/// off or was never set up, the partition stays as it is. After an error it is back in its place, writable, so that
/// a rescue shell can work on it and this can be called again.
fn boot_with(places: &Places, boot_log: &BootLog) -> Result<()> {
    let started = Instant::now();
    let mut config = configuration(places);
    if config.mode == Mode::Off {
        info!("switched off by reclone=off: booting the plain root partition");
        let modules = Modules::of_running_kernel(Path::new("/"));
        if let Some(modules) = modules.filter(|it| !it.are_in(&places.root)) {
            warn!(
                "it has no modules of this kernel {}: better take the disk's own entry in the boot loader",
                modules.release()
            );
        }
        return Ok(());
    }
    let state = places.root.join(&config.pool).join("state");
    let names_store = config.store.is_some() || config.offline_store.is_some();
    if !names_store && config.pool_device.is_none() && !state.exists() {
        info!(
            "no store is configured and there is no generation: booting the plain root partition"
        );
        return Ok(());
    }
    make_private_dir(&places.own())?;
    let access = match (&config.session, config.mode) {
        (SessionPlace::Ram { .. }, Mode::Skip) => Access::Read,
        _ => Access::Write,
    };
    let disk = Disk::take(&places.root, &places.disk(), access)?;
    let mut result = boot_from(&disk, places, &config, started);
    if let Ok(Some(kernel)) = result {
        keep_log(boot_log, None, places);
        kernel.start(&[&places.pool_disk(), disk.path()]);
        // It could not.
        config.kernel = Some(String::new());
        result = boot_from(&disk, places, &config, started);
    }
    if result.is_err() {
        info!("this disk has nothing to boot but its plain root partition, as it was installed");
        info!("in the shell: mend what is wrong, then leave it with `exit` to try again");
        info!("to boot the plain root partition: add reclone=off to the kernel command line");
    }
    keep_log(boot_log, result.as_ref().err(), places);
    result.map(drop).map_err(|error| {
        // Whoever reads it finds the disk where it was.
        let moved = error.moved(disk.path(), &places.root);
        disk.give_back(&places.root).err().unwrap_or(moved)
    })
}

/// Reads the configuration and the kernel command line, and says what can not be used.
fn configuration(places: &Places) -> Config {
    let read = |path: &Path| match fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                warn!("{}: {error}", path.display());
            }
            Vec::new()
        }
    };
    let (file, words) = (read(&places.config), read(&places.command_line));
    let (config, complaints) = Config::read(&places.config, &file, &words);
    for complaint in complaints {
        warn!("{complaint}: left out");
    }
    config
}

/// Puts a generation at the root's place, or gives its kernel, which is to be started.
fn boot_from(
    disk: &Disk,
    places: &Places,
    config: &Config,
    started: Instant,
) -> Result<Option<Loaded>> {
    let home = pool_home(disk, places, config)?;
    let path = home.join(&config.pool);
    let writable = mount::is_writable(&home);
    let in_memory = matches!(config.session, SessionPlace::Ram { .. });
    if !writable && !in_memory {
        warn!("the disk can not be written to: this boot keeps nothing");
    }
    handover::link_pool(&places.own().join("pool"), &path)?;
    let (pool, thawed, failure) = match writable {
        true => prepare(&path, places, config)?,
        false => (Pool::open(&path)?, None, None),
    };
    let last = rebase::last(&pool).unwrap_or_else(|error| {
        warn!("{error}");
        None
    });
    let state = pool.state()?;
    let candidates = candidates(&state, config.mode);
    if candidates.is_empty() {
        return Err(failure.unwrap_or(Error::NoGeneration(path)));
    }
    let modules = Modules::load_for_roots(Path::new("/"));
    let first = thawed.as_ref().map_or(&candidates[0], |it| &it.generation);
    if writable && let Some(kernel) = kernel::load(&pool, first, modules.as_ref(), places, config) {
        return Ok(Some(kernel));
    }
    let wanted = Wanted {
        pool: &pool,
        places,
        modules: modules.as_ref(),
        session: &config.session,
        following: Following::of(config),
        last: last.filter(|_| writable),
        thawed: thawed.filter(|_| !in_memory),
    };
    let counted = writable
        .then(|| trial::begin(&pool, &state, config))
        .flatten();
    let generation = root::assemble(&wanted, &candidates)?;
    install::finish(places, disk.path());
    if let Some(counted) = counted {
        counted.go_on(generation, places);
    }
    if writable
        && handover::is_news_to_loader(config, &places.command_line())
        && let Err(error) = handover::write_loader(&places.run)
    {
        warn!("{error}");
    }
    if in_memory {
        make_read_only(&[disk.path(), &home]);
    }
    let later = failure.as_ref().is_some_and(may_pass) && !in_memory;
    if let Err(error) = hand_over(places, config, &pool, later) {
        warn!("{error}: the running system goes without");
    }
    let seconds = started.elapsed().as_secs_f64();
    info!(
        "booting generation {} after {seconds:.1} s",
        generation.number
    );
    Ok(None)
}

/// From here on nothing writes to the disks.
fn make_read_only(disks: &[&Path]) {
    info!(
        "the session is in memory: the disk is read-only, and so are kept folders; kept files change for this boot alone"
    );
    disk::make_read_only(disks);
}

/// The top of the file system that the pool is on.
fn pool_home(disk: &Disk, places: &Places, config: &Config) -> Result<PathBuf> {
    let Some(device) = &config.pool_device else {
        return Ok(disk.path().into());
    };
    let at = places.pool_disk();
    // Mounted by an earlier try of this boot.
    if !mount::is_mount_point(&at) {
        mount_pool_disk(device, &at)?;
    }
    Ok(at)
}

/// Ends the last session and brings the pool up to date as far as possible; what kept it from that comes second.
/// The session of a thawed clone goes on instead, and nothing is brought.
fn prepare(
    path: &Path,
    places: &Places,
    config: &Config,
) -> Result<(Pool, Option<Thawed>, Option<Error>)> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::system("can not make the folder", parent))?;
    }
    let pool = Pool::create(path)?;
    trial::fall_back(&pool, config);
    let thawed = thaw::begin_boot(&pool, config.mode, config.kernel.is_some());
    if let Err(error) = turn_over(&pool, config.mode) {
        warn!("{error}");
    }
    if thawed.is_some() {
        info!("thawed: no new generation is taken");
        return Ok((pool, thawed, None));
    }
    let failure = catch_up::catch_up(&pool, config, places).err();
    if let Some(failure) = &failure {
        warn!("{failure}");
    }
    Ok((pool, None, failure))
}

/// Leaves in `/run` what the running system needs. The root is there already: nothing here may keep it from booting.
fn hand_over(places: &Places, config: &Config, pool: &Pool, sync_later: bool) -> Result<()> {
    handover::write_units(&places.run, pool.root(), config)?;
    let folder = places.config.parent().unwrap_or(Path::new("/"));
    let copy = handover::keep_configuration(&places.run, folder)?;
    if sync_later {
        handover::sync_later(&places.run, &copy, folder)?;
        info!("the running system tries again in the background");
    }
    handover::place_shutdown_program(&places.run)
}

/// Whether what kept a sync from its end may be over in a few minutes: a slow line, a server that is still starting.
fn may_pass(failure: &Error) -> bool {
    match failure {
        Error::Network(_) => true,
        Error::Store(error) => error.is_temporary() || failure.is_deadline(),
        _ => false,
    }
}

/// What may boot, the best first.
fn candidates(state: &State, mode: Mode) -> Vec<Generation> {
    let (current, previous) = (state.current, state.previous);
    let order = match mode {
        Mode::Rollback => [previous, current],
        _ => [current, previous],
    };
    if mode == Mode::Rollback && previous.is_none() {
        warn!("there is no previous generation to go back to");
    }
    order.into_iter().flatten().collect()
}

/// Ends what was before this boot: saves what makes the clone itself from its last session, and sets that aside. This
/// comes before the sync, which removes ended sessions when it needs their space. A failure costs space, or the newest
/// host name, but not the boot.
fn turn_over(pool: &Pool, mode: Mode) -> Result<()> {
    match mode {
        Mode::Reset { forget: true } => {
            let forgotten = keep::forget(pool);
            let ended = session::end_idle(pool).map(drop).and(forgotten);
            session::remove_ended(pool).map(drop).and(ended)
        }
        Mode::Reset { forget: false } => {
            keep::end_sessions(pool)?;
            session::end_idle(pool)?;
            session::remove_ended(pool).map(drop)
        }
        _ => keep::end_sessions(pool).map(drop),
    }
}

/// Writes down what this boot said. A disk that is full is no reason to stop.
fn keep_log(boot_log: &BootLog, end: Option<&Error>, places: &Places) {
    let mut files = vec![places.own().join("log")];
    let pool = places.own().join("pool");
    if pool.exists() && mount::is_writable(&pool) {
        let _ = make_dir(&pool.join("log"));
        files.push(pool.join("log/boot"));
    }
    for path in files {
        if let Err(error) = boot_log.append_to(&path, end) {
            warn!("{}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests;
