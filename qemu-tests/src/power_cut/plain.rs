//! The disk of the machine that is recorded, before it is a clone's: its file systems, and the plain system on them.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

use super::boot_loader::Loader;
use super::steps::{MARKS, OWN, OWN_TEXT, ROOT_AT};
use crate::gpt::{self, Partition};
use crate::image::run;

/// The size of a system partition, in bytes: little, for FAT32.
const SYSTEM_PARTITION: u64 = 36 << 20;

/// A file system that clones have.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name for people.
    pub name: &'static str,
    /// The kernel's name.
    pub kind: &'static str,
    /// The program that makes one, with its options; it is told the file.
    make: &'static str,
    /// Its size in bytes.
    pub size: u64,
    /// With which it is mounted. Journals are written every second, so that they are between the steps, too.
    pub options: &'static str,
    /// What the disk is started by.
    pub loader: Loader,
}

impl Kind {
    /// The mount options for a boot after a cut, whose own writes nobody cuts: what is flushed is not waited for, where that can be had.
    pub fn for_next_boot(&self) -> String {
        match self.kind {
            "xfs" => self.options.to_owned(),
            _ => format!("{},nobarrier", self.options),
        }
    }

    /// The mount options for a reader that replays no journal.
    pub fn without_journal(&self) -> &'static str {
        match self.kind {
            "xfs" => "norecovery,nouuid",
            "btrfs" => "rescue=nologreplay",
            _ => "noload",
        }
    }

    /// The first byte of the system partition.
    pub fn partition_at(&self) -> u64 {
        ROOT_AT + self.size
    }
}

/// Every one that is tried.
pub const KINDS: [Kind; 7] = [
    Kind {
        name: "ext4-4k-ordered",
        kind: "ext4",
        make: "mkfs.ext4 -q -b 4096 -J size=4",
        size: 64 << 20,
        options: "data=ordered,commit=1",
        loader: Loader::Grub,
    },
    Kind {
        name: "ext4-1k-ordered",
        kind: "ext4",
        make: "mkfs.ext4 -q -b 1024 -J size=4",
        size: 64 << 20,
        options: "data=ordered,commit=1",
        loader: Loader::Grub,
    },
    Kind {
        name: "ext4-4k-writeback",
        kind: "ext4",
        make: "mkfs.ext4 -q -b 4096 -J size=4",
        size: 64 << 20,
        options: "data=writeback,commit=1",
        loader: Loader::Grub,
    },
    Kind {
        name: "ext4-1k-writeback",
        kind: "ext4",
        make: "mkfs.ext4 -q -b 1024 -J size=4",
        size: 64 << 20,
        options: "data=writeback,commit=1",
        loader: Loader::Grub,
    },
    Kind {
        name: "xfs",
        kind: "xfs",
        make: "mkfs.xfs -q",
        size: 300 << 20,
        options: "nouuid",
        loader: Loader::Grub,
    },
    Kind {
        name: "btrfs",
        kind: "btrfs",
        make: "mkfs.btrfs -q",
        size: 128 << 20,
        options: "commit=1",
        loader: Loader::Grub,
    },
    Kind {
        name: "systemd-boot",
        kind: "ext4",
        make: "mkfs.ext4 -q -b 4096 -J size=4",
        size: 64 << 20,
        options: "data=ordered,commit=1",
        loader: Loader::Bls,
    },
];

/// A sparse file of `size` bytes with a file system, made by `program`, a command line that `more` belongs to.
pub fn make(file: &Path, size: u64, program: &str, more: &[&Path]) -> io::Result<()> {
    let _ = fs::remove_file(file);
    File::create(file)?.set_len(size)?;
    let mut words = program.split(' ');
    let mut make = Command::new(words.next().unwrap_or_default());
    run(make.args(words).args(more).arg(file))?;
    Ok(())
}

/// A disk with the plain system on it: what the clone is before it is one. Gives its size without the place for marks.
pub fn make_disk(disk: &Path, kind: &Kind) -> io::Result<u64> {
    let root = disk.with_extension("root");
    make(&root, kind.size, kind.make, &[])?;
    let mut fstab = "/dev/vda1 / auto defaults 0 1\n".to_owned();
    let mut partitions = vec![Partition {
        name: "root",
        kind: "L",
        image: root.clone(),
    }];
    if kind.loader == Loader::Bls {
        let image = disk.with_extension("esp");
        make_system_partition(&image, kind.loader)?;
        fstab += "/dev/vda2 /boot/efi vfat umask=0077 0 1\n";
        partitions.push(Partition {
            name: "esp",
            kind: "U",
            image,
        });
    }
    fill(&root, kind.loader, &fstab)?;
    gpt::assemble(disk, &partitions)?;
    for partition in partitions {
        fs::remove_file(partition.image)?;
    }
    // The copy of the partition table is at the very end of that place.
    Ok(fs::metadata(disk)?.len() - MARKS)
}

fn fill(root: &Path, loader: Loader, fstab: &str) -> io::Result<()> {
    let place = root.with_extension("mnt");
    fs::create_dir_all(&place)?;
    run(Command::new("mount")
        .args(["-o", "loop"])
        .arg(root)
        .arg(&place))?;
    let filled = ["etc", "srv", "run", OWN]
        .iter()
        .try_for_each(|name| fs::create_dir(place.join(name)))
        .and_then(|()| fs::write(place.join("etc/hostname"), "plain\n"))
        .and_then(|()| fs::write(place.join(OWN).join("file"), OWN_TEXT))
        .and_then(|()| fs::write(place.join("etc/fstab"), fstab))
        .and_then(|()| match loader {
            Loader::Grub => loader.install(&place),
            Loader::Bls => Ok(()),
        });
    run(Command::new("umount").arg(&place))?;
    fs::remove_dir(&place)?;
    filled
}

/// Made by programs alone: the kernel of this machine may not know FAT.
fn make_system_partition(image: &Path, loader: Loader) -> io::Result<()> {
    let files = image.with_extension("files");
    fs::create_dir_all(&files)?;
    loader.install(&files)?;
    make(image, SYSTEM_PARTITION, "mkfs.vfat -F 32 -s 1", &[])?;
    let mut copy = Command::new("mcopy");
    copy.args(["-s", "-i"]).arg(image);
    for folder in fs::read_dir(&files)? {
        copy.arg(folder?.path());
    }
    run(copy.arg("::/"))?;
    fs::remove_dir_all(files)
}
