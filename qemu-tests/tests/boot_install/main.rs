//! Bare machines that start over the network with what `reclone-model netboot` made, and by themselves from then on.
#![allow(clippy::unwrap_used)]

mod guide;
#[path = "../../../agent/tests/support/hosts.rs"]
mod hosts;
mod lab;

use std::fs;
use std::path::Path;
use std::process::Command;

use qemu_tests::facts::Facts;
use qemu_tests::image::{copy_disk, make_disk, run};
use qemu_tests::initramfs::{Initramfs, System};
use qemu_tests::machine::Machine;

use lab::Lab;

fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn an_empty_disk_comes_to_a_login_prompt_and_starts_by_itself_from_then_on() {
    if !Machine::available() {
        return;
    }
    let lab = Lab::new(System::DEFAULT, "install", |_| {});
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
    let lab = Lab::new(System::DEFAULT, "install-over", |root| {
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

/// Installed over the network by dracut, and by itself from the disk.
fn installs_by_dracut(initramfs: Initramfs, name: &str) {
    if !Machine::available() {
        return;
    }
    let suite = System::DEFAULT.suite;
    let lab = Lab::new(System { suite, initramfs }, name, |_| {});
    lab.disk(3000);
    // What can not be is said, and nothing is written.
    let machine = lab.start("reclone.store=http://10.0.2.2:1/ reclone.timeout=5");
    let said = machine.wait_until_off().unwrap().said;
    assert!(
        said.contains("http://10.0.2.2:1/head: Connection refused"),
        "{said}"
    );
    let is_empty = |it: fs::Metadata| std::os::unix::fs::MetadataExt::blocks(&it) == 0;
    assert!(is_empty(fs::metadata(lab.site.path("clone.img")).unwrap()));
    let (first, key) = lab.runs(lab.start(""), 1);
    let log = first.log();
    assert!(log.contains("starts by itself from now on"), "{log}");
    assert!(!log.contains("warning"), "{log}");
    let by_itself = lab.site.machine("clone.img").by_firmware();
    let (facts, own) = lab.runs(by_itself.start().unwrap(), 1);
    assert_eq!(own, key);
    assert_eq!(facts.get("hostname"), "kiosk-1");
    // A machine that always asks the network first.
    assert_eq!(lab.runs(lab.start(""), 1).1, key);
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn dracut_installs_an_empty_disk() {
    installs_by_dracut(Initramfs::Dracut, "install-dracut");
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn dracut_without_systemd_installs_an_empty_disk() {
    installs_by_dracut(Initramfs::DracutPlain, "install-dracut-plain");
}
