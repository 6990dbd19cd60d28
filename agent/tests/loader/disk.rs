//! A disk with a plain system on it, and kernels to put there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use reclone::loader::{Asked, Kernel, Loader, Put};
use reclone::sys::mount;

use super::mounts::{Mount, ext4};

/// What `grub-mkconfig` writes.
pub const GRUB_CFG: &str = "set default=\"0\"
menuentry 'Debian' { linux /boot/vmlinuz }
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
fi
";

/// What is looked at is what a disk would have: it may be in memory, where syncs are cheap.
pub fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// An ext4 disk with GRUB.
pub struct Disk {
    pub mount: Mount,
    pub folder: tempfile::TempDir,
}

impl Disk {
    pub fn new(mib: u64) -> Self {
        let folder = in_memory();
        let mount = ext4(folder.path(), mib);
        let it = Self { mount, folder };
        fs::create_dir_all(it.grub()).unwrap();
        fs::write(it.grub().join("grub.cfg"), GRUB_CFG).unwrap();
        it
    }

    pub fn grub(&self) -> PathBuf {
        self.mount.path().join("boot/grub")
    }

    pub fn custom(&self) -> String {
        fs::read_to_string(self.grub().join("custom.cfg")).unwrap()
    }

    pub fn put(&self, version: u32) -> reclone::Result<Put> {
        put(self.mount.path(), self.folder.path(), version)
    }

    /// The versions that GRUB would offer, each of which is whole: what is on the disk now, without the journal.
    pub fn as_grub_sees(&self) -> Vec<u32> {
        let copy = self.folder.path().join("copy");
        fs::copy(self.folder.path().join("disk"), &copy).unwrap();
        let seen = self.folder.path().join("seen");
        let mount = Mount::new("ext4", &copy, "loop,ro,noload", &seen);
        let home = mount.path().join("boot/grub");
        let custom = fs::read_to_string(home.join("custom.cfg")).unwrap();
        let ids = custom.lines().filter_map(|line| {
            let rest = line.trim().strip_prefix("linux \"${reclone}/")?;
            rest.split('/').next()
        });
        let seen = ids
            .map(|id| whole(&home.join("reclone").join(id)))
            .collect();
        assert!(custom.ends_with("### END reclone ###\n"), "{custom}");
        seen
    }
}

/// Puts the kernel of this version on a disk.
pub fn put(disk: &Path, folder: &Path, version: u32) -> reclone::Result<Put> {
    // Nobody else is to see the partitions that are looked at.
    mount::part().unwrap();
    Loader::find(disk)?.put(&kernel(folder, version), Asked::ByBoot, false)
}

/// What kernel and initramfs of a version have in them.
pub fn contents(version: u32) -> [Vec<u8>; 2] {
    let mut random = fastrand::Rng::with_seed(version.into());
    [400_000, 1_000_001].map(|length| (0..length).map(|_| random.u8(..)).collect())
}

/// A system's kernel, with the configuration of a clone.
pub fn kernel(folder: &Path, version: u32) -> Kernel {
    let root = folder.join(format!("system-{version}"));
    let configuration = folder.join("configuration");
    for folder in [&root.join("boot"), &configuration] {
        fs::create_dir_all(folder).unwrap();
    }
    let release = format!("6.12.{version}+deb13-amd64");
    let files = ["vmlinuz", "initrd.img"].map(|name| root.join(format!("boot/{name}-{release}")));
    for (path, content) in files.iter().zip(contents(version)) {
        fs::write(path, content).unwrap();
    }
    fs::write(configuration.join("reclone.conf"), "store = /s\n").unwrap();
    fs::write(configuration.join("model.pub"), "key\n").unwrap();
    let words = "root=/dev/vda1 ro quiet it's=$1".to_owned();
    let files = files.map(|path| fs::File::open(path).unwrap());
    Kernel::new(files, &release, &configuration, words).unwrap()
}

/// The device that is mounted there.
pub fn device_of(mount: &Mount) -> String {
    let shown = ["--noheadings", "--output", "SOURCE", "--mountpoint"];
    let mut findmnt = Command::new("findmnt");
    let output = findmnt.args(shown).arg(mount.path()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// All that is below a folder, with what changes when somebody writes.
pub fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    let output = Command::new("find").arg(folder).output().unwrap();
    for path in String::from_utf8(output.stdout).unwrap().lines() {
        let it = fs::symlink_metadata(path).unwrap();
        found.insert(path.into(), (it.ino(), it.ctime(), it.ctime_nsec()));
    }
    found
}

/// The kernels of ours that are in this folder, by release, each whole.
pub fn kernels(home: &Path) -> Vec<u32> {
    let folders = fs::read_dir(home.join("reclone")).unwrap();
    let mut versions: Vec<u32> = folders.map(|it| whole(&it.unwrap().path())).collect();
    versions.sort();
    versions
}

/// Which version is in this folder, whole.
pub fn whole(folder: &Path) -> u32 {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let version = name
        .strip_prefix("6.12.")
        .and_then(|it| it.split('+').next());
    let version = version.unwrap().parse().unwrap();
    let [kernel, initramfs] = contents(version);
    assert_eq!(fs::read(folder.join("vmlinuz")).unwrap(), kernel, "{name}");
    let found = fs::read(folder.join("initrd.img")).unwrap();
    assert!(found.starts_with(&initramfs), "{name}");
    let configuration = &found[initramfs.len()..];
    let has = |text: &[u8]| configuration.windows(text.len()).any(|it| it == text);
    assert!(
        has(b"etc/reclone/reclone.conf\0") && has(b"store = /s\n"),
        "{name}"
    );
    assert!(has(b"TRAILER!!!\0"), "{name}");
    version
}
