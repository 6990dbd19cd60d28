//! A model that gives out what bare machines start with, and such a machine.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use qemu_tests::facts::Facts;
use qemu_tests::gpt;
use qemu_tests::image::{is_clean, run};
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::server::Server;
use qemu_tests::site::{Site, program};

/// What the model has for itself and its clones.
pub const PACKAGES: [&str; 5] = [
    "grub2-common",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "dosfstools",
    "fdisk",
];
/// An installation and a whole boot, on a machine without KVM that does other things, too.
const PATIENCE: Duration = Duration::from_secs(1800);
const DISK: &str = "/dev/disk/by-id/virtio-root";
const HOST_KEY: &str = "cat /etc/ssh/ssh_host_ed25519_key.pub; systemctl is-active ssh";

/// A site whose model also gives out what bare machines start with, in the folder `netboot`.
pub struct Lab {
    pub site: Site,
    _server: Server,
    words: String,
}

impl Lab {
    pub fn new(system: System, name: &str, change: impl FnOnce(&Path)) -> Lab {
        let site = site(system, name, &PACKAGES);
        let server = site.serve(&site.store()).unwrap();
        let ipxe = netboot(&site, server.url());
        let made = site.model.root().join("srv/netboot");
        fs::rename(made, site.path("netboot")).unwrap();
        change(site.model.root());
        assert_eq!(site.publish().unwrap(), 1);
        let line = ipxe
            .lines()
            .find(|line| line.starts_with("kernel "))
            .unwrap();
        let (_, words) = line.split_once("initrd=initrd ").unwrap();
        let words = words.replace("${hostname}", "kiosk-1");
        Lab {
            site,
            _server: server,
            words,
        }
    }

    pub fn disk(&self, megabytes: u64) {
        empty_disk(&self.site, megabytes);
    }

    pub fn start(&self, words: &str) -> Machine {
        let launch = self.site.machine("clone.img").by_network("netboot");
        launch.words(&self.words).words(words).start().unwrap()
    }

    pub fn runs(&self, machine: Machine, generation: u64) -> (Facts, String) {
        runs(&self.site, machine, generation)
    }
}

/// One with these packages on the model.
pub fn site(system: System, name: &str, packages: &[&str]) -> Site {
    let site = Site::prepare(system, name, packages, |tree| {
        system.initramfs.configure(tree)
    });
    let site = site.unwrap();
    match std::env::var_os("SHOW") {
        Some(_) => site.shown(),
        None => site,
    }
}

/// The bare machine's.
pub fn empty_disk(site: &Site, megabytes: u64) {
    let disk = File::create(site.path("clone.img")).unwrap();
    disk.set_len(megabytes << 20).unwrap();
}

/// Has the model make what bare machines start with, below `/srv/netboot`; the script for iPXE.
pub fn netboot(site: &Site, url: &str) -> String {
    let root = site.model.root();
    let record = root.join("srv/model/.reclone-model");
    fs::create_dir_all(&record).unwrap();
    fs::copy(
        site.store().join(".reclone-model/store"),
        record.join("store"),
    )
    .unwrap();
    let own = root.join("usr/sbin/reclone-model");
    fs::copy(program("reclone-model"), &own).unwrap();
    let kernel = site.model.boot_file("vmlinuz-").unwrap();
    let release = kernel
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .trim_start_matches("vmlinuz-");
    let mut make = Command::new("chroot");
    make.arg(root)
        .args(["reclone-model", "netboot", "/srv/netboot", "--disk", DISK]);
    make.args(["--url", url, "--kernel", release]);
    let said = run(&mut make).unwrap();
    fs::remove_dir_all(root.join("srv/model")).unwrap();
    fs::remove_file(own).unwrap();
    let ipxe = fs::read_to_string(root.join("srv/netboot/reclone.ipxe")).unwrap();
    assert!(said.contains(&ipxe), "{said}");
    ipxe
}

/// Logs in, asks, and powers off; both file systems have to be clean then. What ssh says of the machine comes along.
pub fn runs(site: &Site, mut machine: Machine, generation: u64) -> (Facts, String) {
    machine.console.give_time(PATIENCE);
    let facts = Facts::once_up(&mut machine).unwrap();
    facts.assert_runs(generation);
    let key = machine.report(HOST_KEY).unwrap();
    assert!(
        key.starts_with("ssh-ed25519 ") && key.ends_with("\nactive\n"),
        "{key}"
    );
    let seen = machine
        .report("findmnt --noheadings --output FSTYPE /boot/efi")
        .unwrap();
    assert!(seen == "vfat\n", "{seen}");
    facts.power_off_assembled(machine).unwrap();
    let partition = site.path("partition.img");
    gpt::carve(&site.path("clone.img"), 2, &partition).unwrap();
    assert!(is_clean(&partition).unwrap());
    gpt::carve(&site.path("clone.img"), 1, &partition).unwrap();
    run(Command::new("fsck.fat").arg("-n").arg(&partition)).unwrap();
    (facts, key)
}
