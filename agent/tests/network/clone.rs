//! A clone that boots in a namespace: nothing but the agent and its configuration, as in an initramfs, with the root
//! partition mounted at `/root`. Its disk has generation 1.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::hosts::Host;
use crate::mounts::Mount;
use crate::programs::{Site, succeed};

/// Mounts what an initramfs has and runs the agent; the mounts end with the shell that made them.
const BOOT: &str = r#"
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount --bind /dev "$1/dev"
mount --bind "$1/cmdline" "$1/proc/cmdline"
mount -o "$3" "$2" "$1/root"
exec chroot "$1" /reclone boot --root /root
"#;

/// What all tests start from: a store with generation 2, and a disk with generation 1.
pub struct Base {
    _folder: tempfile::TempDir,
    pub site: Site,
    disk: PathBuf,
}

pub fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk.img");
        fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
        succeed(Command::new("mkfs.ext4").arg("-q").arg(&disk));
        let mounted = Mount::new("ext4", &disk, "loop", &folder.path().join("mnt"));
        let mut site = Site::new(folder.path());
        site.pool = mounted.path().join("reclone");
        fs::create_dir(site.tree.join("etc")).unwrap();
        fs::write(site.tree.join("etc/version"), "1").unwrap();
        fs::write(site.tree.join("etc/large"), noise(400_000)).unwrap();
        assert_eq!(site.publish().0, 1);
        succeed(&mut site.sync());
        fs::write(site.tree.join("etc/version"), "2").unwrap();
        fs::write(site.tree.join("etc/larger"), noise(600_000)).unwrap();
        assert_eq!(site.publish().0, 2);
        drop(mounted);
        Base {
            _folder: folder,
            site,
            disk,
        }
    })
}

/// Bytes that no compression makes fewer.
fn noise(length: usize) -> Vec<u8> {
    let mut state = length as u64 | 1;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}

/// A clone before its boot.
pub struct Clone<'a> {
    host: &'a Host,
    root: tempfile::TempDir,
}

/// What a boot said and left.
pub struct Booted {
    pub log: String,
    pub resolv_conf: String,
}

impl<'a> Clone<'a> {
    /// A clone that follows `store`. `config` has further lines of its configuration.
    pub fn new(host: &'a Host, store: &str, config: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for name in ["proc", "sys", "dev", "root", "run", "tmp", "etc/reclone"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_reclone"), at("reclone")).unwrap();
        fs::copy(base().site.public_key(), at("etc/reclone/model.pub")).unwrap();
        let config = format!("store = {store}\nkey = /etc/reclone/model.pub\n{config}\n");
        fs::write(at("etc/reclone/reclone.conf"), config).unwrap();
        succeed(
            Command::new("cp")
                .arg("--sparse=always")
                .arg(&base().disk)
                .arg(at("disk.img")),
        );
        Self { host, root }
    }

    /// A path in the clone's initramfs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Boots with these words on the kernel command line.
    pub fn boot(&self, words: &str) -> Booted {
        self.boot_mounted("loop", words)
    }

    /// The same, with the root partition mounted with these options.
    pub fn boot_mounted(&self, options: &str, words: &str) -> Booted {
        let output = self.run(options, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        Booted {
            log: read(&self.path("run/reclone/log")),
            resolv_conf: read(&self.path("etc/resolv.conf")),
        }
    }

    /// Boots with these words, which must end in an error, and gives what was said.
    pub fn fail_to_boot(&self, words: &str) -> String {
        let output = self.run("loop", words);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn run(&self, options: &str, words: &str) -> Output {
        fs::write(self.path("cmdline"), format!("ro quiet {words}\n")).unwrap();
        let _ = fs::remove_file(self.path("run/reclone/log"));
        self.host
            .command("unshare")
            .args(["--mount", "sh", "-ec", BOOT, "boot"])
            .arg(self.root.path())
            .arg(self.path("disk.img"))
            .arg(options)
            .output()
            .unwrap()
    }
}

impl Booted {
    /// Fails unless this generation was booted.
    pub fn assert_boots(&self, generation: u64) -> &Self {
        let wanted = format!("booting generation {generation} after");
        assert!(
            self.log.contains(&wanted),
            "no `{wanted}` in:\n{}",
            self.log
        );
        self
    }

    /// Fails unless one line of warning says this, and no other says more than that something is tried again.
    pub fn assert_warns(&self, wanted: &str) -> &Self {
        let warnings: Vec<&str> = self
            .log
            .lines()
            .filter_map(|line| line.strip_prefix("reclone: warning: "))
            .filter(|line| !line.contains("; trying again in "))
            .collect();
        assert_eq!(warnings.len(), 1, "{}", self.log);
        assert!(
            warnings[0].contains(wanted),
            "no `{wanted}` in:\n{}",
            self.log
        );
        self
    }
}
