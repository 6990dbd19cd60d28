//! A model gets another kernel. Its clone starts that after its own once, and has its boot loader start it from then on.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use qemu_tests::facts::Facts;
use qemu_tests::gpt::{self, Partition};
use qemu_tests::image::{is_clean, replace_file, run};
use qemu_tests::kernels::TwoKernels;
use qemu_tests::machine::Machine;
use qemu_tests::site::Site;
use qemu_tests::uefi::{self, partition};

const FSTAB: &str =
    "PARTLABEL=root / ext4 errors=remount-ro 0 1\nPARTLABEL=esp /boot/efi vfat umask=0077 0 1\n";

/// What Debian has GRUB's own image do.
const ON_ESP: &str = "search --no-floppy --label root --set=root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n";
/// As `/etc/grub.d/41_custom` has it, GRUB 2.12.
const CUSTOM: &str = "if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
elif [ -z \"${config_directory}\" -a -f  $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
";
/// An administrator's.
const MEMTEST: &str = "menuentry 'Memory test' { linux /boot/memtest }\n";

fn words(url: &str) -> String {
    format!("{} reclone.timeout=600", uefi::words(url))
}

/// A machine that boots from this disk until its checks are done.
fn boot(site: &Site, look: impl FnOnce(&mut Machine, &Facts)) {
    let mut machine = site.machine("clone.img").by_firmware().start().unwrap();
    let facts = Facts::once_up(&mut machine).unwrap();
    look(&mut machine, &facts);
    facts.power_off_assembled(machine).unwrap();
}

/// What the machine says about its kernel.
struct Kernel {
    release: String,
    words: String,
    loader: serde_json::Value,
}

fn kernel(machine: &mut Machine) -> Kernel {
    let mut ask = |script: &str| machine.report(script).unwrap().trim().to_owned();
    let loader = ask("/run/initramfs/reclone loader --dry-run --json");
    Kernel {
        release: ask("uname -r"),
        words: ask("cat /proc/cmdline"),
        loader: serde_json::from_str(&loader).unwrap_or_else(|_| panic!("{loader}")),
    }
}

/// `seen` is a command that shows what names the kernels; gives what it says in the end.
fn goes_straight_there(kernels: &TwoKernels, partitions: &[Partition], seen: &str) -> String {
    let TwoKernels { site, old, .. } = kernels;
    gpt::assemble(&site.path("clone.img"), partitions).unwrap();
    boot(site, |machine, facts| {
        facts.assert_runs(1);
        let it = kernel(machine);
        assert_eq!(&it.release, old);
        assert_eq!(
            it.loader["current"],
            serde_json::Value::Null,
            "nobody asked for it"
        );
    });

    let new = kernels.upgrade();
    assert_eq!(site.publish().unwrap(), 2);
    let mut named = String::new();
    boot(site, |machine, facts| {
        facts.assert_runs(2);
        let it = kernel(machine);
        let journal = machine
            .report("journalctl -u reclone-good --no-pager; df -h /run/reclone/disk")
            .unwrap();
        assert_eq!(it.release, new);
        assert!(
            it.words.contains(&format!(" reclone.kernel={new}")),
            "{}",
            it.words
        );
        assert_eq!(it.loader["outcome"], "stands", "{journal}");
        named = machine.report(seen).unwrap();
    });
    println!("{named}");

    boot(site, |machine, facts| {
        facts.assert_runs(2);
        let it = kernel(machine);
        assert_eq!(it.release, new);
        assert!(!it.words.contains("reclone.kernel="), "{}", it.words);
        assert!(!facts.log().contains("starting its own"), "{}", facts.log());
        // The network card's driver is a module, and one more is to be had.
        assert!(
            facts.log().contains("the network is up on"),
            "{}",
            facts.log()
        );
        assert_eq!(
            machine.report("modprobe dummy && echo loaded").unwrap(),
            "loaded\n"
        );
        assert_eq!(it.loader["outcome"], "stands");
        assert_eq!(it.loader["runs"], true);
        assert_eq!(machine.report(seen).unwrap(), named, "nothing was written");
    });
    let image = site.path("partition.img");
    gpt::extract(&site.path("clone.img"), partitions, 1, &image).unwrap();
    assert!(is_clean(&image).unwrap());
    named
}

/// The system partition of this image, and the root partition.
fn partitions(site: &Site) -> [Partition; 2] {
    [
        partition(site, "esp", "U", "esp.img"),
        partition(site, "root", "L", "plain.img"),
    ]
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn grub_starts_the_kernel_of_a_generation_that_proved_itself() {
    if !Machine::available() {
        return;
    }
    let kernels = TwoKernels::prepare("loader-grub", Some(FSTAB));
    let TwoKernels { site, old, .. } = &kernels;
    assert_eq!(site.publish().unwrap(), 1);
    let server = site.serve(&site.store()).unwrap();
    let plain = site.path("plain.img");
    run(Command::new("e2label").arg(&plain).arg("root")).unwrap();
    let own = format!(
        "set timeout=0\nset default=\"0\"\nmenuentry 'Debian' {{\n  linux /boot/vmlinuz-{old} {}\n  initrd /boot/initrd.img-{old}\n}}\n{CUSTOM}",
        words(server.url())
    );
    run(Command::new("debugfs")
        .args(["-w", "-R", "mkdir /boot/grub"])
        .arg(&plain))
    .unwrap();
    replace_file(&plain, "/boot/grub/grub.cfg", &own).unwrap();
    replace_file(&plain, "/boot/grub/custom.cfg", MEMTEST).unwrap();
    uefi::grub(site, ON_ESP).unwrap();
    let seen =
        "cd /run/reclone/disk/boot/grub; stat -c %y custom.cfg; cat custom.cfg; find reclone";
    let named = goes_straight_there(&kernels, &partitions(site), seen);
    assert!(named.contains(&format!("\n{MEMTEST}")), "{named}");
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn systemd_boot_starts_the_kernel_of_a_generation_that_proved_itself() {
    if !Machine::available() {
        return;
    }
    let kernels = TwoKernels::prepare("loader-bls", Some(FSTAB));
    let site = &kernels.site;
    assert_eq!(site.publish().unwrap(), 1);
    let server = site.serve(&site.store()).unwrap();
    uefi::systemd_boot(site, &words(server.url()), 320).unwrap();
    let seen = "cd /boot/efi; stat -c %y loader/entries/*; cat loader/entries/*; find reclone";
    let named = goes_straight_there(&kernels, &partitions(site), seen);
    assert!(named.contains("title Debian\n"), "{named}");
}
