//! The pool on a clone's disk while no machine runs: what is in it, and how to damage it.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::image::run;

/// Checks the pool of a booted clone, once what its boot set aside is removed, which a slow machine still does.
pub const VERIFY: &str =
    "while /run/initramfs/reclone verify 2>/dev/null; [ $? = 7 ]; do sleep 1; done";

/// An object of a pool: its path on the disk and its size in bytes.
pub struct Object {
    /// From the top of the disk.
    pub path: String,
    /// In bytes.
    pub size: u64,
}

/// Every object on an ext4 disk.
pub fn objects(disk: &Path) -> io::Result<Vec<Object>> {
    let mut found = Vec::new();
    for byte in 0..=255u8 {
        let folder = format!("/reclone/objects/{byte:02x}");
        let listing = debugfs(disk, &format!("ls -p {folder}"))?;
        // inode, mode, owner, group, name, size between slashes
        let parse = |line: &str| {
            let fields: Vec<&str> = line.split('/').collect();
            let name = fields.get(5).filter(|name| !name.starts_with('.'))?;
            let size = fields.get(6)?.parse().ok()?;
            Some(Object {
                path: format!("{folder}/{name}"),
                size,
            })
        };
        found.extend(listing.lines().filter_map(parse));
    }
    Ok(found)
}

impl Object {
    /// Overwrites its first block.
    pub fn damage(&self, disk: &Path) -> io::Result<()> {
        debugfs(disk, &format!("zap_block -f {} -p 165 0", self.path)).map(drop)
    }

    /// Removes it.
    pub fn remove(&self, disk: &Path) -> io::Result<()> {
        debugfs(disk, &format!("rm {}", self.path)).map(drop)
    }
}

/// Runs debugfs on a disk that is not mounted.
fn debugfs(disk: &Path, request: &str) -> io::Result<String> {
    run(Command::new("debugfs")
        .args(["-w", "-R", request])
        .arg(disk))
}
