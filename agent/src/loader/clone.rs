//! The clone that runs: which kernel its boot loader gets, and what that has to have shown before.

use std::fs;
use std::path::Path;

use log::info;

use super::kernel::words_of;
use super::{Asked, DISK, Entries, Kernel, Loader, Put, came_from};
use crate::assemble::look_into;
use crate::config::Config;
use crate::enroll::has_agent;
use crate::error::{Error, Result};
use crate::kernels::newest_in;
use crate::pool::Pool;
use crate::running::{self, Running};
use crate::sys::mount;
use crate::trial;

/// What the kernel command line tells of this boot.
struct Boot {
    line: String,
    /// The release of the kernel that reclone started in it.
    kernel: Option<String>,
    is_over_network: bool,
}

impl Boot {
    fn this() -> Self {
        let line = fs::read("/proc/cmdline").unwrap_or_default();
        let mut config = Config::default();
        config.read_command_line(&line);
        Self {
            line: String::from_utf8_lossy(&line).into_owned(),
            kernel: config.kernel,
            is_over_network: config.install.is_some(),
        }
    }

    /// Whether reclone started the kernel of this release, and it runs.
    fn started(&self, release: &str) -> bool {
        let is_this = |it: &str| it == release;
        self.kernel.as_deref().is_some_and(is_this)
            && running::kernel().is_ok_and(|it| is_this(&it))
    }
}

/// Puts the newest kernel of the generation that runs there. The process gets mounts of its own.
pub fn put(pool: &Pool, asked: Asked, dry_run: bool) -> Result<(Loader, Put)> {
    let running = Running::at(Path::new("/")).map(|it| it.generation);
    let running = running.ok_or_else(|| {
        Error::Usage("no generation runs here: this system has a boot loader of its own".into())
    })?;
    let state = pool.state()?;
    let not_yet = || {
        Err(Error::Loader(format!(
            "generation {} has not proved itself as the current one: the boot loader stays as it is",
            running.number
        )))
    };
    let boot = Boot::this();
    // A start over the network has another command line than one from the disk, without a root.
    if boot.is_over_network {
        return Err(Error::Loader(
            "this boot came over the network: start from the disk, and then run this".into(),
        ));
    }
    let is_current = state.current == Some(running);
    if is_current && trial::boots_begun(&state).is_some() {
        return not_yet();
    }
    mount::part()?;
    let loader = Loader::find(Path::new(DISK))?;
    if asked == Asked::ByBoot && !dry_run {
        loader.confirm(&boot.line)?;
    }
    if !dry_run {
        loader.forget_once()?;
    }
    if asked == Asked::ByBoot && boot.kernel.is_none() {
        return Ok((loader, Put::Stands));
    }
    if !is_current {
        return not_yet();
    }
    let look = Path::new("/run/reclone/look");
    let done = look_into(pool, &running, look, |root| {
        let Some(kernel) = wanted(pool, running.number, root, &boot, &loader, asked)? else {
            return Ok(Put::Stands);
        };
        loader.put(&kernel, asked, dry_run)
    })?;
    if asked == Asked::ByBoot && done == Put::Done {
        info!(
            "{}: the next boot starts this kernel at once",
            loader.title()
        );
    }
    Ok((loader, done))
}

/// The newest kernel of the generation that is shown at `root`, if this may get to the boot loader.
fn wanted(
    pool: &Pool,
    number: u64,
    root: &Path,
    boot: &Boot,
    loader: &Loader,
    asked: Asked,
) -> Result<Option<Kernel>> {
    let release = newest_in(root).ok_or_else(|| {
        Error::Loader(format!(
            "generation {number} has no kernel with modules and an initramfs: publish /boot, with --cross /boot where it is a partition"
        ))
    })?;
    let started_here = boot.started(&release);
    if asked == Asked::ByBoot && !started_here {
        return Ok(None);
    }
    let words = words_of(&boot.line, &loader.configured()?);
    let kernel = Kernel::of_generation(pool, number, root, &release, words)?;
    // What reclone started after it came from an entry is another one.
    let is_from_entry = || boot.kernel.is_none() && came_from(&boot.line, &kernel.entry.id);
    if !started_here && !is_from_entry() && !loader.has(&kernel, asked)? {
        check_agent(root, &release, number)?;
    }
    Ok(Some(kernel))
}

/// What nobody has seen come up on this machine has to have the agent at least: else each boot would end in the plain system.
fn check_agent(root: &Path, release: &str, number: u64) -> Result<()> {
    let image = root.join(format!("boot/initrd.img-{release}"));
    let what = match has_agent(&image) {
        Ok(true) => return Ok(()),
        Ok(false) => {
            "has no reclone: install it on the model, make the initramfs anew and publish".into()
        }
        Err(error) => format!("can not be looked into ({error})"),
    };
    Err(Error::Loader(format!(
        "the initramfs of the kernel {release} in generation {number} {what}; the boot loader stays as it is"
    )))
}

/// What the boot loader of this clone has, where one runs and it can be seen: its name, and the entries. The process gets mounts of its
/// own.
pub fn look() -> Option<(&'static str, Entries)> {
    Running::at(Path::new("/"))?;
    mount::part().ok()?;
    let loader = Loader::find(Path::new(DISK)).ok()?;
    Some((loader.title(), loader.entries().ok()?))
}
