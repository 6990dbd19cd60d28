//! The verb `unenroll`.

use std::fs;
use std::path::{Path, PathBuf};

use log::{info, warn};

use crate::cli;
use crate::config::{CONFIG_FILE, Config};
use crate::enroll::{Change, machine};
use crate::error::{Error, Result};
use crate::keep::folders;
use crate::loader::Loader;
use crate::partition::{FIT, Visit};
use crate::pool::{Pool, remove_dir};
use crate::sys::mount;

/// Where the pool's own partition is for as long as its record is set aside.
const VISITED: &str = "/run/reclone-unenroll";

pub fn run_unenroll(options: &cli::Unenroll) -> Result<()> {
    machine::check_is_plain()?;
    let change = Change::to_plain()?;
    let config = change.before();
    if let Some(device) = config.pool_device.as_ref().filter(|_| options.remove_pool) {
        return Err(Error::Usage(format!(
            "the pool is on {device}: run this without --remove-pool, then remove the folder {} there",
            config.pool.display()
        )));
    }
    say_what_else(&change, options.dry_run);
    if options.dry_run {
        tidy_boot_loader(true);
        println!(
            "would make this machine no clone and run `{}`",
            change.generator.command()
        );
        return Ok(());
    }
    let disk = visit(&config);
    let pool = path(&config, disk.as_ref()).and_then(|path| Pool::open(&path).ok());
    let lock = pool.as_ref().map(Pool::lock).transpose()?;
    change.make()?;
    if let Some(pool) = &pool {
        // Without a store, a boot looks for this alone; and another model has serials of its own.
        pool.set_state_aside()?;
        if options.remove_pool {
            folders::give_back(pool, Path::new("/"))?;
            remove_dir(pool.root())?;
        } else if let Some(device) = &config.pool_device {
            let folder = config.pool.display();
            info!("the pool stays: remove the folder {folder} on {device} if it is not wanted");
        } else {
            info!(
                "{} stays: `reclone unenroll --remove-pool` removes it",
                pool.root().display()
            );
        }
    }
    drop((lock, disk));
    tidy_boot_loader(false);
    println!("this machine is no clone any more");
    Ok(())
}

/// Takes the model's kernels away. A boot loader that reclone does not know has none.
fn tidy_boot_loader(dry_run: bool) {
    let removed = mount::part().and_then(|()| match Loader::find(Path::new("/")) {
        Ok(loader) => Ok((loader.remove(dry_run)?, loader.title())),
        Err(Error::Loader(_)) => Ok((false, "")),
        Err(error) => Err(error),
    });
    match removed {
        Ok((false, _)) => {}
        Ok((true, title)) => {
            let starts = if dry_run { "would start" } else { "starts" };
            info!("{title} {starts} this machine's own kernel again");
        }
        Err(error) => warn!("{error}: look for entries of reclone in the boot loader"),
    }
}

/// Besides what the verb is for.
fn say_what_else(change: &Change, dry_run: bool) {
    let would = if dry_run { "would go" } else { "goes" };
    for line in &change.lost {
        info!("`{line}` {would} from {CONFIG_FILE}, too");
    }
    let mut boot = Config::default();
    boot.read_command_line(&fs::read("/proc/cmdline").unwrap_or_default());
    if boot.store.is_some() {
        warn!(
            "the kernel command line names a store: take it out of the boot loader's configuration"
        );
    }
    if change.new.is_some() {
        info!("{CONFIG_FILE} keeps the lines that do not make a clone");
    }
}

/// The partition that the pool is on, if it has one of its own. That it can not be mounted keeps no machine a clone.
fn visit(config: &Config) -> Option<Visit> {
    let device = config.pool_device.as_ref()?;
    let visit = Visit::begin(device, Path::new(VISITED), &FIT);
    if let Err(error) = &visit {
        warn!(
            "{error}: before this machine follows another model, remove the file {} on {device}",
            config.pool.join("state").display()
        );
    }
    visit.ok()
}

/// Where the pool is, if it can be reached.
fn path(config: &Config, disk: Option<&Visit>) -> Option<PathBuf> {
    let top = match (&config.pool_device, disk) {
        (None, _) => Path::new("/"),
        (Some(_), disk) => disk?.top(),
    };
    Some(top.join(&config.pool))
}
