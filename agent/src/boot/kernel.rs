//! The kernel of the generation that boots. Modules, firmware and kernel belong together: where the generation has no modules for the
//! kernel that runs, its own kernel takes over, in this boot.
//!
//! What keeps this from a loop: the new kernel is told that it was started so, and starts no further one; and a note in the pool, written
//! before and removed by the agent that comes up after, keeps a kernel from which none came back from being started again.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use log::{info, warn};

use crate::assemble::look_into;
use crate::boot::Places;
use crate::boot::disk::make_read_only;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::initramfs::with_configuration;
use crate::kernels::{files_of, newest_in};
use crate::loader::{Kernel, Loader, words_for_once};
use crate::modules::Modules;
use crate::pool::{Pool, replace};
use crate::state::Generation;
use crate::sys::{kexec, mount};

/// The word on the kernel command line of one that was started here.
const WORD: &str = "reclone.kernel";

/// What a boot loader's partition and the choice for one boot need, where they are no part of this kernel.
const FOR_LOADERS: [(&str, &CStr); 5] = [
    ("vfat", c""),
    ("nls_cp437", c""),
    ("nls_ascii", c""),
    ("nls_iso8859-1", c""),
    ("efivarfs", c""),
];

/// Who starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The running kernel, which has it loaded.
    Kexec,
    /// The boot loader, once the machine starts again.
    Loader,
}

/// A kernel that is to be started.
pub struct Loaded {
    release: String,
    note: PathBuf,
    by: By,
}

/// Loads the kernel of `generation` if it is to take over: it has no modules for the running one. Else, and where it can not, nothing.
pub(super) fn load(
    pool: &Pool,
    generation: &Generation,
    running: Option<&Modules>,
    places: &Places,
    config: &Config,
) -> Option<Loaded> {
    let note = pool.root().join("kernel");
    if config.kernel.is_some() {
        // The agent came back.
        forget(&note);
        return None;
    }
    // One that needs none, or whose initramfs has none, does with any generation.
    let running = running?;
    let look = places.own().join("look");
    let found = look_into(pool, generation, &look, |root| {
        if running.are_in(root) {
            return Ok(None);
        }
        let number = generation.number;
        let without = format!(
            "generation {number} has no modules for this kernel {}",
            running.release()
        );
        if fs::read_to_string(&note).is_ok_and(|id| id.trim() == generation.manifest.to_string()) {
            warn!(
                "{without}, and its own did not come to reclone when it was started: does its initramfs have reclone?"
            );
            tidy(places, running, config);
            return Ok(None);
        }
        let Some(release) = newest_in(root) else {
            // The warning is for assemble, which leaves it for the previous one.
            info!("{without}, and none of its own with modules and an initramfs");
            return Ok(None);
        };
        info!("{without}: starting its own, {release}");
        replace(&note, &format!("{}\n", generation.manifest))?;
        let files = || files_of(pool, number, root, &release);
        let by = load_from(&files, &release, places, running, config);
        let by = by.inspect_err(|_| forget(&note))?;
        Ok(Some(Loaded {
            release,
            note: note.clone(),
            by,
        }))
    });
    found.unwrap_or_else(|error| {
        warn!("{error}: its kernel can not be started");
        None
    })
}

impl Loaded {
    /// Starts it. `disks` are read-only then, and clean. Returns only where it can not; then they are writable again.
    pub fn start(self, disks: &[&Path]) {
        let writable = make_read_only(disks);
        nix::unistd::sync();
        let Err(error) = match self.by {
            By::Kexec => kexec::start(),
            By::Loader => kexec::restart(),
        };
        warn!("the kernel {} can not be started: {error}", self.release);
        for disk in &writable {
            if let Err(error) = mount::remount_writable(disk) {
                warn!("{}: {error}", disk.display());
            }
        }
        forget(&self.note);
        let _ = kexec::unload();
    }
}

/// Has the kernel of this release started, by the running one or else by the boot loader.
fn load_from(
    files: &dyn Fn() -> Result<[File; 2]>,
    release: &str,
    places: &Places,
    running: &Modules,
    config: &Config,
) -> Result<By> {
    let refused = match load_beside(files()?, release, places) {
        Ok(()) => return Ok(By::Kexec),
        // What came over the network comes so again, and with words that do not fit the disk.
        Err(error) if !config.boot_loader || config.install.is_some() => return Err(error),
        Err(error) => error,
    };
    warn!("{refused}: the boot loader is to start it, once");
    let loader = loader(places, running)?;
    let configuration = places.config.parent().unwrap_or(Path::new("/"));
    let words = words_for_once(&places.command_line(), &format!("{WORD}={release}"));
    loader.start_once(&Kernel::new(files()?, release, configuration, words)?)?;
    info!(
        "{} starts it now: this machine starts again",
        loader.title()
    );
    Ok(By::Loader)
}

/// The disk's boot loader.
fn loader(places: &Places, running: &Modules) -> Result<Loader> {
    let disk = places.disk();
    running.load(&FOR_LOADERS, &disk);
    Loader::find(&disk)
}

/// Takes away what the boot loader had for the one boot that did not come to its end.
fn tidy(places: &Places, running: &Modules, config: &Config) {
    if config.boot_loader
        && let Err(error) = loader(places, running).and_then(|it| it.forget_once())
    {
        info!("{error}");
    }
}

/// Has the running kernel read this one. The configuration of this initramfs comes behind that of the other: that is the model's, and this is what
/// the clone was told.
fn load_beside([kernel, mut initramfs]: [File; 2], release: &str, places: &Places) -> Result<()> {
    let configuration = places.config.parent().unwrap_or(Path::new("/"));
    let name = Path::new(release);
    let whole = with_configuration(&mut initramfs, configuration, configuration)
        .map_err(Error::system("can not copy the initramfs of", name))?;
    let words = format!("{} {WORD}={release}", places.command_line());
    kexec::load(&kernel, &whole, &words).map_err(Error::system("the running kernel refuses", name))
}

fn forget(note: &Path) {
    match fs::remove_file(note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!("{}: {error}", note.display());
        }
        _ => {}
    }
}
