//! A clone that boots in a namespace: nothing but the agent and its configuration, as in an initramfs, with the root
//! partition mounted at `/root`. Its disk has generation 1.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::hosts::Host;
use crate::initramfs::Initramfs;
use crate::mounts::Mount;
use crate::noise::noise;
use crate::programs::{Site, succeed};

/// What all tests start from: a store with generation 2, and a disk with generation 1.
pub struct Base {
    _folder: tempfile::TempDir,
    pub site: Site,
    /// The store as it was with generation 1.
    pub first: PathBuf,
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
        site.add_init();
        fs::write(site.tree.join("etc/version"), "1").unwrap();
        fs::write(site.tree.join("etc/large"), noise(400_000, 1)).unwrap();
        assert_eq!(site.publish().0, 1);
        let first = folder.path().join("first");
        succeed(Command::new("cp").arg("-a").arg(&site.store).arg(&first));
        succeed(&mut site.sync());
        fs::write(site.tree.join("etc/version"), "2").unwrap();
        fs::write(site.tree.join("etc/larger"), noise(600_000, 2)).unwrap();
        assert_eq!(site.publish().0, 2);
        drop(mounted);
        Base {
            _folder: folder,
            site,
            first,
            disk,
        }
    })
}

/// A clone before its boot.
pub struct Clone<'a> {
    host: &'a Host,
    initramfs: Initramfs,
}

/// What a boot said and left.
pub struct Booted {
    pub log: String,
    pub resolv_conf: String,
    /// What was mounted in the initramfs after it.
    pub mounts: String,
}

impl<'a> Clone<'a> {
    /// A clone that follows `store`. `config` has further lines of its configuration.
    pub fn new(host: &'a Host, store: &str, config: &str) -> Self {
        Self::of_no_store(host, &format!("store = {store}\n{config}"))
    }

    /// A clone that follows what `config` says.
    pub fn of_no_store(host: &'a Host, config: &str) -> Self {
        let config = format!("key = /etc/reclone/model.pub\n{config}\n");
        let initramfs = Initramfs::new(&config, &base().site.public_key());
        succeed(
            Command::new("cp")
                .arg("--sparse=always")
                .arg(&base().disk)
                .arg(initramfs.path("disk.img")),
        );
        Self { host, initramfs }
    }

    /// A path in the clone's initramfs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.initramfs.path(name)
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
            log: self.initramfs.log(),
            resolv_conf: read(&self.path("etc/resolv.conf")),
            mounts: read(&self.path("mounts")),
        }
    }

    /// Boots with these words, which must end in an error, and gives what was said.
    pub fn fail_to_boot(&self, words: &str) -> String {
        let output = self.run("loop", words);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn run(&self, options: &str, words: &str) -> Output {
        let disk = self.path("disk.img");
        wait_until_unused(&disk);
        let unshare = self.host.command("unshare");
        let after = (Path::new(""), "cat /proc/mounts >$1/mounts");
        self.initramfs
            .boot_and_run(unshare, (&disk, options), words, after)
    }
}

/// Waits until the loop device of the boot before is gone: `mount` would take it again, writable or not. Namespaces of other tests may
/// have it, for the moment that they take.
fn wait_until_unused(disk: &Path) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let (devices, _) = succeed(Command::new("losetup").arg("--associated").arg(disk));
        if devices.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{devices}");
        thread::sleep(Duration::from_millis(10));
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
