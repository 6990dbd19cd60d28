//! Bare machines that start over the network with what `reclone-model netboot` made, and by themselves from then on.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use qemu_tests::facts::Facts;
use qemu_tests::gpt;
use qemu_tests::image::{copy_disk, is_clean, make_disk, run};
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::server::Server;
use qemu_tests::site::{Site, program};

const PACKAGES: [&str; 5] = [
    "grub2-common",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "dosfstools",
    "fdisk",
];
/// An installation and a whole boot, on a machine without KVM that does other things, too.
const PATIENCE: Duration = Duration::from_secs(900);
const DISK: &str = "/dev/disk/by-id/virtio-root";
const HOST_KEY: &str = "cat /etc/ssh/ssh_host_ed25519_key.pub; systemctl is-active ssh";

/// A site whose model also gives out what bare machines start with, in the folder `netboot`.
struct Lab {
    site: Site,
    _server: Server,
    words: String,
}

impl Lab {
    fn new(name: &str, change: impl FnOnce(&Path)) -> Lab {
        let mut site = Site::prepare(System::DEFAULT, name, &PACKAGES, |_| Ok(())).unwrap();
        if std::env::var_os("SHOW").is_some() {
            site = site.shown();
        }
        let server = site.serve(&site.store()).unwrap();
        let ipxe = netboot(&site, server.url());
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

    fn disk(&self, megabytes: u64) {
        let disk = File::create(self.site.path("clone.img")).unwrap();
        disk.set_len(megabytes << 20).unwrap();
    }

    fn start(&self, words: &str) -> Machine {
        let launch = self.site.machine("clone.img").by_network("netboot");
        launch.words(&self.words).words(words).start().unwrap()
    }

    /// Logs in, asks, and powers off; both file systems have to be clean then.
    fn runs(&self, mut machine: Machine, generation: u64) -> (Facts, String) {
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
        let partition = self.site.path("partition.img");
        gpt::carve(&self.site.path("clone.img"), 2, &partition).unwrap();
        assert!(is_clean(&partition).unwrap());
        gpt::carve(&self.site.path("clone.img"), 1, &partition).unwrap();
        run(Command::new("fsck.fat").arg("-n").arg(&partition)).unwrap();
        (facts, key)
    }
}

/// Has the model make what bare machines start with; the script for iPXE.
fn netboot(site: &Site, url: &str) -> String {
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
    fs::rename(root.join("srv/netboot"), site.path("netboot")).unwrap();
    fs::remove_dir_all(root.join("srv/model")).unwrap();
    fs::remove_file(own).unwrap();
    let ipxe = fs::read_to_string(site.path("netboot/reclone.ipxe")).unwrap();
    assert!(said.contains(&ipxe), "{said}");
    ipxe
}

fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn an_empty_disk_comes_to_a_login_prompt_and_starts_by_itself_from_then_on() {
    if !Machine::available() {
        return;
    }
    let lab = Lab::new("install", |_| {});
    lab.disk(3000);
    let (first, key) = lab.runs(lab.start(""), 1);
    let log = first.log();
    assert!(log.contains("starts by itself from now on"), "{log}");
    assert!(!log.contains("warning"), "{log}");
    assert_eq!(first.get("hostname"), "kiosk-1");
    let id = first.get("machine_id");
    assert!(is_machine_id(id) && !id.starts_with("0de1"), "{id}");

    let same = |(facts, own): (Facts, String)| {
        assert_eq!(own, key);
        for name in ["hostname", "machine_id"] {
            assert_eq!(facts.get(name), first.get(name));
        }
    };
    lab.site.model.write("etc/model-version", "2\n").unwrap();
    assert_eq!(lab.site.publish().unwrap(), 2);
    let by_itself = || lab.site.machine("clone.img");
    same(lab.runs(by_itself().by_firmware().start().unwrap(), 2));
    same(lab.runs(by_itself().by_bios().start().unwrap(), 2));
    // A machine that always asks the network first.
    same(lab.runs(lab.start("reclone.install-over=root"), 2));
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn a_disk_with_data_is_refused_and_goes_by_its_serial_number_alone() {
    if !Machine::available() {
        return;
    }
    // A model without GRUB.
    let lab = Lab::new("install-over", |root| {
        fs::remove_file(root.join("usr/sbin/grub-install")).unwrap();
        let to = root.join("usr/lib/systemd/boot/efi");
        fs::create_dir_all(&to).unwrap();
        let name = "systemd-bootx64.efi";
        fs::copy(
            Path::new("/usr/lib/systemd/boot/efi").join(name),
            to.join(name),
        )
        .unwrap();
    });
    let (disk, before) = (lab.site.path("clone.img"), lab.site.path("before.img"));
    make_disk(&disk, "precious", 3000).unwrap();
    copy_disk(&disk, &before).unwrap();
    for word in ["", "reclone.install-over=toor", "reclone.install-over="] {
        let said = lab.start(word).wait_until_off().unwrap().said;
        let refused = "serial number root) holds data (LABEL=precious TYPE=ext4): to give that up, \
            add reclone.install-over=root to the kernel command line";
        assert!(said.contains(refused), "{word}: {said}");
        run(Command::new("cmp").arg(&disk).arg(&before)).unwrap();
    }
    // The plug is pulled when all of that is gone and nothing has come yet.
    let mut machine = lab.start("reclone.install-over=root");
    machine.console.expect("reclone: asking http").unwrap();
    drop(machine);
    let (facts, _) = lab.runs(lab.start(""), 1);
    let log = facts.log();
    assert!(log.contains("starts by itself from now on"), "{log}");
    let by_itself = lab.site.machine("clone.img").by_firmware();
    lab.runs(by_itself.start().unwrap(), 1);
}
