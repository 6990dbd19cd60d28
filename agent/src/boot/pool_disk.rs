//! A pool on a partition of its own, mounted beside the root partition's place in `/run`.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::boot::partition;
use crate::error::{Error, Result};
use crate::sys::mount;

/// How long a disk may take to show up after the root partition's did.
const LONGEST: Duration = Duration::from_secs(10);
/// File systems that can hold a pool.
const FIT: [&str; 4] = ["ext4", "xfs", "btrfs", "f2fs"];

/// Mounts the partition `name` (`/dev/…`, or `LABEL=…`, `UUID=…`, `PARTLABEL=…`, `PARTUUID=…`) at `at`, which is made.
/// The kernel replays a journal; no fsck is run.
pub fn mount_pool_disk(name: &str, at: &Path) -> Result<()> {
    let device = partition::device(name);
    let failed =
        |error: io::Error| Error::system("can not mount the pool's partition", &device)(error);
    partition::wait_for(&device, Instant::now() + LONGEST).map_err(failed)?;
    let kind = partition::kind_of(&device, &FIT).map_err(failed)?;
    super::make_private_dir(at)?;
    mount::disk(&device, at, kind).map_err(|error| failed(error.into()))
}
