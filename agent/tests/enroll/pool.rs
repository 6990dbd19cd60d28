//! What `unenroll` does with the pool.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::machine::{Generator, Machine};
use crate::programs::{complaint, succeed};
use crate::{CONF, configuration, site};

#[test]
fn the_pool_goes_only_when_asked_for_and_kept_folders_go_back() {
    let folder = tempfile::tempdir().unwrap();
    let (_, server) = site(folder.path());
    let machine = Machine::new(Generator::Tools);
    // As a first boot leaves it: /home is in the pool and a link leads there; of /srv, the clone never had one.
    machine.write("reclone/state", "x");
    machine.write("reclone/folders/home/thesis", "mine");
    machine.write("reclone/folders/srv/file", "the model's");
    machine.write("reclone/folders/var%2flib%2fdb/data", "1");
    symlink("reclone/folders/home", machine.path("home")).unwrap();
    fs::create_dir_all(machine.path("var/lib")).unwrap();
    symlink(
        "../../reclone/folders/var%2flib%2fdb",
        machine.path("var/lib/db"),
    )
    .unwrap();
    symlink("/etc", machine.path("srv")).unwrap();
    machine.write(CONF, &configuration(&server));

    let (_, log) = succeed(&mut machine.unenroll(&[]));
    assert!(
        log.contains("/reclone stays: `reclone unenroll --remove-pool` removes it"),
        "{log}"
    );
    assert!(
        !machine.path("reclone/state").exists(),
        "a boot finds no generation"
    );
    assert_eq!(machine.read("reclone/state.unenrolled").unwrap(), "x");
    assert_eq!(machine.read("home/thesis").unwrap(), "mine");

    let (_, log) = succeed(&mut machine.unenroll(&["--remove-pool"]));
    assert!(
        log.contains("/home is back") && log.contains("/var/lib/db is back"),
        "{log}"
    );
    assert!(!machine.path("reclone").exists());
    for (path, content) in [("home/thesis", "mine"), ("var/lib/db/data", "1")] {
        assert_eq!(machine.read(path).unwrap(), content);
    }
    let is_link = |name: &str| machine.path(name).symlink_metadata().unwrap().is_symlink();
    assert_eq!(
        ["home", "var/lib/db", "srv"].map(is_link),
        [false, false, true]
    );
}

#[test]
fn a_pool_elsewhere_is_left_to_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let (_, server) = site(folder.path());
    let machine = Machine::new(Generator::Tools);
    machine.write(CONF, "pool-device = LABEL=pool\n");
    succeed(&mut machine.enroll(&server, &[]));
    assert_eq!(
        complaint(&mut machine.unenroll(&["--remove-pool"]), 2),
        "the pool is on LABEL=pool: run this without --remove-pool, then remove the folder reclone there"
    );
    let (_, log) = succeed(&mut machine.unenroll(&[]));
    for line in [
        "`pool-device = LABEL=pool` goes from /etc/reclone/reclone.conf, too",
        "can not mount the partition /dev/disk/by-label/pool: it is not there: \
         before this machine follows another model, remove the file reclone/state on LABEL=pool",
    ] {
        assert!(log.contains(line), "{log}");
    }
    assert_eq!(machine.read(CONF), None);
}

/// A disk in a file, for as long as this lives.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn the_record_of_a_pool_elsewhere_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (image, tree) = (folder.path().join("disk"), folder.path().join("tree"));
    fs::create_dir_all(tree.join("reclone")).unwrap();
    fs::write(tree.join("reclone/state"), "x").unwrap();
    File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let mut mkfs = Command::new("mkfs.ext4");
    succeed(mkfs.args(["-q", "-d"]).args([&tree, &image]));
    let mut losetup = Command::new("losetup");
    let (device, _) = succeed(losetup.args(["--find", "--show"]).arg(&image));
    let disk = Loop(device.trim().to_owned());
    let machine = Machine::new(Generator::Tools);
    machine.write(
        CONF,
        &format!("store = http://x\npool-device = {}\n", disk.0),
    );
    let (_, log) = succeed(&mut machine.unenroll(&[]));
    let line = format!(
        "the pool stays: remove the folder reclone on {} if it is not wanted",
        disk.0
    );
    assert!(log.contains(&line), "{log}");
    assert!(!machine.path("run/reclone-unenroll").exists());
    drop(disk);
    let mut debugfs = Command::new("debugfs");
    let (record, _) = succeed(
        debugfs
            .args(["-R", "cat reclone/state.unenrolled"])
            .arg(&image),
    );
    assert_eq!(record, "x");
}
