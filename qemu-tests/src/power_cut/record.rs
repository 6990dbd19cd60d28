//! Boots a machine that has nothing but a kernel, the agent and `power_cut_machine`, and records what it writes to its disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::cuts::Cut;
use super::image::Image;
use super::plain::{Kind, make, make_disk};
use super::steps::STEPS;
use super::stores::Stores;
use super::write_log::{self, Epoch};
use crate::image::{Tree, run};
use crate::initramfs::System;

/// Longer than any recording takes, in seconds.
const DEADLINE: &str = "500";
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

/// What a clone wrote to its disk from its first boot to its last shutdown.
pub struct Recording {
    /// Its file system.
    pub kind: Kind,
    /// The disk before.
    pub image: Image,
    /// What was written.
    pub epochs: Vec<Epoch>,
}

impl Recording {
    /// For people: what was wrong after a cut.
    pub fn violation(&self, cut: &Cut, wrong: &str) -> String {
        let epoch = &self.epochs[cut.epoch];
        let (name, cut) = (self.kind.name, cut.describe(epoch));
        format!("{name}, {cut}, {} steps done: {wrong}", epoch.done)
    }
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
        // For the disk with a system partition.
        let modules = "vfat\nnls_cp437\nnls_ascii\n";
        tree.write("etc/initramfs-tools/modules", modules)?;
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
        let size = make_disk(&disk, &kind)?;
        let image = Image::read(&File::open(&disk)?, size)?;
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
        let epochs = write_log::read(&log, size)?;
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
