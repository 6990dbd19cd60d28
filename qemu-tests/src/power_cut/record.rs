//! Boots a machine that has nothing but a kernel, the agent and `power_cut_machine`, and records what it writes to its disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::image::Image;
use super::steps::{MARKS, OWN, OWN_TEXT, STEPS};
use super::stores::Stores;
use super::write_log::{self, Epoch};
use crate::image::{Tree, run};
use crate::initramfs::System;

/// Longer than any recording takes, in seconds.
const DEADLINE: &str = "200";
/// The size of the log's file, which is sparse.
const LOG: u64 = 1 << 30;

/// A barrier that the recorded agent leaves out.
#[derive(Clone, Copy, Debug)]
pub struct Omission {
    /// Its name.
    pub name: &'static str,
    /// How long the agent waits at each other one, in milliseconds.
    pub pause: u32,
}

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
    size: u64,
    /// With which it is mounted. Journals are written every second, so that they are between the steps, too.
    pub options: &'static str,
}

/// Every one that is tried.
pub const KINDS: [Kind; 6] = [
    Kind {
        name: "ext4-4k-ordered",
        kind: "ext4",
        make: "mkfs.ext4 -q -b 4096 -J size=4",
        size: 64 << 20,
        options: "data=ordered,commit=1",
    },
    Kind {
        name: "ext4-1k-ordered",
        kind: "ext4",
        make: "mkfs.ext4 -q -b 1024 -J size=4",
        size: 64 << 20,
        options: "data=ordered,commit=1",
    },
    Kind {
        name: "ext4-4k-writeback",
        kind: "ext4",
        make: "mkfs.ext4 -q -b 4096 -J size=4",
        size: 64 << 20,
        options: "data=writeback,commit=1",
    },
    Kind {
        name: "ext4-1k-writeback",
        kind: "ext4",
        make: "mkfs.ext4 -q -b 1024 -J size=4",
        size: 64 << 20,
        options: "data=writeback,commit=1",
    },
    Kind {
        name: "xfs",
        kind: "xfs",
        make: "mkfs.xfs -q",
        size: 300 << 20,
        options: "nouuid",
    },
    Kind {
        name: "btrfs",
        kind: "btrfs",
        make: "mkfs.btrfs -q",
        size: 128 << 20,
        options: "commit=1",
    },
];

/// What a clone wrote to its disk from its first boot to its last shutdown.
pub struct Recording {
    /// Its file system.
    pub kind: Kind,
    /// The disk before.
    pub image: Image,
    /// What was written.
    pub epochs: Vec<Epoch>,
}

/// Records one machine for each of `wanted`, side by side: they sleep most of the time. In the order of `wanted`.
pub fn record_all<T: Sync>(
    wanted: &[T],
    record: impl Fn(&T) -> io::Result<Recording> + Sync,
) -> io::Result<Vec<Recording>> {
    let record = &record;
    thread::scope(|scope| {
        let start = |one| scope.spawn(move || record(one));
        let running: Vec<_> = wanted.iter().map(start).collect();
        let died = |_| Err(io::Error::other("a recording died"));
        running
            .into_iter()
            .map(|recording| recording.join().unwrap_or_else(died))
            .collect()
    })
}

/// What machines to be recorded have in common.
pub struct Recorder {
    folder: PathBuf,
    kernel: PathBuf,
    initrd: Vec<u8>,
    stores: PathBuf,
}

impl Recorder {
    /// Takes kernel and modules from a Debian tree, and makes the disk with the stores.
    pub fn prepare(folder: &Path, stores: &Stores) -> io::Result<Recorder> {
        let tree = Tree::create(System::DEFAULT, &[], &folder.join("tree"))?;
        System::DEFAULT.initramfs.install_module(tree.root())?;
        System::DEFAULT.initramfs.make(&tree)?;
        let kernel = folder.join("vmlinuz");
        fs::copy(tree.boot_file("vmlinuz-")?, &kernel)?;
        let initrd = fs::read(tree.boot_file("initrd.img-")?)?;
        fs::remove_dir_all(tree.root())?;
        let disk = folder.join("stores.img");
        make(
            &disk,
            32 << 20,
            "mkfs.ext4 -q -d",
            &[stores.folder.as_path()],
        )?;
        Ok(Recorder {
            folder: folder.to_owned(),
            kernel,
            initrd,
            stores: disk,
        })
    }

