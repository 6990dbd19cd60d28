//! Trees and disks. A tree is a folder unpacked from the cached Debian tar; a disk is a sparse ext4 file made of a tree.
//! Everything here runs as root: owners, devices and capabilities have to be right.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::initramfs::System;

/// The project's top folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the project's folder")
}

/// Runs a command to its end; its error stream is part of the error.
pub fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{command:?}: {}: {said}",
        output.status
    )))
}

/// A system tree in a folder of its own.
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Unpacks the Debian system at `root`, which is replaced, and lets root log in on the serial console. `packages` are
    /// installed beside those that every tree has.
    pub fn create(system: System, packages: &[&str], root: &Path) -> io::Result<Tree> {
        let tar = run(Command::new(project().join("qemu-tests/tree"))
            .args([system.suite, system.initramfs.package()])
            .args(packages))?;
        match fs::remove_dir_all(root) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(root)?,
        }
        run(Command::new("tar")
            .args([
                "--extract",
                "--xattrs",
                "--xattrs-include=*",
                "--numeric-owner",
                "--file",
            ])
            .arg(tar.trim())
            .arg("--directory")
            .arg(root))?;
        let tree = Tree::at(root);
        tree.write(
            "etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf",
            "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 %I dumb\n",
        )?;
        tree.write(
            "etc/fstab",
            "/dev/disk/by-id/virtio-root / ext4 errors=remount-ro 0 1\n",
        )?;
        tree.write("etc/hostname", "clone\n")?;
        Ok(tree)
    }

    /// The one that was created there.
    pub fn at(root: &Path) -> Tree {
        Tree {
            root: root.to_owned(),
        }
    }

    /// Where the tree lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file of the tree and the folders above it.
    pub fn write(&self, path: &str, content: &str) -> io::Result<()> {
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, content)
    }

    /// The one file in /boot whose name begins with `prefix`.
    pub fn boot_file(&self, prefix: &str) -> io::Result<PathBuf> {
        for entry in fs::read_dir(self.root.join("boot"))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                return Ok(entry.path());
            }
        }
        Err(io::Error::other(format!("The tree has no /boot/{prefix}*")))
    }

    /// Makes a sparse ext4 disk of the tree.
    pub fn to_disk(&self, disk: &Path, megabytes: u32) -> io::Result<()> {
        match fs::remove_file(disk) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        run(Command::new("mke2fs")
            .args([
                "-q",
                "-F",
                "-t",
                "ext4",
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0",
                "-d",
            ])
            .arg(&self.root)
            .arg(disk)
            .arg(format!("{megabytes}M")))?;
        Ok(())
    }
}

/// Copies a disk without filling its holes.
pub fn copy_disk(from: &Path, to: &Path) -> io::Result<()> {
    run(Command::new("cp").arg("--sparse=always").arg(from).arg(to))?;
    Ok(())
}

/// Whether the disk's ext4 was unmounted (its journal has nothing to replay), and is sound.
pub fn is_clean(disk: &Path) -> io::Result<bool> {
    let header = run(Command::new("dumpe2fs").arg("-h").arg(disk))?;
    if header.contains("needs_recovery") {
        return Ok(false);
    }
    run(Command::new("e2fsck").args(["-f", "-n"]).arg(disk))?;
    Ok(true)
}

/// Makes an empty ext4 disk with this label.
pub fn make_disk(disk: &Path, label: &str, megabytes: u32) -> io::Result<()> {
    run(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-L", label])
        .arg(disk)
        .arg(format!("{megabytes}M")))?;
    Ok(())
}

/// Replaces a file on an ext4 disk that no machine has.
pub fn replace_file(disk: &Path, path: &str, content: &str) -> io::Result<()> {
    let new = disk.with_extension("new");
    fs::write(&new, content)?;
    for request in [
        format!("rm {path}"),
        format!("write {} {path}", new.display()),
    ] {
        run(Command::new("debugfs")
            .args(["-w", "-R", &request])
            .arg(disk))?;
    }
    fs::remove_file(new)
}
