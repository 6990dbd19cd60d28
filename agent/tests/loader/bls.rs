//! systemd-boot: entries on an EFI system partition, which is FAT.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reclone::loader::{Asked, Kernel, Kind, Loader, Put};
use reclone::sys::mount;

use super::disk::{Disk, device_of, in_memory, kernel, kernels, snapshot};
use super::mounts::{Mount, is_root};

/// A partition with entries, and the folder in which kernels are made.
struct Esp {
    top: PathBuf,
    folder: PathBuf,
}

impl Esp {
    /// Any folder will do for what is written there.
    fn new(folder: &Path) -> Self {
        let top = folder.join("esp");
        fs::create_dir_all(top.join("loader/entries")).unwrap();
        fs::write(top.join("loader/entries/debian.conf"), "title Debian\n").unwrap();
        let folder = folder.to_owned();
        Self { top, folder }
    }

    fn loader(&self) -> Loader {
        Loader::at(Kind::Bls, self.top.clone())
    }

    fn kernel(&self, version: u32) -> Kernel {
        kernel(&self.folder, version)
    }

    fn put(&self, version: u32, asked: Asked) -> Put {
        let kernel = self.kernel(version);
        self.loader().put(&kernel, asked, false).unwrap()
    }

    /// A good end of a boot from the entry of this version.
    fn confirm(&self, version: u32) {
        let id = self.kernel(version).entry.id;
        let line = format!("initrd=\\reclone\\{id}\\initrd.img root=/dev/vda1 ro");
        self.loader().confirm(&line).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.join("loader/entries").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// As systemd-boot does when it starts an entry whose starts are counted.
    fn start(&self, from: &str, to: &str) {
        let path = |counts: &str| self.path(&format!("reclone-current+{counts}.conf"));
        fs::rename(path(from), path(to)).unwrap();
    }

    /// The names of the entries.
    fn names(&self) -> Vec<String> {
        let entries = self.path("").read_dir().unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

const CURRENT: &str = "reclone-current.conf";
const PREVIOUS: &str = "reclone-previous.conf";
const FRESH: &str = "reclone-current+3.conf";

fn release(version: u32) -> String {
    format!("version 6.12.{version}+deb13-amd64\n")
}

#[test]
fn entries_follow_and_go() {
    let folder = in_memory();
    let esp = Esp::new(folder.path());
    assert_eq!(esp.put(1, Asked::ByBoot), Put::Done);
    let first = esp.read(FRESH);
    let id = esp.kernel(1).entry.id;
    assert_eq!(
        first,
        format!(
            "title Linux 6.12.1+deb13-amd64, by reclone\nsort-key 00reclone0\nversion 6.12.1+deb13-amd64\n\
             linux /reclone/{id}/vmlinuz\ninitrd /reclone/{id}/initrd.img\noptions root=/dev/vda1 ro quiet it's=$1\n"
        )
    );
    for version in 2..=3 {
        esp.confirm(version - 1);
        assert_eq!(esp.put(version, Asked::ByBoot), Put::Done);
        assert_eq!(kernels(&esp.top), [version - 1, version]);
        assert!(esp.read(FRESH).contains(&release(version)));
        assert!(esp.read(PREVIOUS).contains(&release(version - 1)));
        assert_eq!(esp.names(), ["debian.conf", FRESH, PREVIOUS]);
    }
    assert!(esp.loader().remove(false).unwrap());
    assert_eq!(esp.names(), ["debian.conf"]);
    assert!(!esp.top.join("reclone").exists());
    assert!(!esp.loader().remove(false).unwrap(), "it is gone");
}

#[test]
fn a_good_boot_takes_the_count_away_and_what_stands_is_not_written_under_any_name() {
    let folder = in_memory();
    let esp = Esp::new(folder.path());
    esp.put(1, Asked::ByBoot);
    for name in ["3", "2-1", "1-2"] {
        let before = snapshot(&esp.top);
        for asked in [Asked::ByBoot, Asked::ByHand] {
            assert_eq!(esp.put(1, asked), Put::Stands, "{name}");
        }
        esp.confirm(2);
        esp.loader().confirm("root=/dev/vda1 ro").unwrap();
        assert_eq!(snapshot(&esp.top), before, "{name}: nobody came from it");
        match name {
            "3" => esp.start("3", "2-1"),
            "2-1" => esp.start("2-1", "1-2"),
            _ => {}
        }
    }
    let text = esp.read("reclone-current+1-2.conf");
    esp.confirm(1);
    assert_eq!(esp.names(), ["debian.conf", CURRENT]);
    assert_eq!(esp.read(CURRENT), text);
    let before = snapshot(&esp.top);
    assert_eq!(esp.put(1, Asked::ByBoot), Put::Stands);
    esp.confirm(1);
    assert_eq!(snapshot(&esp.top), before);
}

#[test]
fn an_entry_without_starts_left_gets_new_ones_only_by_hand_and_is_never_the_one_before() {
    let folder = in_memory();
    let esp = Esp::new(folder.path());
    esp.put(1, Asked::ByBoot);
    esp.confirm(1);
    esp.put(2, Asked::ByBoot);
    esp.start("3", "0-3");
    let before = snapshot(&esp.top);
    assert_eq!(esp.put(2, Asked::ByBoot), Put::Stands);
    assert_eq!(snapshot(&esp.top), before);
    assert_eq!(esp.put(2, Asked::ByHand), Put::Done);
    assert_eq!(esp.names(), ["debian.conf", FRESH, PREVIOUS]);
    esp.start("3", "0-3");
    assert_eq!(esp.put(3, Asked::ByBoot), Put::Done);
    assert_eq!(esp.names(), ["debian.conf", FRESH, PREVIOUS]);
    assert_eq!(kernels(&esp.top), [1, 3]);
    assert!(esp.read(PREVIOUS).contains(&release(1)));
    assert!(esp.read(FRESH).contains(&release(3)));
}

#[test]
fn what_a_cut_leaves_beside_the_new_entry_goes_and_nothing_that_is_named_goes_before_it() {
    let folder = in_memory();
    let esp = Esp::new(folder.path());
    esp.put(1, Asked::ByBoot);
    esp.confirm(1);
    let old = esp.read(CURRENT);
    esp.put(2, Asked::ByBoot);
    // The old one was still to be removed.
    fs::write(esp.path(CURRENT), &old).unwrap();
    let entries = esp.loader().entries().unwrap();
    assert_eq!(entries.current.unwrap().release(), "6.12.2+deb13-amd64");
    assert_eq!(esp.put(2, Asked::ByBoot), Put::Done);
    assert_eq!(esp.names(), ["debian.conf", FRESH, PREVIOUS]);
    assert_eq!(kernels(&esp.top), [1, 2]);

    // One that any file names is not made room of, whichever counts as the current one.
    esp.start("3", "0-3");
    fs::write(esp.path(CURRENT), old).unwrap();
    let loader = esp.loader();
    assert_eq!(
        loader.put(&esp.kernel(3), Asked::ByBoot, true).unwrap(),
        Put::Would
    );
    assert_eq!(kernels(&esp.top), [1, 2]);
    assert_eq!(esp.put(3, Asked::ByBoot), Put::Done);
    assert_eq!(kernels(&esp.top), [1, 3]);
}

#[test]
fn it_is_found_on_a_fat_alone() {
    if !is_root() {
        return;
    }
    let disk = Disk::new(40);
    let root = disk.folder.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    let fstab = |device: &str| {
        let line = format!("{device} /boot auto umask=0077 0 1\n");
        fs::write(root.join("etc/fstab"), line).unwrap();
    };
    mount::part().unwrap();
    // GRUB's own, as Fedora has it.
    fstab(&device_of(&disk.mount));
    fs::create_dir_all(disk.mount.path().join("loader/entries")).unwrap();
    fs::remove_file(disk.grub().join("grub.cfg")).unwrap();
    let error = Loader::find(&root).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no loader/entries on a FAT"), "{error}");

    let image = disk.folder.path().join("esp.img");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let made = Command::new("mkfs.vfat").arg(&image).output();
    let esp = made
        .map_err(|error| error.to_string())
        .and_then(|_| Mount::try_new("vfat", &image, "loop", &disk.folder.path().join("esp")));
    match esp {
        Ok(esp) => {
            fstab(&device_of(&esp));
            fs::create_dir_all(esp.path().join("loader/entries")).unwrap();
            assert_eq!(Loader::find(&root).unwrap().title(), "systemd-boot");
        }
        Err(error) => eprintln!("SKIPPED: vfat: {error}"),
    }
}
