//! A folder that stands for an initramfs: nothing but the agent and its configuration, with the root partition mounted at
//! `/root`. The agent boots in it, in a namespace of its own.
#![allow(dead_code)] // Each test program needs a part of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Mounts what an initramfs has and runs the agent; the mounts end with the shell that made them. What was booted must be the
/// tree `$4`, where one is named; then `$5` runs in it.
const BOOT: &str = r#"
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount --bind /dev "$1/dev"
mount --bind "$1/cmdline" "$1/proc/cmdline"
mount -o "$3" "$2" "$1/root"
chroot "$1" /reclone boot --root /root
[ -z "$4" ] || diff -rq "$4" "$1/root" >&2
[ -z "$5" ] || cd "$1/root"
eval "$5"
"#;

/// One machine's, until it is dropped.
pub struct Initramfs {
    root: tempfile::TempDir,
}

impl Initramfs {
    /// With this configuration, and the public key as `/etc/reclone/model.pub`.
    pub fn new(config: &str, public_key: &Path) -> Self {
        let it = Self {
            root: tempfile::tempdir().unwrap(),
        };
        for name in ["proc", "sys", "dev", "root", "run", "tmp", "etc/reclone"] {
            fs::create_dir_all(it.path(name)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_reclone"), it.path("reclone")).unwrap();
        fs::copy(public_key, it.path("etc/reclone/model.pub")).unwrap();
        fs::write(it.path("etc/reclone/reclone.conf"), config).unwrap();
        it
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Boots from the partition `disk`, mounted with these options, with these words on the kernel command line. `unshare`
    /// is that program, wherever it runs. Where a tree is named, the booted one must be like it.
    pub fn boot(
        &self,
        unshare: Command,
        disk: (&Path, &str),
        words: &str,
        tree: Option<&Path>,
    ) -> Output {
        let tree = tree.unwrap_or(Path::new(""));
        self.boot_and_run(unshare, disk, words, (tree, ""))
    }

    /// The same; then the shell script runs with the booted tree as its working folder, until the plug is pulled at its end.
    pub fn boot_and_run(
        &self,
        mut unshare: Command,
        (disk, options): (&Path, &str),
        words: &str,
        (tree, script): (&Path, &str),
    ) -> Output {
        fs::write(self.path("cmdline"), format!("ro quiet {words}\n")).unwrap();
        let _ = fs::remove_file(self.path("run/reclone/log"));
        unshare
            .args(["--mount", "sh", "-ec", BOOT, "boot"])
            .arg(self.root.path())
            .arg(disk)
            .arg(options)
            .arg(tree)
            .arg(script)
            .output()
            .unwrap()
    }

    /// What the last boot said, as it was kept.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("run/reclone/log")).unwrap_or_default()
    }
}