    /// Records the machine with this file system and this agent, which leaves out a barrier if it is told to and can.
    pub fn record(
        &self,
        kind: Kind,
        agent: &Path,
        omit: Option<Omission>,
    ) -> io::Result<Recording> {
        let name = omit.map_or(kind.name.to_owned(), |omit| {
            format!("{}-{}", kind.name, omit.name)
        });
        let [initrd, disk, log, said] = ["initrd", "img", "writes", "console"]
            .map(|extension| self.folder.join(format!("{name}.{extension}")));
        self.make_initrd(&initrd, agent)?;
        make_root(&disk, &kind)?;
        let image = Image::read(&File::open(&disk)?, kind.size)?;
        File::create(&log)?.set_len(LOG)?;
        let omit = omit.map_or(String::new(), |omit| {
            let Omission { name, pause } = omit;
            format!("cut.RECLONE_OMIT={name} cut.RECLONE_PAUSE={pause}")
        });
        let words = format!(
            "console=ttyS0 quiet panic=-1 oops=panic cut.kind={} cut.options={} {omit}",
            kind.kind, kind.options
        );
        let mut qemu = self.qemu(&initrd, &disk, &log, &words);
        let ended = qemu
            .stdin(Stdio::null())
            .stdout(File::create(&said)?)
            .status()?;
        let console = String::from_utf8_lossy(&fs::read(&said)?).into_owned();
        // The last step does not return.
        let done = console.matches("power-cut: done: ").count() + 1;
        if !ended.success() || done != STEPS.len() {
            return Err(io::Error::other(format!(
                "The machine to be recorded did {done} of {} steps:\n{console}",
                STEPS.len()
            )));
        }
        let epochs = write_log::read(&log, kind.size)?;
        for file in [initrd, disk, log] {
            fs::remove_file(file)?;
        }
        Ok(Recording {
            kind,
            image,
            epochs,
        })
    }

    fn qemu(&self, initrd: &Path, disk: &Path, log: &Path, words: &str) -> Command {
        let mut qemu = Command::new("timeout");
        qemu.args([DEADLINE, "qemu-system-x86_64"]);
        let options = "-accel tcg,thread=single -cpu qemu64 -smp 1 -m 512 -nodefaults -no-reboot -display none \
            -serial stdio -monitor none -device virtio-rng-pci";
        qemu.args(options.split_ascii_whitespace());
        let file = |name: &str, path: &Path, more: &str| {
            format!(
                "driver=file,node-name={name},filename={}{more}",
                path.display()
            )
        };
        let recorded = "driver=blklogwrites,node-name=root,file=disk,log=log,log-sector-size=512,\
            log-super-update-interval=1";
        for node in [
            file("disk", disk, ""),
            file("log", log, ""),
            recorded.to_owned(),
            file("stores", &self.stores, ",read-only=on"),
        ] {
            qemu.arg("-blockdev").arg(node);
        }
        for device in [
            "virtio-blk-pci,drive=root,serial=root,discard=off,write-zeroes=off",
            "virtio-blk-pci,drive=stores,serial=stores",
        ] {
            qemu.args(["-device", device]);
        }
        qemu.arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(initrd);
        qemu.args(["-append", words]);
        qemu
    }

    /// The Debian initramfs with another process 1 and this agent.
    fn make_initrd(&self, path: &Path, agent: &Path) -> io::Result<()> {
        let folder = path.with_extension("files");
        fs::create_dir_all(folder.join("usr/sbin"))?;
        // Cargo puts a crate's programs side by side.
        let machine = std::env::current_exe()?.with_file_name("power_cut_machine");
        fs::copy(machine, folder.join("init"))?;
        fs::copy(agent, folder.join("usr/sbin/reclone"))?;
        run(Command::new("strip")
            .arg(folder.join("init"))
            .arg(folder.join("usr/sbin/reclone")))?;
        let mut pack = Command::new("cpio");
        pack.args(["--quiet", "-o", "-H", "newc", "-D"])
            .arg(&folder);
        let mut pack = pack.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        if let Some(mut input) = pack.stdin.take() {
            input.write_all(b"init\nusr\nusr/sbin\nusr/sbin/reclone\n")?;
        }
        let more = pack.wait_with_output()?;
        let mut initrd = self.initrd.clone();
        // The kernel overlooks an archive that does not begin at a multiple of four.
        initrd.resize(initrd.len().next_multiple_of(512), 0);
        initrd.extend(more.stdout);
        fs::remove_dir_all(folder)?;
        fs::write(path, initrd)
    }
}

/// A sparse file of `size` bytes with a file system, made by `program`, a command line that `more` belongs to.
fn make(file: &Path, size: u64, program: &str, more: &[&Path]) -> io::Result<()> {
    let _ = fs::remove_file(file);
    File::create(file)?.set_len(size)?;
    let mut words = program.split(' ');
    let mut make = Command::new(words.next().unwrap_or_default());
    run(make.args(words).args(more).arg(file))?;
    Ok(())
}

/// A disk with the plain system on it: what the clone is before it is one.
fn make_root(disk: &Path, kind: &Kind) -> io::Result<()> {
    make(disk, kind.size, kind.make, &[])?;
    let place = disk.with_extension("mnt");
    fs::create_dir_all(&place)?;
    run(Command::new("mount")
        .args(["-o", "loop"])
        .arg(disk)
        .arg(&place))?;
    let filled = ["etc", "srv", "run", OWN]
        .iter()
        .try_for_each(|name| fs::create_dir(place.join(name)))
        .and_then(|()| fs::write(place.join("etc/hostname"), "plain\n"))
        .and_then(|()| fs::write(place.join(OWN).join("file"), OWN_TEXT))
        .and_then(|()| fs::write(place.join("etc/fstab"), "/dev/vda / auto defaults 0 1\n"));
    run(Command::new("umount").arg(&place))?;
    fs::remove_dir(&place)?;
    filled?;
    File::options()
        .write(true)
        .open(disk)?
        .set_len(kind.size + MARKS)
}
