//! systemd-boot: entries on an EFI system partition, which is FAT.

use std::fs;
use std::path::Path;
use std::process::Command;

use reclone::loader::{Loader, Put};

use super::disk::{device_of, in_memory, kernels, put, snapshot};
use super::mounts::{Mount, is_root};

#[test]
fn entries_on_a_system_partition_follow_and_go() {
    if !is_root() {
        return;
    }
    // The latter for kernels without the former.
    for kind in ["vfat", "ext4"] {
        let folder = in_memory();
        let image = folder.path().join("esp.img");
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let made = Command::new(format!("mkfs.{kind}")).arg(&image).output();
        let esp = made
            .map_err(|error| error.to_string())
            .and_then(|_| Mount::try_new(kind, &image, "loop", &folder.path().join("esp")));
        match esp {
            Ok(esp) => follow_and_go(folder.path(), &esp),
            Err(error) => eprintln!("SKIPPED: {kind}: {error}"),
        }
    }
}

fn follow_and_go(folder: &Path, esp: &Mount) {
    let root = folder.join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(
        root.join("etc/fstab"),
        format!("{} /boot/efi vfat umask=0077 0 1\n", device_of(esp)),
    )
    .unwrap();
    let put = |version| put(&root, folder, version);
    let error = put(1).unwrap_err().to_string();
    assert!(error.contains("no loader/entries"), "{error}");
    let entries = esp.path().join("loader/entries");
    fs::create_dir_all(&entries).unwrap();
    fs::write(entries.join("debian.conf"), "title Debian\n").unwrap();

    let read =
        |role: &str| fs::read_to_string(entries.join(format!("reclone-{role}.conf"))).unwrap();
    assert_eq!(put(1).unwrap(), Put::Done);
    let first = read("current");
    let id = first.lines().find_map(|line| {
        line.strip_prefix("linux /reclone/")?
            .strip_suffix("/vmlinuz")
    });
    let id = id.unwrap().to_owned();
    assert_eq!(
        first,
        format!(
            "title Linux 6.12.1+deb13-amd64, by reclone\nsort-key 00reclone0\nversion 6.12.1+deb13-amd64\n\
             linux /reclone/{id}/vmlinuz\ninitrd /reclone/{id}/initrd.img\noptions root=/dev/vda1 ro quiet it's=$1\n"
        )
    );
    let before = snapshot(esp.path());
    assert_eq!(put(1).unwrap(), Put::Stands);
    assert_eq!(snapshot(esp.path()), before);
    for version in 2..=3 {
        assert_eq!(put(version).unwrap(), Put::Done);
        assert_eq!(kernels(esp.path()), [version - 1, version]);
        assert!(read("current").contains(&format!("version 6.12.{version}+")));
        assert!(read("previous").contains(&format!("version 6.12.{}+", version - 1)));
    }
    remove(&root);
    let left: Vec<_> = fs::read_dir(&entries)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(left, ["debian.conf"]);
    assert!(!esp.path().join("reclone").exists());
}

fn remove(root: &Path) {
    assert!(Loader::find(root).unwrap().remove(false).unwrap());
}
