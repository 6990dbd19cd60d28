//! The whole system of the machine whose disk is recorded: it is process 1, does every step of `qemu_tests::power_cut`, and
//! notes each one that is done at the end of the disk.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::chroot;
use qemu_tests::power_cut::steps::{
    DAMAGE, DAMAGE_AT, DISK, DRIFT, DRIFT_CONTENT, GOES_ON, MARK, MARKS, OBJECT, OWN, RESTORED,
    ROOT, SEEDED, STEPS, STORES, Step, unmount,
};

const AGENT: &str = "/usr/sbin/reclone";
/// A copy of it in a folder that the running clone has, too.
const AGENT_INSIDE: &str = "/run/agent";
/// With this word before it, a verb of the agent's is run in the running clone.
const INSIDE: &str = "inside";
const SHUTDOWN_PROGRAM: &str = "/run/initramfs/shutdown";
const POOL: &str = "/run/reclone/disk/reclone";
/// Longer than the journals' intervals, which are set to a second: what the kernel writes unasked gets written.
const PAUSE: Duration = Duration::from_millis(1300);

/// What is written past the kernel's caches has to begin at a multiple of its size.
#[repr(align(4096))]
struct Block([u8; 4096]);

fn main() {
    // The kernel dies with process 1, and what it says then would hide what went wrong.
    std::panic::set_hook(Box::new(|panic| {
        println!("power-cut: failed: {panic}");
        let _ = reboot(RebootMode::RB_POWER_OFF);
    }));
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(INSIDE) {
        run_inside(&arguments.next().unwrap());
    }
    let machine = Machine::start();
    for (number, (step, _)) in STEPS.iter().enumerate() {
        machine.run(*step);
        machine.mark(number);
        println!("power-cut: done: {step:?}");
        thread::sleep(PAUSE);
    }
}

struct Machine {
    disk: PathBuf,
    /// `cut.KEY=VALUE` on the kernel command line.
    words: HashMap<String, String>,
}

impl Machine {
    fn start() -> Machine {
        for (kind, place) in [
            ("proc", "/proc"),
            ("sysfs", "/sys"),
            ("devtmpfs", "/dev"),
            ("tmpfs", "/run"),
        ] {
            fs::create_dir_all(place).unwrap();
            mount_at(Path::new(kind), place, kind, MsFlags::empty(), "");
        }
        let line = fs::read_to_string("/proc/cmdline").unwrap();
        let words = line
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("cut.")?.split_once('='));
        let words: HashMap<String, String> = words
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        for module in [
            "virtio_pci",
            "virtio_blk",
            "loop",
            "erofs",
            "overlay",
            "vfat",
            "nls_cp437",
            "nls_ascii",
            &words["kind"],
        ] {
            succeed(Command::new("/sbin/modprobe").arg(module));
        }
        // The generations have no modules, and a boot tries again where they lack those of the initramfs.
        for folder in fs::read_dir("/lib/modules").unwrap().flatten() {
            fs::remove_file(folder.path().join("modules.dep")).unwrap();
        }
        // The least that XFS takes, in hundredths of a second.
        let _ = fs::write("/proc/sys/fs/xfs/xfssyncd_centisecs", "100");
        fs::create_dir_all(STORES).unwrap();
        mount_at(&disk("stores"), STORES, "ext4", MsFlags::MS_RDONLY, "");
        fs::copy(AGENT, AGENT_INSIDE).unwrap();
        let disk = disk("root");
        // By this name the plain system's fstab calls its partitions.
        assert_eq!(disk, Path::new("/dev/vda"));
        Machine { disk, words }
    }

    fn run(&self, step: Step) {
        let pool = ["--pool", POOL];
        match step {
            Step::Boot(store) => self.boot(store),
            Step::Session(name) => write_as_users_do(name),
            Step::Restore => self.restore(),
            Step::Thaw => succeed(self.agent("thaw").args(pool).args(["--boots", "2"])),
            Step::Freeze => succeed(self.agent("freeze").args(pool)),
            Step::Halt => halt(),
            Step::Rollback => succeed(self.agent("rollback").args(pool)),
            Step::Sync(number) => succeed(self.agent("sync").args(pool).args(from(number))),
            Step::Reset(number) => succeed(self.agent("reset").args(pool).args(from(number))),
            Step::Loader => {
                for verb in ["good", "loader"] {
                    succeed(self.program(Path::new("/init")).args([INSIDE, verb]));
                }
            }
            Step::Prune => succeed(self.agent("prune").args(pool)),
            Step::Damage => damage(),
            Step::Shutdown => shut_down(),
        }
    }

    fn agent(&self, verb: &str) -> Command {
        let mut agent = self.program(Path::new(AGENT));
        agent.arg(verb);
        agent
    }

    /// A program that runs the agent, or is it.
    fn program(&self, path: &Path) -> Command {
        let mut program = Command::new(path);
        for variable in ["RECLONE_OMIT", "RECLONE_PAUSE"] {
            if let Some(value) = self.words.get(variable) {
                program.env(variable, value);
            }
        }
        program
    }

    fn boot(&self, store: u64) {
        fs::create_dir_all(ROOT).unwrap();
        fs::create_dir_all("/etc/reclone").unwrap();
        let config = format!("store = {STORES}/{store}\nkey = {STORES}/key.pub\n");
        fs::write("/etc/reclone/reclone.conf", config).unwrap();
        mount_at(
            Path::new("/dev/vda1"),
            ROOT,
            &self.words["kind"],
            MsFlags::empty(),
            &self.words["options"],
        );
        succeed(self.agent("boot").args(["--root", ROOT]));
    }

    fn restore(&self) {
        let place = format!("{DISK}/{RESTORED}");
        fs::create_dir(&place).unwrap();
        let mut agent = self.agent("restore");
        succeed(agent.args(["--pool", POOL, "--to", &place, "/"]));
    }

    /// Writes the number of the step and the machine's id past all caches and without a sync: when this returns, the recording
    /// has it, and no write of the file system became safer by it.
    fn mark(&self, number: usize) {
        let id = fs::read_to_string(format!("{DISK}/reclone/keep/etc/machine-id"));
        let text = format!("{MARK}{number} {}\n", id.unwrap_or_default().trim());
        let mut block = Block([0; 4096]);
        block.0[..text.len()].copy_from_slice(text.as_bytes());
        let mut options = OpenOptions::new();
        let mut device = options
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(&self.disk)
            .unwrap();
        device.seek(SeekFrom::End(-(MARKS as i64))).unwrap();
        device.write_all(&block.0).unwrap();
    }
}

