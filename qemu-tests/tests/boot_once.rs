//! A kernel that refuses to start another one: the boot loader starts the generation's, once. Whatever becomes of that, the boot after it is the
//! disk's own, with the generation before where the kernel died.
#![allow(clippy::unwrap_used)]

use std::fs;

use qemu_tests::facts::Facts;
use qemu_tests::gpt::{self, Partition};
use qemu_tests::grub;
use qemu_tests::kernels::TwoKernels;
use qemu_tests::machine::Machine;
use qemu_tests::site::Site;
use qemu_tests::uefi::{self, partition};

const FSTAB: &str =
    "PARTLABEL=root / ext4 errors=remount-ro 0 1\nPARTLABEL=esp /boot/efi vfat umask=0077 0 1\n";
/// As `grub-mkconfig` of GRUB 2.12 has it at the top of its file.
const HEAD: &str = r#"if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="0"
fi
set timeout=0
"#;
/// What has this name is there while there is a choice for one boot.
const ONCE: &str = "reclone-once";

/// The kernel of every boot is one that starts no other.
fn words(url: &str) -> String {
    let refuses = "sysctl.kernel.kexec_load_disabled=1";
    format!("{} reclone.timeout=600 {refuses}", uefi::words(url))
}

fn start(site: &Site) -> Machine {
    let launch = site.machine("clone.img").by_firmware_again();
    launch.start().unwrap()
}

/// A boot that comes up with this generation under this kernel. Gives what names the kernels then, and the words of the boot.
fn comes_up(site: &Site, generation: u64, release: &str, seen: &str) -> [String; 2] {
    let mut machine = start(site);
    let facts = Facts::once_up(&mut machine).unwrap();
    facts.assert_runs(generation);
    assert_eq!(machine.report("uname -r").unwrap().trim(), release);
    // It is the last that a good boot does.
    machine
        .report("while systemctl show -P ActiveState reclone-good reclone-loader | grep -q ^act; do sleep 1; done")
        .unwrap();
    let said = [seen, "cat /proc/cmdline"].map(|it| machine.report(it).unwrap());
    println!("{said:?}");
    facts.power_off_assembled(machine).unwrap();
    said
}

/// A boot that ends with another start of the machine, by itself. Gives what the console said.
fn starts_again(site: &Site) -> String {
    let said = start(site).wait_until_off().unwrap().said;
    println!("{said}");
    said
}

/// `seen` is a command that shows what names the kernels.
fn goes_on_by_the_boot_loader(kernels: &TwoKernels, partitions: &[Partition], seen: &str) {
    let TwoKernels { site, old, .. } = kernels;
    gpt::assemble(&site.path("clone.img"), partitions).unwrap();
    comes_up(site, 1, old, seen);

    // A kernel that dies: its initramfs is none.
    let new = kernels.upgrade();
    let initramfs = site.model.root().join(format!("boot/initrd.img-{new}"));
    let whole = fs::read(&initramfs).unwrap();
    fs::write(&initramfs, "no archive").unwrap();
    assert_eq!(site.publish().unwrap(), 2);
    let said = starts_again(site);
    let refused = format!("the running kernel refuses {new}: ");
    assert!(said.contains(&refused), "{said}");
    assert!(
        said.contains("starts it now: this machine starts again"),
        "{said}"
    );
    let said = starts_again(site);
    assert!(said.contains("Kernel panic"), "{said}");
    assert!(
        !said.contains("generation 2"),
        "the agent did not run: {said}"
    );
    let [named, _] = comes_up(site, 1, old, seen);
    assert!(!named.contains(ONCE), "it is gone: {named}");

    // Its next one is well.
    fs::write(&initramfs, whole).unwrap();
    assert_eq!(site.publish().unwrap(), 3);
    starts_again(site);
    let [named, words] = comes_up(site, 3, &new, seen);
    assert!(words.contains(&format!(" reclone.kernel={new}")), "{words}");
    assert!(
        named.contains(&format!("version {new}"))
            || named.contains(&format!("Linux {new}, by reclone'")),
        "{named}"
    );
    assert!(!named.contains(ONCE), "{named}");
    let [again, words] = comes_up(site, 3, &new, seen);
    assert!(!words.contains("reclone.kernel="), "{words}");
    let counted = named.replace("+3.conf\n", ".conf\n");
    assert_eq!(again, counted, "nothing was written but that it is good");
}

fn partitions(site: &Site) -> [Partition; 2] {
    [
        partition(site, "esp", "U", "esp.img"),
        partition(site, "root", "L", "plain.img"),
    ]
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn grub_goes_on_with_the_kernel_that_the_running_one_refuses() {
    if !Machine::available() {
        return;
    }
    let kernels = TwoKernels::prepare("once-grub", Some(FSTAB));
    let TwoKernels { site, old, .. } = &kernels;
    assert_eq!(site.publish().unwrap(), 1);
    let server = site.serve(&site.store()).unwrap();
    grub::configure(site, HEAD, old, "", &words(server.url())).unwrap();
    uefi::grub(site, grub::TO_ROOT).unwrap();
    let seen = "cd /run/reclone/disk/boot/grub; cat custom.cfg; cat grubenv; find reclone";
    goes_on_by_the_boot_loader(&kernels, &partitions(site), seen);
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn systemd_boot_goes_on_with_the_kernel_that_the_running_one_refuses() {
    if !Machine::available() {
        return;
    }
    let kernels = TwoKernels::prepare("once-bls", Some(FSTAB));
    let site = &kernels.site;
    assert_eq!(site.publish().unwrap(), 1);
    let server = site.serve(&site.store()).unwrap();
    uefi::systemd_boot(site, &words(server.url()), 400).unwrap();
    let seen = "cd /boot/efi; cat loader/entries/*; ls loader/entries; find reclone; ls /sys/firmware/efi/efivars";
    goes_on_by_the_boot_loader(&kernels, &partitions(site), seen);
}
