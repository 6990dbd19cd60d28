//! GRUB on the root partition and on one of its own.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use reclone::loader::{Loader, Put};
use reclone::sys::freeze;

use super::disk::{Disk, GRUB_CFG, device_of, in_memory, kernels, put, snapshot};
use super::mounts::{Mount, is_root, xfs};

/// Whether GRUB itself can read it.
pub fn check(script: &Path) {
    match Command::new("grub-script-check").arg(script).output() {
        Err(error) => eprintln!("SKIPPED: no grub-script-check: {error}"),
        Ok(output) => assert!(output.status.success(), "{output:?}"),
    }
}

/// The releases of current and previous.
fn named(disk: &Disk) -> (String, String) {
    let entries = Loader::find(disk.mount.path()).unwrap().entries().unwrap();
    let release = |entry: Option<reclone::loader::Entry>| {
        entry.map_or(String::new(), |it| it.release().to_owned())
    };
    (release(entries.current), release(entries.previous))
}

#[test]
fn a_kernel_gets_there_once_and_then_nothing_is_written() {
    if !is_root() {
        return;
    }
    let disk = Disk::new(40);
    assert_eq!(disk.put(1).unwrap(), Put::Done);
    assert_eq!(kernels(&disk.grub()), [1]);
    check(&disk.grub().join("custom.cfg"));
    let custom = disk.custom();
    // The token of a clone may be in it.
    let mode = |path: &str| {
        fs::metadata(disk.grub().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("reclone"), mode("custom.cfg")), (0o700, 0o600));
    for part in [
        "menuentry 'Linux 6.12.1+deb13-amd64, by reclone' --unrestricted --id reclone-current {",
        "/vmlinuz\" 'root=/dev/vda1' 'ro' 'quiet' 'it'\\''s=$1'\n",
        "set default=reclone-current",
        "set fallback=0",
    ] {
        assert!(custom.contains(part), "{part}: {custom}");
    }
    let before = snapshot(disk.mount.path());
    assert_eq!(disk.put(1).unwrap(), Put::Stands);
    assert_eq!(snapshot(disk.mount.path()), before);
    fs::write(
        disk.grub()
            .join("reclone")
            .read_dir()
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path()
            .join("vmlinuz"),
        "cut",
    )
    .unwrap();
    assert_eq!(
        disk.put(1).unwrap(),
        Put::Done,
        "one that is damaged is mended"
    );
    assert_eq!(kernels(&disk.grub()), [1]);
    assert_eq!(disk.custom(), custom);
}

#[test]
fn the_one_before_stays_older_ones_go_and_what_the_administrator_wrote_stays() {
    if !is_root() {
        return;
    }
    let disk = Disk::new(40);
    let path = disk.grub().join("custom.cfg");
    let own = [
        "menuentry 'Memory test' { linux /memtest }\n",
        "set timeout=3\n",
    ];
    fs::write(&path, own[0]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    disk.put(1).unwrap();
    fs::write(&path, disk.custom() + own[1]).unwrap();
    for version in 2..=3 {
        disk.put(version).unwrap();
        check(&path);
        assert_eq!(kernels(&disk.grub()), [version - 1, version]);
        let release = |version| format!("6.12.{version}+deb13-amd64");
        assert_eq!(named(&disk), (release(version), release(version - 1)));
        let custom = disk.custom();
        assert!(
            custom.starts_with(own[0]) && custom.ends_with(own[1]),
            "{custom}"
        );
        assert_eq!(custom.matches("menuentry").count(), 3, "{custom}");
    }
    assert_eq!(disk.put(2).unwrap(), Put::Done, "back to the one before");
    assert_eq!(kernels(&disk.grub()), [2, 3]);
    assert_eq!(named(&disk).0, "6.12.2+deb13-amd64");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o644
    );

    let loader = Loader::find(disk.mount.path()).unwrap();
    assert!(loader.remove(true).unwrap(), "it would go");
    assert_eq!(kernels(&disk.grub()), [2, 3]);
    assert!(loader.remove(false).unwrap());
    assert_eq!(disk.custom(), own.concat());
    assert!(!disk.grub().join("reclone").exists());
    assert!(!loader.remove(false).unwrap(), "it is gone");
}

