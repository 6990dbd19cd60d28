//! A disk that is too small, fills up, or can not be written.

use std::fs;
use std::path::Path;
use std::process::Command;

use reclone_format::object_id_of;

use crate::mounts::{Mount, is_root};
use crate::noise::noise;
use crate::programs::{Site, complaint, succeed};

/// A site whose pool is on a memory file system with these options, with generation 1 in it and a little one published
/// after it.
fn small_disk(folder: &Path, options: &str) -> (Site, Mount) {
    let mut site = Site::new(folder);
    let disk = Mount::new("tmpfs", Path::new("none"), options, &folder.join("disk"));
    site.pool = disk.path().join("pool");
    fs::write(site.tree.join("file"), "1").unwrap();
    site.publish_with(&["--no-delta"]);
    succeed(&mut site.sync());
    (site, disk)
}

fn remount(disk: &Mount, options: &str) {
    let options = format!("remount,{options}");
    succeed(
        Command::new("mount")
            .args(["-o", &options])
            .arg(disk.path()),
    );
}

#[test]
fn a_disk_that_is_too_small_is_told_before_it_is_full() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (site, disk) = small_disk(folder.path(), "size=24m");
    fs::write(site.tree.join("large"), noise(12 << 20, 1)).unwrap();
    site.publish_with(&["--no-delta"]);
    let said = complaint(&mut site.sync(), 6);
    let start = format!(
        "{}: 28 MiB are needed, 23 MiB are free",
        site.pool.display()
    );
    assert_eq!(
        said,
        format!(
            "{start}: make room on this disk, or put the pool on a larger one with pool-device"
        )
    );
    assert_eq!(site.status()["current"].as_u64(), Some(1));
    succeed(&mut site.verb("verify"));
    remount(&disk, "size=64m");
    succeed(&mut site.sync());
    succeed(&mut site.verb("verify"));
    assert_eq!(site.status()["current"].as_u64(), Some(2));
}

#[test]
fn a_disk_that_fills_at_any_point_leaves_the_old_generation() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Bytes enough, but no inodes: nothing foresees that.
    let (site, disk) = small_disk(folder.path(), "size=64m");
    for number in 0..6 {
        fs::write(site.tree.join(number.to_string()), number.to_string()).unwrap();
    }
    site.publish_with(&["--no-delta"]);
    let used = |path: &Path| {
        let it = nix::sys::statvfs::statvfs(path).unwrap();
        it.files() - it.files_free()
    };
    let mut failures = 0;
    loop {
        let inodes = used(disk.path()) + failures;
        remount(&disk, &format!("nr_inodes={inodes}"));
        let output = site.sync().output().unwrap();
        if output.status.success() {
            break;
        }
        let said = complaint(&mut site.sync(), 6);
        assert!(said.starts_with("can not "), "{said}");
        assert!(
            said.ends_with(": No space left on device (os error 28): make room for bytes (`df -h`) or files (`df -i`), or put the pool on a larger disk with pool-device"),
            "{said}"
        );
        assert_eq!(site.status()["current"].as_u64(), Some(1));
        assert!(!site.pool.join("staging").exists());
        failures += 1;
    }
    assert!(failures > 8, "{failures}");
    assert_eq!(site.status()["current"].as_u64(), Some(2));
    succeed(&mut site.verb("verify"));
}

#[test]
fn what_makes_room_for_a_sync_is_not_missing_in_it() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (site, _disk) = small_disk(folder.path(), "size=46m");
    // Generation 2 brings two objects that 3 and 4 do without; 5 needs one of them again, beside a large one.
    let (again, other) = (site.tree.join("again"), site.tree.join("other"));
    let content = noise(4 << 20, 2);
    fs::write(&again, &content).unwrap();
    fs::write(&other, noise(10 << 20, 3)).unwrap();
    site.publish_with(&["--no-delta"]);
    succeed(&mut site.sync());
    fs::remove_file(&again).unwrap();
    fs::remove_file(&other).unwrap();
    for text in ["3", "4"] {
        fs::write(site.tree.join("file"), text).unwrap();
        site.publish();
        succeed(&mut site.sync());
    }
    let object = site
        .pool
        .join("objects")
        .join(object_id_of(&content).pool_path());
    assert!(object.exists());
    fs::write(&again, &content).unwrap();
    fs::write(site.tree.join("large"), noise(20 << 20, 4)).unwrap();
    site.publish_with(&["--no-delta"]);
    // Room for the large one is made by removing both; the one that is wanted comes from the store.
    let (said, log) = succeed(&mut site.sync());
    assert!(
        log.contains("the disk is short of space: removing what no generation needs"),
        "{log}"
    );
    assert!(
        said.starts_with("generation 5 is current: 2 objects, 24.0 MiB"),
        "{said}"
    );
    succeed(&mut site.verb("verify"));
}

#[test]
fn a_pool_that_can_not_be_written_is_named() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (site, disk) = small_disk(folder.path(), "size=64m");
    remount(&disk, "ro");
    let line = format!(
        "can not open {}/lock: Read-only file system (os error 30): nobody can write to this disk; if that was not asked for, `dmesg` tells why",
        site.pool.display()
    );
    for verb in ["verify", "prune", "rollback"] {
        assert_eq!(complaint(&mut site.verb(verb), 1), line, "{verb}");
    }
    assert_eq!(complaint(&mut site.sync(), 1), line);
    assert_eq!(site.status()["current"].as_u64(), Some(1));
    remount(&disk, "rw");
    succeed(&mut site.sync());
}
