//! Machines that start by UEFI: GRUB with a separate /boot, and systemd-boot. The kernel command line is that of the boot loader.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use qemu_tests::facts::Facts;
use qemu_tests::gpt::{self, Partition};
use qemu_tests::image::{is_clean, run};
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::site::Site;
use qemu_tests::uefi::{self, partition, words};
use serde_json::Value;

/// Boots the disk twice by firmware: the first clone, and an update. `seen` is asked in the machine and must be answered so; then comes `ask`.
fn follows_its_model(
    site: &Site,
    partitions: &[Partition],
    seen: &str,
    expected: &str,
    ask: fn(&mut Machine),
) {
    gpt::assemble(&site.path("clone.img"), partitions).unwrap();
    for generation in 1..=2 {
        let mut machine = site.machine("clone.img").by_firmware().start().unwrap();
        let facts = Facts::once_up(&mut machine).unwrap();
        facts.assert_runs(generation);
        assert_eq!(machine.report(seen).unwrap(), expected);
        ask(&mut machine);
        facts.power_off_assembled(machine).unwrap();
        site.model.write("etc/model-version", "2\n").unwrap();
        site.publish().unwrap();
    }
    for number in 1..partitions.len() {
        let image = site.path("partition.img");
        gpt::extract(&site.path("clone.img"), partitions, number, &image).unwrap();
        assert!(is_clean(&image).unwrap(), "{}", partitions[number].name);
    }
}

/// Has the firmware start something else first.
const OTHER_FIRST: &str = r"cd /sys/firmware/efi/efivars; g=8be4df61-93ca-11d2-aa0d-00e098032b8c
printf '\7\0\0\0\1\0\0\0\4\0O\0t\0h\0e\0r\0\0\0\177\377\4\0' >Boot00AA-$g
cat BootOrder-$g >/run/old
{ head -c 4 /run/old; printf '\252\0'; tail -c +5 /run/old; } >/run/order
cat /run/order >BootOrder-$g";

/// What a verb says as JSON; warnings are none.
fn ask(machine: &mut Machine, words: &str) -> Value {
    let command = format!("/run/initramfs/reclone --quiet {words} --json 2>/dev/null");
    let said = machine.report(&command).unwrap();
    println!("{said}");
    serde_json::from_str(&said).unwrap()
}

fn tells_what_starts_it(machine: &mut Machine) {
    let status = ask(machine, "status --check");
    let entry = status["firmware"]["entry"].clone();
    assert_eq!(status["firmware"]["first"], true, "QEMU was told so");
    let initramfs = status["initramfs"].as_array().unwrap();
    let paths: Vec<_> = initramfs
        .iter()
        .map(|it| it["path"].as_str().unwrap())
        .collect();
    assert!(
        paths[0] == "/boot/efi/initrd" && paths[1].starts_with("/boot/initrd.img-"),
        "{paths:?}"
    );
    assert!(initramfs.iter().all(|it| it["reclone"] == true), "{status}");

    assert_eq!(machine.report(OTHER_FIRST).unwrap(), "");
    assert_eq!(ask(machine, "status")["firmware"]["first"], false);
    assert_eq!(
        ask(machine, "loader --first --dry-run")["outcome"],
        "would-put"
    );
    let put = ask(machine, "loader --first");
    assert_eq!(
        [&put["outcome"], &put["entry"]],
        [&Value::from("put"), &entry]
    );
    let order = "cat /sys/firmware/efi/efivars/BootOrder-* | od -An -tx1 -j4 -N4";
    let number = entry.as_str().unwrap().strip_prefix("Boot").unwrap();
    let (high, low) = number.split_at(2);
    assert_eq!(ask(machine, "status")["firmware"]["first"], true);
    assert_eq!(ask(machine, "loader --first")["outcome"], "stands");
    let order = machine.report(order).unwrap().to_uppercase();
    assert_eq!(order.trim(), format!("{low} {high} AA 00"));
}

fn site(name: &str, fstab: &str) -> Site {
    let site = Site::prepare(System::DEFAULT, name, &[], |tree| {
        tree.write("etc/fstab", fstab)
    });
    let site = site.unwrap();
    assert_eq!(site.publish().unwrap(), 1);
    site
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn grub_with_a_separate_boot_partition() {
    if !Machine::available() {
        return;
    }
    let fstab = "PARTLABEL=root / ext4 errors=remount-ro 0 1\nPARTLABEL=boot /boot ext4 defaults 0 2\n\
        PARTLABEL=esp /boot/efi vfat umask=0077 0 1\n";
    let site = site("grub", fstab);
    let server = site.serve(&site.store()).unwrap();
    let kernel = site.path("vmlinuz");
    let boot = site.path("boot.img");
    let folder = site.path("boot");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(&kernel, folder.join("vmlinuz")).unwrap();
    std::fs::copy(site.path("initrd"), folder.join("initrd")).unwrap();
    run(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-L", "boot", "-d"])
        .arg(&folder)
        .arg(&boot)
        .arg("160M"))
    .unwrap();
    let config = format!(
        "search --no-floppy --label boot --set=root\nlinux /vmlinuz {}\ninitrd /initrd\nboot\n",
        words(server.url())
    );
    uefi::grub(&site, &config).unwrap();
    let partitions = [
        partition(&site, "esp", "U", "esp.img"),
        partition(&site, "boot", "L", "boot.img"),
        partition(&site, "root", "L", "plain.img"),
    ];
    let seen = "findmnt --noheadings --output FSTYPE /boot; findmnt --noheadings --output FSTYPE /boot/efi; ls /boot/vmlinuz /boot/efi/EFI/BOOT";
    let expected = "ext4\nvfat\n/boot/vmlinuz\n\n/boot/efi/EFI/BOOT:\nBOOTX64.EFI\n";
    follows_its_model(&site, &partitions, seen, expected, |_| {});
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn systemd_boot() {
    if !Machine::available() {
        return;
    }
    let fstab = "PARTLABEL=root / ext4 errors=remount-ro 0 1\nPARTLABEL=esp /boot/efi vfat umask=0077 0 1\n";
    let site = site("systemd-boot", fstab);
    let server = site.serve(&site.store()).unwrap();
    uefi::systemd_boot(&site, &words(server.url()), 160).unwrap();
    let partitions = [
        partition(&site, "esp", "U", "esp.img"),
        partition(&site, "root", "L", "plain.img"),
    ];
    let seen = "findmnt --noheadings --output FSTYPE /boot/efi; ls /boot/efi/loader/entries";
    let expected = "vfat\ndebian.conf\n";
    follows_its_model(&site, &partitions, seen, expected, tells_what_starts_it);
}
