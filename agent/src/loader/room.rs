//! Whether a kernel will find room where the boot loader reads it: asked before a generation is fetched, in a system that runs.

use std::path::Path;

use log::warn;

use super::put::SPARE;
use super::{DISK, Loader};
use crate::error::{Error, Result};
use crate::fetch::Watcher;
use crate::kernels::Kernels;
use crate::manifest::read_manifest;
use crate::running::{self, Running};
use crate::sys::mount;

impl Loader {
    /// Bytes that are free where it reads kernels.
    pub fn free(&self) -> Result<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.home).map_err(Error::system(
            "can not ask for the free space of",
            &self.home,
        ))?;
        Ok(stat.blocks_available() * stat.fragment_size())
    }

    /// Fails where a kernel of this release, which takes so many bytes with its initramfs, has no room.
    pub fn check_room_for(&self, release: &str, bytes: u64) -> Result<()> {
        let (needed, free) = (bytes + SPARE, self.free()?);
        match needed <= free {
            true => Ok(()),
            false => Err(Error::Loader(format!(
                "{}: {} MiB are needed for the kernel {release}, {} MiB are free: remove old kernels in the plain system (reclone=off); until then the boot loader stays as it is",
                self.known_as.display(),
                needed.div_ceil(1 << 20),
                free >> 20
            ))),
        }
    }
}

/// Who watches a sync in a running clone: says before the transfer where the kernel that comes will find no room.
pub struct Lookout {
    /// Who else watches.
    pub inner: Box<dyn Watcher>,
    /// Whether the boot loader is to get kernels.
    pub wanted: fn() -> bool,
}

impl Watcher for Lookout {
    fn transferred(&self, done: u64, total: u64) {
        self.inner.transferred(done, total);
    }

    fn planned(&self, manifest: &Path) {
        if Running::at(Path::new("/")).is_some()
            && let Ok(Err(error)) = room_for(manifest)
            && (self.wanted)()
        {
            warn!("{error}");
        }
    }
}

/// Whether what a manifest has is going to have room. A boot loader that can not be looked at is told of when it is to get the kernel.
fn room_for(manifest: &Path) -> Result<Result<()>> {
    let kernels = Kernels::of(read_manifest(manifest)?);
    let kernels = kernels.map_err(Error::published("manifest"))?;
    match kernels.newest_after(&running::kernel().unwrap_or_default()) {
        Some((release, bytes)) => {
            mount::part()?;
            Ok(Loader::find(Path::new(DISK))?.check_room_for(release, bytes))
        }
        None => Ok(Ok(())),
    }
}
