//! The bench itself: a plain Debian disk boots, answers and powers off clean. Nothing of reclone is in it.
#![allow(clippy::unwrap_used)]

use qemu_tests::image::{Tree, is_clean, project};
use qemu_tests::initramfs::System;
use qemu_tests::machine::{Boot, Loader, Machine, USER_NETWORK};

#[test]
fn a_plain_disk_boots_without_a_failed_unit_and_powers_off_clean() {
    if !Machine::available() {
        return;
    }
    let folder = project().join("target/qemu/plain");
    let tree = Tree::create(System::DEFAULT, &[], &folder.join("tree")).unwrap();
    let disk = folder.join("disk.img");
    tree.to_disk(&disk, 1500).unwrap();
    let boot = Boot {
        loader: Loader::Kernel {
            kernel: &tree.boot_file("vmlinuz-").unwrap(),
            initrd: &tree.boot_file("initrd.img-").unwrap(),
            words: "panic=1",
        },
        disk: &disk,
        drive: None,
        more: &[],
        network: &[USER_NETWORK.to_owned()],
        host: None,
        options: &[],
        show: false,
    };
    let mut machine = Machine::start(&boot).unwrap();
    machine.log_in().unwrap();
    let failed = machine
        .console
        .ask("systemctl --failed --no-legend --plain --no-pager")
        .unwrap();
    assert_eq!(failed.text, "");
    assert_eq!(
        machine.console.ask("cat /etc/hostname").unwrap().text,
        "clone\n"
    );
    assert_eq!(machine.console.ask("false").unwrap().code, 1);
    let seconds = machine.power_off().unwrap().on.as_secs();
    println!("on for {seconds} s");
    assert!(is_clean(&disk).unwrap());
}
