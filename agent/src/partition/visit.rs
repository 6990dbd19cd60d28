//! A pool on a partition of its own, mounted beside the root partition's place in `/run`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use log::warn;

use super::{device, kind_of, wait_for};
use crate::error::{Error, Result};
use crate::pool::make_private_dir;
use crate::sys::mount;

/// How long a disk may take to show up after the root partition's did.
const LONGEST: Duration = Duration::from_secs(10);
/// File systems that can hold a pool.
pub const FIT: [&str; 4] = ["ext4", "xfs", "btrfs", "f2fs"];

/// Mounts the partition `name` (`/dev/…`, or `LABEL=…`, `UUID=…`, `PARTLABEL=…`, `PARTUUID=…`) at `at`, which is made.
/// The kernel replays a journal; no fsck is run.
pub fn mount_pool_disk(name: &str, at: &Path) -> Result<()> {
    mount_by(name, at, Instant::now() + LONGEST, &FIT)
}

/// A partition that the system that runs does not use: mounted for as long as this lives.
pub struct Visit {
    at: PathBuf,
}

impl Visit {
    /// Mounts the partition `name`, with one of the file systems `fit`, at a folder of its own beside `at`: where one is removed, the kernel
    /// ends what other mount namespaces have there. All disks showed up long ago.
    pub fn begin(name: &str, at: &Path, fit: &[&str]) -> Result<Self> {
        static VISITS: AtomicU32 = AtomicU32::new(0);
        let number = VISITS.fetch_add(1, Ordering::Relaxed);
        let at = format!("{}-{}-{number}", at.display(), std::process::id());
        let at = PathBuf::from(at);
        mount_by(name, &at, Instant::now(), fit)?;
        Ok(Self { at })
    }

    /// Where it is mounted.
    pub fn top(&self) -> &Path {
        &self.at
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let ended = mount::unmount(&self.at).map_err(io::Error::from);
        if let Err(error) = ended.and_then(|()| fs::remove_dir(&self.at)) {
            warn!("{}: {error}", self.at.display());
        }
    }
}

fn mount_by(name: &str, at: &Path, end: Instant, fit: &[&str]) -> Result<()> {
    let device = device(name);
    let failed = |error: io::Error| Error::system("can not mount the partition", &device)(error);
    wait_for(&device, end).map_err(failed)?;
    let kind = kind_of(&device, fit).map_err(failed)?;
    make_private_dir(at)?;
    mount::disk(&device, at, kind).map_err(|error| failed(error.into()))
}
