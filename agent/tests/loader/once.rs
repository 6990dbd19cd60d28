//! A kernel for one boot: what GRUB and systemd-boot read of it, and that it leaves nothing.

use std::fs;
use std::process::Command;

use reclone::loader::{Loader, Put};

use super::disk::{Disk, GRUB_CFG, contents, in_memory, kernel, kernels, snapshot};
use super::grub::check;
use super::mounts::is_root;

/// What `grub-mkconfig` has at the top of its file.
const HEAD: &str = "if [ \"${next_entry}\" ] ; then
  set default=\"${next_entry}\"
  set next_entry=
  save_env next_entry
fi
";
const MEMTEST: &str = "menuentry 'Memory test' { linux /memtest }";

fn disk() -> Disk {
    let disk = Disk::new(40);
    fs::write(disk.grub().join("grub.cfg"), format!("{HEAD}{GRUB_CFG}")).unwrap();
    disk
}

fn start_once(disk: &Disk, version: u32) -> reclone::Result<()> {
    Loader::find(disk.mount.path())?.start_once(&kernel(disk.folder.path(), version))
}

/// The version that is there for one boot, whole.
fn once(disk: &Disk) -> Option<u32> {
    let folder = disk.grub().join("reclone-once");
    let [vmlinuz, initramfs] = ["vmlinuz", "initrd.img"].map(|it| fs::read(folder.join(it)));
    let (vmlinuz, initramfs) = (vmlinuz.ok()?, initramfs.unwrap());
    let mut versions = 1..9;
    versions.find(|version| {
        let whole = contents(*version);
        vmlinuz == whole[0] && initramfs.starts_with(&whole[1])
    })
}

/// What GRUB's own tool reads in `grubenv`; `None` where there is no such tool.
fn grubenv(disk: &Disk) -> Option<String> {
    let path = disk.grub().join("grubenv");
    let output = Command::new("grub-editenv").arg(&path).arg("list").output();
    let output = output
        .inspect_err(|error| eprintln!("SKIPPED: no grub-editenv: {error}"))
        .ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn grub_gets_a_kernel_for_one_boot_beside_those_that_stay() {
    if !is_root() {
        return;
    }
    let disk = disk();
    fs::write(disk.grub().join("custom.cfg"), MEMTEST).unwrap();
    disk.put(1).unwrap();
    let custom = disk.custom();
    let env = "# GRUB Environment Block\nsaved_entry=0\nnext_entry=\n";
    fs::write(disk.grub().join("grubenv"), format!("{env:#<1024}")).unwrap();

    start_once(&disk, 2).unwrap();
    let now = disk.custom();
    assert!(now.starts_with(&custom), "{now}");
    let entry = now.strip_prefix(&custom).unwrap();
    assert!(entry.contains("menuentry 'Linux 6.12.2+deb13-amd64, by reclone: for one boot' --unrestricted --id reclone-once {"), "{entry}");
    assert!(
        entry.contains("/vmlinuz\" 'root=/dev/vda1' 'ro' 'quiet' 'it'\\''s=$1'\n"),
        "{entry}"
    );
    check(&disk.grub().join("custom.cfg"));
    assert_eq!((kernels(&disk.grub()), once(&disk)), (vec![1], Some(2)));
    if let Some(env) = grubenv(&disk) {
        assert_eq!(env, "saved_entry=0\nnext_entry=reclone-once\n");
    }
    assert_eq!(
        fs::metadata(disk.grub().join("grubenv")).unwrap().len(),
        1024
    );

    // Another one takes its place; then it goes, and what is not there is not written.
    start_once(&disk, 3).unwrap();
    assert_eq!(disk.custom().matches("--id reclone-once").count(), 1);
    assert_eq!((kernels(&disk.grub()), once(&disk)), (vec![1], Some(3)));
    let loader = Loader::find(disk.mount.path()).unwrap();
    loader.forget_once().unwrap();
    assert_eq!((disk.custom(), once(&disk)), (custom, None));
    if let Some(env) = grubenv(&disk) {
        assert_eq!(env, "saved_entry=0\n");
    }
    let before = snapshot(disk.mount.path());
    loader.forget_once().unwrap();
    assert_eq!(snapshot(disk.mount.path()), before);
    assert_eq!(disk.put(3).unwrap(), Put::Done);
    assert_eq!(kernels(&disk.grub()), [1, 3]);

    start_once(&disk, 4).unwrap();
    assert!(loader.remove(false).unwrap());
    assert_eq!(disk.custom(), format!("{MEMTEST}\n"));
    assert!(!disk.grub().join("reclone").exists());
}

#[test]
fn nothing_is_written_where_the_choice_would_not_be_forgotten() {
    if !is_root() {
        return;
    }
    let disk = Disk::new(40);
    disk.put(1).unwrap();
    let before = snapshot(disk.mount.path());
    let error = start_once(&disk, 2).unwrap_err().to_string();
    assert_eq!(
        error,
        "GRUB can start nothing for once: its grub.cfg takes no choice"
    );
    assert_eq!(snapshot(disk.mount.path()), before);

    let folder = in_memory();
    let grub = folder.path().join("root/boot/grub");
    fs::create_dir_all(&grub).unwrap();
    fs::write(grub.join("grub.cfg"), format!("{HEAD}{GRUB_CFG}")).unwrap();
    let loader = Loader::find(&folder.path().join("root")).unwrap();
    let error = loader
        .start_once(&kernel(folder.path(), 1))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "GRUB can start nothing for once: it could not forget the choice, for /dev/shm/"
        ),
        "{error}"
    );
    assert_eq!(fs::read_dir(&grub).unwrap().count(), 1);

    let disk = self::disk();
    disk.put(1).unwrap();
    let custom = disk.custom();
    fs::write(disk.grub().join("grubenv"), "saved_entry=0\n").unwrap();
    let error = start_once(&disk, 2).unwrap_err().to_string();
    assert!(
        error.ends_with("/boot/grub/grubenv: it is not what `grub-editenv` makes"),
        "{error}"
    );
    assert_eq!((disk.custom(), once(&disk)), (custom, None));
}
