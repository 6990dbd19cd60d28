//! Takes a recording through its cuts, on all processors. Each worker has a mount namespace with a small root of its own, as in
//! an initramfs, and a loop device whose file is in memory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::chroot;

use super::boot_loader::{SEEN, look_by_grub};
use super::check::{Disk, Promise, check};
use super::cuts::{Cut, choose};
use super::image::{Image, Undo};
use super::record::Recording;
use super::replayed::Known;
use super::steps::ROOT_AT;
use super::stores::Stores;
use super::write_log::Epoch;
use crate::image::run;

/// How many cuts there are to one whose disk is booted, whether or not what is on it is known, and read by a boot loader.
const SAMPLE: usize = 16;

/// How many disks GRUB's own code reads, which is a program to start for each file.
const BY_GRUB: usize = 30;

/// What came out.
pub struct Outcome {
    /// How many cuts were tried.
    pub points: usize,
    /// How many of their disks were booted.
    pub booted: usize,
    /// What was wrong, each with its cut.
    pub violations: Vec<String>,
}

/// Where disks are in memory; it goes with the program.
pub struct Workshop {
    folder: PathBuf,
    agent: PathBuf,
    /// Held for as long as this run goes on.
    _lock: Flock<File>,
}

impl Workshop {
    /// Makes it at `folder`, in a mount namespace of this program alone: call it before there are threads. `agent` is what boots
    /// after a cut.
    pub fn open(folder: &Path, agent: &Path) -> io::Result<Workshop> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.with_extension("lock"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| io::Error::other(format!("another run works in {}", folder.display())))?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount_new("tmpfs", folder)?;
        Ok(Workshop {
            folder: folder.to_owned(),
            agent: agent.to_owned(),
            _lock: lock,
        })
    }

    /// Tries at most `wanted` cuts of a recording, until `enough` of them were violations; `seed` begins what is left to chance.
    pub fn explore(
        &self,
        recording: &Recording,
        stores: &Stores,
        (wanted, enough): (usize, usize),
        seed: u64,
    ) -> io::Result<Outcome> {
        let cuts = choose(&recording.epochs, wanted, seed);
        // A worker waits for the kernel for a part of its time.
        let workers = 3 * thread::available_parallelism().map_or(1, usize::from);
        let (found, known) = (AtomicUsize::new(0), Known::default());
        let job = Job {
            recording,
            stores,
            enough,
            found: &found,
            known: &known,
        };
        let shares: Vec<Vec<&Cut>> = (0..workers)
            .map(|worker| cuts.iter().skip(worker).step_by(workers).collect())
            .collect();
        // Here, for the workers' own roots have no program that detaches loop devices.
        let sizes = (recording.image.size(), recording.kind.size);
        let workers: Vec<Worker> = (0..workers)
            .map(|number| Worker::prepare(self, number, sizes))
            .collect::<io::Result<_>>()?;
        let (results, by_grub) = thread::scope(|scope| {
            let by_grub = scope.spawn(|| self.ask_grub(&job, &cuts));
            let start = |(worker, share): (_, _)| {
                let (worker, job): (&Worker, _) = (worker, &job);
                scope.spawn(move || worker.run(job, share))
            };
            let running: Vec<_> = workers.iter().zip(shares).map(start).collect();
            let died = || io::Error::other("a worker died");
            let results = running
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| Err(died())))
                .collect::<io::Result<Vec<Outcome>>>()?;
            let by_grub = by_grub.join().unwrap_or_else(|_| Err(died()))?;
            Ok::<_, io::Error>((results, by_grub))
        })?;
        let violations = results.iter().flat_map(|it| it.violations.clone());
        Ok(Outcome {
            points: results.iter().map(|it| it.points).sum(),
            booted: results.iter().map(|it| it.booted).sum(),
            violations: violations.chain(by_grub).collect(),
        })
    }

    /// Has GRUB's own code read some of the disks that a cut of the boot loader's part leaves. Gives what was wrong.
    fn ask_grub(&self, job: &Job, cuts: &[Cut]) -> io::Result<Vec<String>> {
        let recording = job.recording;
        let promise = |cut: &Cut| Promise::at(&recording.epochs[cut.epoch]);
        let changing = |cut: &&Cut| promise(cut).is_in_loader();
        let all: Vec<&Cut> = cuts.iter().filter(changing).collect();
        let path = self.folder.join("grub");
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        let disk = options.open(&path)?;
        disk.set_len(recording.image.size())?;
        let (mut replay, mut violations) = (Replay::begin(recording), Vec::new());
        let every = all.len().div_ceil(BY_GRUB).max(1);
        for cut in all.into_iter().step_by(every) {
            if job.found.load(Ordering::Relaxed) >= job.enough {
                break;
            }
            replay.cut(cut, &disk)?;
            let looked = look_by_grub(
                &path,
                recording.kind.loader,
                promise(cut).starts(),
                job.stores,
            );
            if let Err(wrong) = looked {
                job.found.fetch_add(1, Ordering::Relaxed);
                violations.push(recording.violation(cut, &wrong));
            }
        }
        Ok(violations)
    }
}

