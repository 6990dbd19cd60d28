//! A small file system of its own for the clone, in a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use crate::mounts::Mount;
use crate::programs::succeed;

/// The smallest that each kind can be and still lets a sync leave its margin.
const EXT4: u64 = 64 << 20;
const XFS: u64 = 300 << 20;

pub struct Disk {
    mount: Option<Mount>,
    pub at: PathBuf,
}

impl Disk {
    /// A new file system of this kind, mounted below `folder`. Some of it is a plainly installed system.
    pub fn new(folder: &Path, kind: &str) -> Self {
        let (image, at) = (folder.join("disk.img"), folder.join("disk"));
        let size = if kind == "xfs" { XFS } else { EXT4 };
        File::create(&image).unwrap().set_len(size).unwrap();
        succeed(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        let mount = Mount::new(kind, &image, "loop", &at);
        fs::create_dir(at.join("etc")).unwrap();
        fs::write(at.join("etc/hostname"), "plain\n").unwrap();
        Self {
            mount: Some(mount),
            at,
        }
    }

    /// The file that fills it.
    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Leaves about this many bytes free.
    pub fn fill(&self, free: u64) {
        let stat = statvfs(&self.at).unwrap();
        let there = stat.blocks_available() * stat.fragment_size();
        let size = there.saturating_sub(free);
        let mut fallocate = Command::new("fallocate");
        fallocate.args(["-l", &size.max(1).to_string()]);
        // What the file system needs for itself may leave less than it said.
        let _ = fallocate.arg(self.ballast()).output().unwrap();
    }

    pub fn empty(&self) {
        let _ = fs::remove_file(self.ballast());
    }
}

impl Drop for Disk {
    /// A machine that has just ended may hold it for a moment.
    fn drop(&mut self) {
        let is_free = |_: &u32| {
            let done = Command::new("umount").arg(&self.at).output().unwrap();
            if !done.status.success() {
                thread::sleep(Duration::from_millis(20));
            }
            done.status.success()
        };
        match (0..250).find(is_free) {
            Some(_) => std::mem::forget(self.mount.take()),
            None => drop(self.mount.take()),
        }
    }
}
