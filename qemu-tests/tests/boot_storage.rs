//! Root file systems in other layouts than one ext4 on one partition: each is cloned for the first time and updated once.
#![allow(clippy::unwrap_used)]

use qemu_tests::facts::Facts;
use qemu_tests::initramfs::System;
use qemu_tests::layout::{Layout, install};
use qemu_tests::machine::Machine;
use qemu_tests::site::{Site, store_word};

/// The clone's own fstab, nothing of the last session, and a disk that was left clean.
const SEEN: &str = "cat /etc/fstab; ls /etc/drift 2>&1; dmesg | grep -ciE 'starting recovery|recovery complete'; echo drift >/etc/drift";
const PASSPHRASE: &str = "open sesame";

/// As Debian's installer makes an encrypted system: LVM in LUKS.
const LVM_IN_LUKS: Layout = Layout {
    packages: &["cryptsetup", "cryptsetup-initramfs", "lvm2"],
    make: "printf \"open sesame\" | cryptsetup luksFormat --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $disk -; \
        printf \"open sesame\" | cryptsetup open $disk crypt -; pvcreate -q /dev/mapper/crypt; vgcreate -q vg /dev/mapper/crypt; \
        lvcreate -q -y -n root -l 100%FREE vg; mkfs.ext4 -q /dev/vg/root; mount /dev/vg/root /mnt",
    close: "vgchange -q -an vg; cryptsetup close crypt",
    fstab: "/dev/mapper/vg-root / ext4 errors=remount-ro 0 1\n",
    crypttab: Some("crypt /dev/disk/by-id/virtio-root none luks,initramfs\n"),
    words: "root=/dev/mapper/vg-root",
};

/// The root is a subvolume.
const BTRFS: Layout = Layout {
    packages: &["btrfs-progs"],
    make: "mkfs.btrfs -q $disk; mount $disk /mnt; btrfs -q subvolume create /mnt/@; umount /mnt; mount -o subvol=@ $disk /mnt",
    close: "true",
    fstab: "/dev/disk/by-id/virtio-root / btrfs subvol=@ 0 0\n",
    crypttab: None,
    words: "rootfstype=btrfs rootflags=subvol=@",
};

const XFS: Layout = Layout {
    packages: &["xfsprogs"],
    make: "mkfs.xfs -q $disk; mount $disk /mnt",
    close: "true",
    fstab: "/dev/disk/by-id/virtio-root / xfs defaults 0 1\n",
    crypttab: None,
    words: "rootfstype=xfs",
};

/// Clones a disk of this layout and updates it once; what a boot asks for is given by `unlock`.
fn follows_its_model(name: &str, layout: &Layout, unlock: impl Fn(&mut Machine)) {
    if !Machine::available() {
        return;
    }
    let site = Site::prepare(System::DEFAULT, name, layout.packages, |tree| {
        tree.write("etc/fstab", layout.fstab)
    });
    let site = site.unwrap();
    install(&site, layout, "clone.img", 1700).unwrap();
    if let Some(crypttab) = layout.crypttab {
        site.remake_initramfs("etc/crypttab", crypttab).unwrap();
    }
    assert_eq!(site.publish().unwrap(), 1);
    let server = site.serve(&site.store()).unwrap();
    for generation in 1..=2 {
        let words = format!("{} {}", store_word(server.url()), layout.words);
        let mut machine = site.machine("clone.img").words(&words).start().unwrap();
        unlock(&mut machine);
        let facts = Facts::once_up(&mut machine).unwrap();
        facts.assert_runs(generation);
        let seen = machine.report(SEEN);
        let expected = format!(
            "{}ls: cannot access '/etc/drift': No such file or directory\n0\n",
            layout.fstab
        );
        assert_eq!(seen.unwrap(), expected);
        facts.power_off_assembled(machine).unwrap();
        site.model.write("etc/model-version", "2\n").unwrap();
        site.publish().unwrap();
    }
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn lvm_in_luks_with_a_passphrase_on_the_console() {
    follows_its_model("luks", &LVM_IN_LUKS, |machine| {
        machine.console.expect("Please unlock disk crypt").unwrap();
        machine.console.send(PASSPHRASE).unwrap();
    });
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn a_subvolume_of_btrfs() {
    follows_its_model("btrfs", &BTRFS, |_| {});
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn xfs() {
    follows_its_model("xfs", &XFS, |_| {});
}
