//! A pool on a partition of its own: found by its name, mounted beside the root partition's place in `/run`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sys::mount;

/// How long a disk may take to show up after the root partition's did.
const LONGEST: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(50);

/// File systems that can hold a pool: name, and bytes that stand at this place of the partition. From Linux
/// `include/uapi/linux/magic.h` and each one's own header.
const KNOWN: [(&str, u64, &[u8]); 4] = [
    ("ext4", 0x438, &[0x53, 0xef]),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 0x10040, b"_BHRfS_M"),
    ("f2fs", 0x400, &[0x10, 0x20, 0xf5, 0xf2]),
];

/// Mounts the partition `name` (`/dev/…`, or `LABEL=…`, `UUID=…`, `PARTLABEL=…`, `PARTUUID=…`) at `at`, which is made.
/// The kernel replays a journal; no fsck is run.
pub fn mount_pool_disk(name: &str, at: &Path) -> Result<()> {
    let device = device(name);
    let failed =
        |error: io::Error| Error::system("can not mount the pool's partition", &device)(error);
    wait_for(&device).map_err(failed)?;
    let kind = kind_of(&device).map_err(failed)?;
    super::make_private_dir(at)?;
    mount::disk(&device, at, kind).map_err(|error| failed(error.into()))
}

/// udev's link for a name.
fn device(name: &str) -> PathBuf {
    let link = |folder: &str, value: &str| Path::new("/dev/disk").join(folder).join(value);
    match name.split_once('=') {
        Some(("LABEL", value)) => link("by-label", value),
        Some(("UUID", value)) => link("by-uuid", value),
        Some(("PARTLABEL", value)) => link("by-partlabel", value),
        Some(("PARTUUID", value)) => link("by-partuuid", value),
        _ => name.into(),
    }
}

fn wait_for(device: &Path) -> io::Result<()> {
    let end = Instant::now() + LONGEST;
    while !device.exists() {
        if Instant::now() >= end {
            return Err(io::ErrorKind::NotFound.into());
        }
        thread::sleep(TICK);
    }
    Ok(())
}

fn kind_of(device: &Path) -> io::Result<&'static str> {
    let mut file = File::open(device)?;
    // What is too small to be read at all is said by this, and not by a place in the middle.
    file.read_exact(&mut [0; 4])?;
    let is = |at: u64, magic: &[u8]| {
        let mut bytes = vec![0; magic.len()];
        file.read_exact_at(&mut bytes, at).is_ok() && bytes == magic
    };
    let found = KNOWN.iter().find(|(_, at, magic)| is(*at, magic));
    found.map(|(kind, ..)| *kind).ok_or_else(|| {
        io::Error::other("it has no file system that can hold a pool: ext4, xfs, btrfs or f2fs")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_as_in_fstab() {
        let cases = [
            ("/dev/vdb1", "/dev/vdb1"),
            ("LABEL=pool", "/dev/disk/by-label/pool"),
            ("UUID=1-2", "/dev/disk/by-uuid/1-2"),
            ("PARTLABEL=pool", "/dev/disk/by-partlabel/pool"),
            ("PARTUUID=3", "/dev/disk/by-partuuid/3"),
        ];
        for (name, path) in cases {
            assert_eq!(device(name), Path::new(path), "{name}");
        }
    }

    #[test]
    fn a_file_system_is_known_by_its_magic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let error = kind_of(file.path()).unwrap_err();
        assert!(
            error.to_string().starts_with("it has no file system"),
            "{error}"
        );
        file.as_file().write_all_at(b"_BHRfS_M", 0x10040).unwrap();
        assert_eq!(kind_of(file.path()).unwrap(), "btrfs");
        file.as_file().set_len(2).unwrap();
        assert_eq!(
            kind_of(file.path()).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
