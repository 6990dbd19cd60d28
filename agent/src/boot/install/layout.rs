//! The partitions of an installed disk, what is on them before the first generation comes, and how they are found again.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::boot::partition;
use crate::error::{Error, Result};

/// How long udev may take to name a partition.
const LONGEST: Duration = Duration::from_secs(30);
/// Folders of a root partition that has nothing but a pool. An initramfs looks for some.
const FOLDERS: [&str; 6] = ["boot/efi", "dev", "etc", "proc", "run", "sys"];

/// The UUID of the boot loader's partition, by that of the root's, which ends with 0.
pub fn esp(root: &str) -> String {
    format!("{}1", &root[..root.len() - 1])
}

/// Waits for the partition of this UUID.
pub fn partition(uuid: &str) -> Result<PathBuf> {
    let path = partition::device(&format!("PARTUUID={uuid}"));
    let waited = partition::wait_for(&path, Instant::now() + LONGEST);
    waited.map_err(Error::system("can not find the partition", &path))?;
    Ok(path)
}

/// Makes partitions and file systems on an empty disk. GRUB needs the first one where BIOS starts the machine.
pub fn make(disk: &Path, root: &str, host_name: &str, scratch: &Path) -> Result<()> {
    let esp = esp(root);
    let script = format!(
        "label: gpt\nlabel-id: {root}\n\
         start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649\n\
         size=512MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid={esp}, name=reclone-esp\n\
         type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid={root}, name=reclone-root\n"
    );
    run(
        Command::new("sfdisk")
            .args(["--quiet", "--wipe", "always"])
            .arg(disk),
        &script,
    )?;
    let (esp_device, root_device) = (partition(&esp)?, partition(root)?);
    run(
        Command::new("mkfs.vfat").args(["-F", "32"]).arg(esp_device),
        "",
    )?;
    let plain = scratch.join("plain");
    let fill = || -> io::Result<()> {
        for folder in FOLDERS {
            fs::create_dir_all(plain.join(folder))?;
        }
        fs::write(plain.join("etc/hostname"), format!("{host_name}\n"))?;
        let fstab = format!(
            "UUID={root} / ext4 errors=remount-ro 0 1\nPARTUUID={esp} /boot/efi vfat umask=0077 0 1\n"
        );
        fs::write(plain.join("etc/fstab"), fstab)
    };
    fill().map_err(Error::system("can not fill", &plain))?;
    // Older versions of GRUB can not read a file system with the feature.
    let mut ext4 = Command::new("mke2fs");
    ext4.args([
        "-q",
        "-F",
        "-t",
        "ext4",
        "-O",
        "^metadata_csum_seed",
        "-U",
        root,
        "-d",
    ]);
    run(ext4.arg(&plain).arg(root_device), "")?;
    nix::unistd::sync();
    fs::remove_dir_all(&plain).map_err(Error::system("can not remove", &plain))
}

/// Runs a program, with this on its standard input, to its good end.
pub fn run(command: &mut Command, input: &str) -> Result<()> {
    let all = |command: &mut Command| -> io::Result<()> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            // One that does not read says why.
            let _ = pipe.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().next_back().unwrap_or_default();
        match output.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("{}: {last}", output.status))),
        }
    };
    let done = all(command);
    done.map_err(Error::system(
        "can not run",
        Path::new(command.get_program()),
    ))
}