struct Job<'a> {
    recording: &'a Recording,
    stores: &'a Stores,
    enough: usize,
    found: &'a AtomicUsize,
    known: &'a Known,
}

/// A loop device and the root that its disk is booted in.
struct Worker {
    disk: File,
    device: LoopDevice,
    root: PathBuf,
    agent: PathBuf,
}

impl Worker {
    /// `size` is the disk's, `root` the root partition's.
    fn prepare(workshop: &Workshop, number: usize, (size, root): (u64, u64)) -> io::Result<Worker> {
        let path = workshop.folder.join(format!("disk-{number}"));
        let disk = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        disk.set_len(size)?;
        Ok(Worker {
            device: LoopDevice::attach(&path, root)?,
            disk,
            root: workshop.folder.join(format!("root-{number}")),
            agent: workshop.agent.clone(),
        })
    }

    fn run(&self, job: &Job, cuts: Vec<&Cut>) -> io::Result<Outcome> {
        self.enter(&job.stores.folder)?;
        let mut replay = Replay::begin(job.recording);
        let mut outcome = Outcome {
            points: 0,
            booted: 0,
            violations: Vec::new(),
        };
        for cut in cuts {
            if job.found.load(Ordering::Relaxed) >= job.enough {
                break;
            }
            replay.cut(cut, &self.disk)?;
            let is_sample = outcome.points.is_multiple_of(SAMPLE);
            outcome.points += 1;
            let disk = Disk {
                file: &self.disk,
                device: &self.device.path,
                kind: &job.recording.kind,
            };
            let promise = Promise::at(&job.recording.epochs[cut.epoch]);
            match check(&disk, &promise, job.stores, job.known, is_sample)? {
                Ok(booted) => outcome.booted += usize::from(booted),
                Err(wrong) => {
                    job.found.fetch_add(1, Ordering::Relaxed);
                    let line = job.recording.violation(cut, &wrong);
                    outcome.violations.push(line);
                }
            }
        }
        Ok(outcome)
    }

    /// Makes this thread's root one that has the agent, the stores and the kernel's file systems, and no more.
    fn enter(&self, stores: &Path) -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        for name in [
            "dev",
            "proc",
            "sys",
            "run",
            "root",
            "newest",
            SEEN,
            "stores",
            "etc/reclone",
        ] {
            fs::create_dir_all(self.root.join(name.trim_start_matches('/')))?;
        }
        fs::copy(&self.agent, self.root.join("reclone"))?;
        // Counted boots are in the recording; each of these would be the first after its cut.
        let config = "store = /nowhere\nkey = /stores/key.pub\ntrial.boots = 0\n";
        fs::write(self.root.join("etc/reclone/reclone.conf"), config)?;
        mount_new("proc", &self.root.join("proc"))?;
        mount_new("sysfs", &self.root.join("sys"))?;
        mount_new("tmpfs", &self.root.join("run"))?;
        bind(Path::new("/dev"), &self.root.join("dev"))?;
        bind(stores, &self.root.join("stores"))?;
        chroot(&self.root)?;
        std::env::set_current_dir("/")
    }
}

/// A recorded disk from one cut to the next.
struct Replay<'a> {
    epochs: &'a [Epoch],
    /// All epochs before this one are in the image.
    at: usize,
    image: Image,
}

impl<'a> Replay<'a> {
    fn begin(recording: &'a Recording) -> Self {
        Replay {
            epochs: &recording.epochs,
            at: 0,
            image: recording.image.clone(),
        }
    }

    /// Makes `disk` what this cut leaves, which may not be before the last one.
    fn cut(&mut self, cut: &Cut, disk: &File) -> io::Result<()> {
        for epoch in &self.epochs[self.at..cut.epoch] {
            for write in &epoch.writes {
                self.image
                    .write(write.offset, &write.data, &mut Undo::new());
            }
        }
        self.at = cut.epoch;
        let mut undo = Undo::new();
        for (offset, piece) in cut.pieces(&self.epochs[self.at]) {
            self.image.write(offset, piece, &mut undo);
        }
        self.image.restore(disk)?;
        self.image.undo(undo);
        Ok(())
    }
}

struct LoopDevice {
    path: String,
}

impl LoopDevice {
    /// The partition at [`ROOT_AT`] of a disk.
    fn attach(disk: &Path, size: u64) -> io::Result<LoopDevice> {
        let [at, size] = [ROOT_AT, size].map(|it| it.to_string());
        let options = ["--find", "--show", "--offset", &at, "--sizelimit", &size];
        let said = run(Command::new("losetup").args(options).arg(disk))?;
        let path = said.trim().to_owned();
        // Where the kernel can: what reads a journal block by block waits less.
        let _ = run(Command::new("losetup").args(["--direct-io=on", &path]));
        Ok(LoopDevice { path })
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = run(Command::new("losetup").arg("--detach").arg(&self.path));
    }
}

fn mount_new(kind: &str, place: &Path) -> io::Result<()> {
    let none: Option<&str> = None;
    Ok(mount(
        Some(kind),
        place,
        Some(kind),
        MsFlags::empty(),
        none,
    )?)
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    let none: Option<&str> = None;
    Ok(mount(Some(from), to, none, MsFlags::MS_BIND, none)?)
}