#[test]
fn what_is_put_is_seen_by_who_does_not_replay_a_journal() {
    if !is_root() {
        return;
    }
    let disk = Disk::new(40);
    for version in 1..=2 {
        disk.put(version).unwrap();
    }
    assert_eq!(disk.as_grub_sees(), [2, 1]);

    let later = disk.grub().join("reclone/later");
    fs::write(&later, "later").unwrap();
    let folder = File::open(disk.grub()).unwrap();
    nix::unistd::syncfs(&folder).unwrap();
    // This machine's kernel may be older than the call, which settle then does without.
    match freeze::checkpoint(&folder).unwrap() {
        true => {
            let copy = disk.folder.path().join("copy");
            fs::copy(disk.folder.path().join("disk"), &copy).unwrap();
            let at = disk.folder.path().join("seen");
            let seen = Mount::new("ext4", &copy, "loop,ro,noload", &at);
            let path = seen.path().join("boot/grub/reclone/later");
            assert_eq!(fs::read_to_string(path).unwrap(), "later");
        }
        false => eprintln!("SKIPPED: this kernel knows no EXT4_IOC_CHECKPOINT"),
    }
    let other = in_memory();
    let other = xfs(other.path(), 300);
    let folder = File::open(other.path()).unwrap();
    assert!(!freeze::checkpoint(&folder).unwrap(), "xfs has none");
    freeze::settle(&folder).unwrap();
    fs::write(other.path().join("it thaws"), "").unwrap();
}

#[test]
fn a_disk_without_room_stays_as_it_is_and_the_figures_are_said() {
    if !is_root() {
        return;
    }
    let disk = Disk::new(40);
    disk.put(1).unwrap();
    // Half written, and named by nothing: it makes no room, but goes when there is to be some.
    let half = disk.grub().join("reclone/6.12.9-half");
    fs::create_dir(&half).unwrap();
    let filler = disk.mount.path().join("filler");
    let free = nix::sys::statvfs::statvfs(disk.mount.path()).unwrap();
    let free = free.blocks_available() * free.fragment_size();
    fs::write(&filler, vec![1; usize::try_from(free).unwrap() - (5 << 19)]).unwrap();
    let custom = disk.custom();
    let error = disk.put(2).unwrap_err().to_string();
    assert!(error.contains("/boot/grub: 4 MiB are needed for the kernel 6.12.2+deb13-amd64, 2 MiB are free: remove old kernels"), "{error}");
    assert_eq!((disk.custom(), kernels(&disk.grub())), (custom, vec![1]));
    fs::remove_file(filler).unwrap();
    assert_eq!(disk.put(2).unwrap(), Put::Done);
}

#[test]
fn what_can_not_be_understood_is_left_alone_and_said() {
    if !is_root() {
        return;
    }
    let disk = Disk::new(40);
    disk.put(1).unwrap();
    let path = disk.grub().join("custom.cfg");
    let cut = disk.custom().replace("### END reclone ###", "");
    fs::write(&path, &cut).unwrap();
    let error = disk.put(2).unwrap_err().to_string();
    assert!(
        error.contains("custom.cfg: the line `### END reclone ###` is missing"),
        "{error}"
    );
    assert_eq!((disk.custom(), kernels(&disk.grub())), (cut, vec![1]));

    fs::write(
        disk.grub().join("grub.cfg"),
        "menuentry 'Debian' { linux /vmlinuz }\n",
    )
    .unwrap();
    let error = disk.put(2).unwrap_err().to_string();
    assert!(
        error.contains("grub.cfg does not read custom.cfg: run `update-grub`"),
        "{error}"
    );
    fs::remove_file(disk.grub().join("grub.cfg")).unwrap();
    let error = disk.put(2).unwrap_err().to_string();
    assert!(
        error.contains("this disk has no boot loader that reclone knows"),
        "{error}"
    );
}

#[test]
fn a_boot_partition_is_found_by_the_fstab_of_the_plain_system() {
    if !is_root() {
        return;
    }
    let folder = in_memory();
    let boot = xfs(folder.path(), 300);
    let root = folder.path().join("root");
    for path in [
        root.join("etc"),
        root.join("boot/grub"),
        boot.path().join("grub"),
    ] {
        fs::create_dir_all(path).unwrap();
    }
    // One that a partition hides.
    fs::write(root.join("boot/grub/grub.cfg"), GRUB_CFG).unwrap();
    fs::write(boot.path().join("grub/grub.cfg"), GRUB_CFG).unwrap();
    let fstab = format!(
        "#/dev/no /boot ext4\nPARTLABEL=no /home ext4\n{}\t/boot/  xfs defaults 0 2\n",
        device_of(&boot)
    );
    fs::write(root.join("etc/fstab"), fstab).unwrap();
    for version in 1..=2 {
        put(&root, folder.path(), version).unwrap();
    }
    assert_eq!(kernels(&boot.path().join("grub")), [1, 2]);
    assert!(!root.join("boot/grub/custom.cfg").exists());
}