/// The disk with this serial number.
fn disk(serial: &str) -> PathBuf {
    let name = fs::read_dir("/sys/block").unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let found = fs::read_to_string(entry.path().join("serial")).ok()?;
        (found.trim() == serial).then(|| entry.file_name())
    });
    Path::new("/dev").join(name.unwrap())
}

fn from(store: u64) -> [String; 4] {
    [
        "--store".to_owned(),
        format!("{STORES}/{store}"),
        "--key".to_owned(),
        format!("{STORES}/key.pub"),
    ]
}

/// In mounts of its own, with the clone's root as the root: as a shell in it would.
fn run_inside(verb: &str) -> ! {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    for place in ["/dev", "/proc", "/run", "/sys"] {
        let to = format!("{ROOT}{place}");
        mount(
            Some(place),
            &*to,
            none,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            none,
        )
        .unwrap();
    }
    // The kernel of the generation was started by the agent, and runs: so it seems.
    let release = running_release();
    let line = fs::read_to_string("/proc/cmdline").unwrap();
    let line = format!("{} reclone.kernel={release}\n", line.trim());
    for (place, content) in [
        ("/proc/cmdline", line),
        ("/proc/sys/kernel/osrelease", format!("{release}\n")),
    ] {
        let file = Path::new("/run").join(Path::new(place).file_name().unwrap());
        fs::write(&file, content).unwrap();
        let to = format!("{ROOT}{place}");
        mount(Some(&file), &*to, none, MsFlags::MS_BIND, none).unwrap();
    }
    chroot(ROOT).unwrap();
    env::set_current_dir("/").unwrap();
    panic!("{}", Command::new(AGENT_INSIDE).arg(verb).exec());
}

/// Of the one kernel that the generation has.
fn running_release() -> String {
    let mut names = fs::read_dir(format!("{ROOT}/boot")).unwrap().flatten();
    let release = names.find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix("vmlinuz-").map(str::to_owned)
    });
    release.unwrap()
}

fn mount_at(source: &Path, place: &str, kind: &str, flags: MsFlags, options: &str) {
    mount(Some(source), place, Some(kind), flags, Some(options)).unwrap();
}

fn succeed(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// New files, and one that stays the machine's own; none is synced.
fn write_as_users_do(name: &str) {
    fs::write(format!("{ROOT}/etc/hostname"), format!("{name}\n")).unwrap();
    fs::write(format!("{ROOT}/{DRIFT}"), DRIFT_CONTENT).unwrap();
    fs::write(format!("{ROOT}/{GOES_ON}/{name}"), name).unwrap();
}

fn damage() {
    let object = fs::read_to_string(format!("{STORES}/{OBJECT}")).unwrap();
    let path = format!("{POOL}/objects/{object}");
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(DAMAGE, DAMAGE_AT).unwrap();
    file.sync_all().unwrap();
}

fn halt() {
    // Mounted once a policy says so.
    for folder in [OWN, SEEDED] {
        match unmount(&format!("{ROOT}/{folder}")) {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(error) => panic!("{folder}: {error}"),
        }
    }
    for place in [ROOT, "/run/initramfs", DISK] {
        unmount(place).unwrap();
    }
    fs::remove_dir_all("/run/reclone").unwrap();
}

/// What systemd does at its end, except that the root of the initramfs stays the root.
fn shut_down() {
    fs::create_dir_all("/oldroot").unwrap();
    let none: Option<&str> = None;
    for (from, to) in [(ROOT, "/oldroot"), (DISK, "/oldroot/run")] {
        mount(Some(from), to, none, MsFlags::MS_MOVE, none).unwrap();
    }
    panic!("{}", Command::new(SHUTDOWN_PROGRAM).arg("poweroff").exec());
}
