//! Mounts that end with their value. Tests that need them run as root and say so where they can not.
#![allow(dead_code)] // Each test program needs a part of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A mount at a folder of its own.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts with the program `mount`, or gives what it complained about.
    pub fn try_new(kind: &str, source: &Path, options: &str, at: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(at).unwrap();
        let output = Command::new("mount")
            .args(["-t", kind, "-o", options])
            .arg(source)
            .arg(at)
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(Self { at: at.to_owned() }),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    pub fn new(kind: &str, source: &Path, options: &str, at: &Path) -> Self {
        Self::try_new(kind, source, options, at).unwrap()
    }

    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let output = Command::new("umount").arg(&self.at).output().unwrap();
            if output.status.success() || std::thread::panicking() {
                return;
            }
            // Loop devices, and namespaces that another test leaves, let go of it a moment later.
            assert!(Instant::now() < end, "{output:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A new ext4 file system with large xattrs below `folder`, mounted.
pub fn ext4(folder: &Path, mib: u64) -> Mount {
    disk(
        folder,
        mib,
        &["mkfs.ext4", "-q", "-N", "40000", "-O", "ea_inode"],
    )
}

/// A new xfs file system below `folder`, mounted.
pub fn xfs(folder: &Path, mib: u64) -> Mount {
    disk(folder, mib.max(300), &["mkfs.xfs", "-q"])
}

/// A new file system below `folder`, made with this command and mounted.
fn disk(folder: &Path, mib: u64, mkfs: &[&str]) -> Mount {
    let image = folder.join("disk");
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(mib << 20).unwrap();
    let output = Command::new(mkfs[0])
        .args(&mkfs[1..])
        .arg(&image)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let kind = mkfs[0].trim_start_matches("mkfs.");
    Mount::new(kind, &image, "loop", &folder.join("mounted"))
}

/// Whether this is root; says so where it is not.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: mounting needs root");
    }
    root
}
