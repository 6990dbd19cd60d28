//! The kernel of the generation that boots. Modules, firmware and kernel belong together: where the generation has no modules for the
//! kernel that runs, its own kernel takes over, in this boot.
//!
//! What keeps this from a loop: the new kernel is told that it was started so, and starts no further one; and a note in the pool, written
//! before and removed by the agent that comes up after, keeps a kernel from which none came back from being started again.

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
use crate::kernels::newest_in;
use crate::modules::Modules;
use crate::pool::{Pool, replace};
use crate::state::Generation;
use crate::sys::{kexec, mount};

/// The word on the kernel command line of one that was started here.
const WORD: &str = "reclone.kernel";

/// A kernel that is loaded and not started.
pub struct Loaded {
    release: String,
    note: PathBuf,
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
            return Ok(None);
        }
        let Some(release) = newest_in(root) else {
            // The warning is for assemble, which leaves it for the previous one.
            info!("{without}, and none of its own with modules and an initramfs");
            return Ok(None);
        };
        info!("{without}: starting its own, {release}");
        load_from(root, &release, places)?;
        Ok(Some(release))
    });
    let loaded = found.and_then(|release| match release {
        Some(release) => {
            replace(&note, &format!("{}\n", generation.manifest))?;
            Ok(Some(Loaded { release, note }))
        }
        None => Ok(None),
    });
    loaded.unwrap_or_else(|error| {
        warn!("{error}: its kernel can not be started");
        None
    })
}

impl Loaded {
    /// Starts it. `disks` are read-only then, and clean. Returns only where it can not; then they are writable again.
    pub fn start(self, disks: &[&Path]) {
        let writable = make_read_only(disks);
        nix::unistd::sync();
        let Err(error) = kexec::start();
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

/// Reads kernel and initramfs of this release, and has the configuration of this initramfs come behind the other: that is the model's, and this
/// is what the clone was told.
fn load_from(root: &Path, release: &str, places: &Places) -> Result<()> {
    let open = |path: &Path| File::open(path).map_err(Error::system("can not open", path));
    let path = root.join(format!("boot/vmlinuz-{release}"));
    let kernel = open(&path)?;
    let mut initramfs = open(&root.join(format!("boot/initrd.img-{release}")))?;
    let configuration = places.config.parent().unwrap_or(Path::new("/"));
    let whole = with_configuration(&mut initramfs, configuration, configuration)
        .map_err(Error::system("can not copy the initramfs behind", root))?;
    let words = format!("{} {WORD}={release}", places.command_line());
    kexec::load(&kernel, &whole, &words).map_err(Error::system("the running kernel refuses", &path))
}

fn forget(note: &Path) {
    match fs::remove_file(note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!("{}: {error}", note.display());
        }
        _ => {}
    }
}
