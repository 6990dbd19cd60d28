//! Partitions by their names, what file system is on one, and one mounted.

mod visit;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

pub use visit::{FIT, Visit, mount_pool_disk};

const TICK: Duration = Duration::from_millis(50);

/// File systems: name, and bytes that stand at this place of the partition. From Linux `include/uapi/linux/magic.h` and each
/// one's own header. FAT of 12 or 16 bits has its mark elsewhere than FAT of 32 bits.
const KNOWN: [(&str, u64, &[u8]); 8] = [
    ("ext4", 0x438, &[0x53, 0xef]),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 0x10040, b"_BHRfS_M"),
    ("f2fs", 0x400, &[0x10, 0x20, 0xf5, 0xf2]),
    ("exfat", 3, b"EXFAT   "),
    ("vfat", 0x52, b"FAT32   "),
    ("vfat", 0x36, b"FAT16   "),
    ("vfat", 0x36, b"FAT12   "),
];

/// udev's link for a name as fstab has it: `/dev/…`, or `LABEL=…`, `UUID=…`, `PARTLABEL=…`, `PARTUUID=…`.
pub fn device(name: &str) -> PathBuf {
    let link = |folder: &str, value: &str| Path::new("/dev/disk").join(folder).join(escaped(value));
    match name.split_once('=') {
        Some(("LABEL", value)) => link("by-label", value),
        Some(("UUID", value)) => link("by-uuid", value),
        Some(("PARTLABEL", value)) => link("by-partlabel", value),
        Some(("PARTUUID", value)) => link("by-partuuid", value),
        _ => name.into(),
    }
}

/// A label as udev has it in the name of a link: `MY STICK` is `MY\x20STICK`.
fn escaped(label: &str) -> String {
    let mut name = String::new();
    for letter in label.chars() {
        let stays = !letter.is_ascii() || letter.is_ascii_alphanumeric();
        match stays || "#+-.:=@_".contains(letter) {
            true => name.push(letter),
            false => drop(write!(name, "\\x{:02x}", u32::from(letter))),
        }
    }
    name
}

/// Waits until the device is there, until `end` at the longest; it is looked for once in any case.
pub fn wait_for(device: &Path, end: Instant) -> io::Result<()> {
    let started = Instant::now();
    while !device.exists() {
        if Instant::now() >= end {
            let what = match started.elapsed().as_secs() {
                0 => "it is not there".into(),
                seconds => format!("it did not show up within {seconds} s"),
            };
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        }
        thread::sleep(TICK);
    }
    Ok(())
}

/// Which of the file systems that will do is on it.
pub fn kind_of(device: &Path, fit: &[&str]) -> io::Result<&'static str> {
    let mut file = File::open(device)?;
    // What is too small to be read at all is said by this, and not by a place in the middle.
    file.read_exact(&mut [0; 4])?;
    let is = |at: u64, magic: &[u8]| {
        let mut bytes = vec![0; magic.len()];
        file.read_exact_at(&mut bytes, at).is_ok() && bytes == magic
    };
    let mut known = KNOWN.iter().filter(|(kind, ..)| fit.contains(kind));
    let found = known.find(|(_, at, magic)| is(*at, magic));
    found.map(|(kind, ..)| *kind).ok_or_else(|| {
        io::Error::other(format!(
            "it has no file system that will do: {}",
            fit.join(", ")
        ))
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
            ("LABEL=MY STICK", "/dev/disk/by-label/MY\\x20STICK"),
            ("LABEL=a/b\\ü", "/dev/disk/by-label/a\\x2fb\\x5cü"),
            ("UUID=1-2", "/dev/disk/by-uuid/1-2"),
            ("PARTLABEL=pool", "/dev/disk/by-partlabel/pool"),
            ("PARTUUID=3", "/dev/disk/by-partuuid/3"),
        ];
        for (name, path) in cases {
            assert_eq!(device(name), Path::new(path), "{name}");
        }
    }

    #[test]
    fn a_partition_that_is_missing_is_said_to_be() {
        for (seconds, said) in [(0, "it is not there"), (1, "it did not show up within 1 s")] {
            let end = Instant::now() + Duration::from_secs(seconds);
            let error = wait_for(Path::new("/dev/no such"), end).unwrap_err();
            assert_eq!(error.to_string(), said);
        }
    }

    #[test]
    fn a_file_system_is_known_by_its_magic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let fit = ["ext4", "btrfs"];
        let error = kind_of(file.path(), &fit).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it has no file system that will do: ext4, btrfs"
        );
        file.as_file().write_all_at(b"_BHRfS_M", 0x10040).unwrap();
        assert_eq!(kind_of(file.path(), &fit).unwrap(), "btrfs");
        assert!(kind_of(file.path(), &["vfat"]).is_err(), "another kind");
        file.as_file().set_len(2).unwrap();
        assert_eq!(
            kind_of(file.path(), &fit).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn fat_is_known_as_its_own_program_makes_it() {
        for (size, mib) in [("12", 2), ("16", 16), ("32", 64)] {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(mib << 20).unwrap();
            let mut mkfs = std::process::Command::new("mkfs.vfat");
            match mkfs.args(["-F", size]).arg(file.path()).output() {
                Err(error) => return eprintln!("SKIPPED: no mkfs.vfat: {error}"),
                Ok(output) => assert!(output.status.success(), "{output:?}"),
            }
            assert_eq!(kind_of(file.path(), &["vfat"]).unwrap(), "vfat", "{size}");
        }
    }
}
