//! A clone that boots in a namespace, from a disk with a system that was installed on it and a pool that follows a model.
#![allow(dead_code)] // Each test program needs a part of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::initramfs::Initramfs;
use crate::mounts::Mount;
use crate::programs::{Site, succeed};

/// What a boot said, and what the script in it printed.
pub struct Booted {
    pub log: String,
    pub printed: String,
}

impl Booted {
    /// The warnings, without their beginnings.
    pub fn warnings(&self) -> Vec<&str> {
        let lines = self.log.lines();
        lines
            .filter_map(|line| line.strip_prefix("reclone: warning: "))
            .collect()
    }
}

pub struct Machine {
    folder: tempfile::TempDir,
    pub site: Site,
    config: String,
}

impl Machine {
    /// A model with the folder `etc`, and a clone with an empty disk of 128 MiB of this kind.
    pub fn new(kind: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk.img");
        let mib = if kind == "xfs" { 512 } else { 128 };
        File::create(&disk).unwrap().set_len(mib << 20).unwrap();
        succeed(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&disk));
        let mut site = Site::new(folder.path());
        site.pool = folder.path().join("disk/reclone");
        fs::create_dir(site.tree.join("etc")).unwrap();
        site.add_init();
        let config = String::new();
        Self {
            folder,
            site,
            config,
        }
    }

    /// With further lines in its configuration.
    pub fn with_config(self, lines: &str) -> Self {
        Self {
            config: lines.to_owned(),
            ..self
        }
    }

    /// A path below the model's tree, whose folder is made.
    pub fn model(&self, path: &str) -> PathBuf {
        let path = self.site.tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Does something with the clone's disk, which is mounted meanwhile at the path it gets.
    pub fn on_disk<T>(&self, work: impl FnOnce(&Path) -> T) -> T {
        let (image, at) = (
            self.folder.path().join("disk.img"),
            self.folder.path().join("disk"),
        );
        let mounted = Mount::new("auto", &image, "loop", &at);
        let done = work(mounted.path());
        drop(mounted);
        done
    }

    /// Runs a shell script in the top folder of the clone's disk, and gives what it printed.
    pub fn disk_script(&self, script: &str) -> String {
        self.on_disk(|disk| succeed(Command::new("sh").args(["-ec", script]).current_dir(disk)).0)
    }

    /// Publishes the model and has the clone's pool take it.
    pub fn update(&self) -> u64 {
        let (generation, _) = self.site.publish();
        self.on_disk(|_| succeed(&mut self.site.sync()));
        generation
    }

    /// Boots what is current with these words, and runs a shell script in the root.
    pub fn boot(&self, words: &str, script: &str) -> Booted {
        let config = format!("{}key = /etc/reclone/model.pub\n", self.config);
        let initramfs = Initramfs::new(&config, &self.site.public_key());
        let disk = self.folder.path().join("disk.img");
        let words = format!("reclone=skip {words}");
        let unshare = Command::new("unshare");
        let none = Path::new("");
        let output = initramfs.boot_and_run(unshare, (&disk, "loop"), &words, (none, script));
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        let printed = String::from_utf8(output.stdout).unwrap();
        Booted { log, printed }
    }

    /// The same, where nothing may be complained of; gives what the script printed.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let booted = self.boot("", script);
        assert_eq!(booted.warnings(), Vec::<&str>::new());
        booted.printed
    }
}
