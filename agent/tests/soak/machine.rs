//! The clone while it runs: booted by the agent in a mount namespace, as in an initramfs, from the disk and the store of the
//! world. It runs until the value is dropped, as if the plug were pulled then; what was written stays written.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::programs::reclone;

/// Mounts what an initramfs has and boots. The mounts end with this shell or with what it becomes.
const BOOT: &str = r#"
mount --make-rprivate /
cd "$1"
mount -t tmpfs tmpfs run
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --bind /dev dev
mount --bind cmdline proc/cmdline
mount --bind "$2" reclone
mount --bind "$3" root
mount --bind "$4" served
if [ "$5" = stay ]; then
    chroot . /reclone boot --root /root 2>log
    echo booted
    exec cat
fi
exec chroot . /reclone boot --root /root 2>log
"#;

/// Where things are, and how a machine is started.
pub struct Slot {
    top: PathBuf,
    disk: PathBuf,
    served: PathBuf,
}

impl Slot {
    /// `served` is the folder in which the store is, or is not.
    pub fn new(top: PathBuf, disk: PathBuf, served: PathBuf, key: &Path) -> Self {
        for name in ["proc", "sys", "dev", "root", "run", "served", "etc/reclone"] {
            fs::create_dir_all(top.join(name)).unwrap();
        }
        File::create(top.join("reclone")).unwrap();
        fs::copy(key, top.join("etc/reclone/model.pub")).unwrap();
        let config = "store = /served/store\nkey = /etc/reclone/model.pub\n";
        fs::write(top.join("etc/reclone/reclone.conf"), config).unwrap();
        Self { top, disk, served }
    }

    /// The command that boots with these words and stays, or ends with the agent.
    pub fn command(&self, words: &str, end: &str) -> Command {
        fs::write(self.top.join("cmdline"), format!("{words}\n")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", BOOT, "boot"]);
        command.arg(&self.top).arg(reclone().get_program());
        command.arg(&self.disk).arg(&self.served).arg(end);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::null());
        command
    }

    /// What the last boot said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.top.join("log")).unwrap_or_default()
    }

    /// Boots with these words on the kernel command line. None where the boot failed.
    pub fn boot(&self, words: &str) -> Option<Machine> {
        let mut child = self.command(words, "stay").spawn().unwrap();
        let mut said = [0; 7];
        let up = child.stdout.as_mut().unwrap().read_exact(&mut said).is_ok();
        let root = format!("/proc/{}/root{}/root", child.id(), self.top.display());
        let machine = Machine {
            child,
            top: self.top.clone(),
            root: root.into(),
            generation: self.booted(),
            unsound: false,
            objects: Vec::new(),
        };
        (up && &said == b"booted\n").then_some(machine)
    }

    fn booted(&self) -> u64 {
        let log = self.log();
        let (_, after) = log.rsplit_once("booting generation ").unwrap_or_default();
        let number = after.split(' ').next().unwrap_or_default();
        number.parse().unwrap_or_default()
    }
}

/// A clone that runs.
pub struct Machine {
    child: Child,
    top: PathBuf,
    /// Its root, seen from outside.
    pub root: PathBuf,
    /// What it booted.
    pub generation: u64,
    /// Whether its tree is no longer that: it was damaged beneath it, or by its users.
    pub unsound: bool,
    /// The objects that it needs. What the kernel has in memory is seen though its object is gone.
    pub objects: Vec<PathBuf>,
}

impl Machine {
    /// `reclone VERB` in it.
    pub fn verb(&self, verb: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.child.id().to_string()]);
        command.arg("chroot").arg(&self.top);
        command.args(["/reclone", verb, "--pool", "/run/reclone/pool"]);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
