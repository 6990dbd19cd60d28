//! A disk that can not be read, or written, at some places.

use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use reclone_format::{Head, head, object_id_of};

use crate::disk::{Clone, FAILS, PausedSync, READ_ONLY, complaints, complaints_of_image};
use crate::faulty_disk::{Faults, possible};
use crate::mounts::is_root;
use crate::noise::noise;
use crate::programs::{complaint, succeed};
use crate::versions::{content, line};

/// Reads of what is here now fail. What is written later goes elsewhere.
fn fail_reads_of(clone: &Clone, needle: &[u8]) {
    let reads = clone.disk.places(needle);
    clone.disk.fail(Faults {
        reads,
        ..Faults::default()
    });
}

fn writes_of(needle: impl Into<Vec<u8>>) -> Faults {
    Faults {
        writes_of: vec![needle.into()],
        ..Faults::default()
    }
}

/// The place of a file's content in the pool.
fn object(version: u64, number: u64) -> String {
    let id = object_id_of(content(version, number).as_bytes());
    format!("objects/{}", id.pool_path())
}

/// How an image names that place, and nothing else does.
fn shown(version: u64, number: u64) -> Vec<u8> {
    object(version, number).replace("objects", "").into_bytes()
}

#[test]
fn an_object_a_manifest_or_an_image_that_can_not_be_read_is_named_and_fetched_again() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::updated(48);
    let block =
        |clone: &Clone, name: &str| fs::read(clone.pool(name)).unwrap()[1024..1088].to_vec();
    let parts = [
        (object(1, 7), line(1, 7).repeat(8).into_bytes()),
        ("manifests/2".to_owned(), block(&clone, "manifests/2")),
        ("images/2".to_owned(), shown(2, 6)),
    ];
    for (name, needle) in parts {
        let damaged = format!("{} is damaged or missing\n", clone.pool(&name).display());
        fail_reads_of(&clone, &needle);
        clone.remount();
        let output = clone.site().verb("verify").output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), damaged);
        let line = format!(
            "The pool {} has 1 damaged or missing files: run `reclone verify --repair`",
            clone.site().pool.display()
        );
        assert_eq!(complaint(&mut clone.site().verb("verify"), 8), line);
        let mut repair = clone.site().verb("verify");
        repair
            .arg("--repair")
            .arg("--key")
            .arg(clone.site().public_key());
        let (said, _) = succeed(&mut repair);
        assert_eq!(said, format!("{damaged}all damage is mended\n"));
        // What was fetched has blocks of its own, which can be read.
        clone.disk.heal();
        clone.remount();
        clone.versions.assert_whole(2);
    }
}

#[test]
fn a_generation_whose_image_can_not_be_read_makes_room_for_the_one_before() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::updated(48);
    // In the block with the top of the tree.
    fail_reads_of(&clone, &shown(2, 0));
    let said = clone.boot("reclone=skip", Some(1));
    assert_eq!(complaints(&said), complaints_of_image(FAILS));
    clone.disk.heal();
    clone.boot_quietly("reclone=skip", 2);
}

#[test]
fn a_record_that_can_not_be_read_is_named() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::updated(48);
    fail_reads_of(&clone, b"reclone-state 1\nmodel test\n");
    let said = clone.boot("", None);
    let at = |path: &str| format!("can not read {path}/state: {FAILS}");
    // In the shell that opens then, the disk is at /root.
    let lines = [at("/run/reclone/disk/reclone"), at("/root/reclone")];
    assert_eq!(complaints(&said), lines);
    let pool = clone.site().pool.display().to_string();
    assert_eq!(complaint(&mut clone.site().sync(), 1), at(&pool));
    clone.disk.heal();
    clone.remount();
    clone.versions.goes_on(2);
    clone.boot("", Some(2));
}

#[test]
fn what_did_not_reach_the_disk_is_not_committed_and_not_taken_over() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::new(48);
    clone.versions.publish(2);
    clone.disk.fail(writes_of(line(2, 6).repeat(8)));
    let said = complaint(&mut clone.site().sync(), 1);
    assert_eq!(
        said,
        format!("can not sync {}: {FAILS}", clone.pool("staging").display())
    );
    clone.versions.assert_whole(1);
    // The kernel holds it for written now, and has it in memory.
    clone.disk.heal();
    succeed(&mut clone.site().sync());
    clone.remount();
    clone.versions.assert_whole(2);
}

#[test]
fn a_failed_write_that_another_program_was_told_of_is_not_missed() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::new(48);
    let large = noise(1 << 20, 1);
    fs::write(clone.site().tree.join("large"), &large).unwrap();
    clone.versions.publish(2);
    let sync = PausedSync::start_after(clone.site(), large.len() - 1000);
    let staging = clone.pool("staging");
    let object = object_id_of(&large).pool_path();
    let object = staging.join("objects").join(object);
    while fs::metadata(&object).map_or(0, |it| it.len()) < 100_000 {
        thread::sleep(Duration::from_millis(5));
    }
    clone.disk.fail(writes_of(&large[10_000..10_064]));
    let told = nix::unistd::syncfs(File::open(&staging).unwrap());
    assert_eq!(told, Err(Errno::EIO));
    clone.disk.heal();
    let line = format!("can not sync {}: {FAILS}", staging.display());
    assert_eq!(sync.fail(1), line);
    clone.versions.assert_whole(1);
    succeed(&mut clone.site().sync());
    clone.remount();
    clone.versions.assert_whole(2);
}

#[test]
fn a_disk_that_takes_no_writes_any_more_leaves_the_old_generation() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::new(48);
    clone.versions.publish(2);
    let sync = PausedSync::start(clone.site());
    clone.disk.fail(Faults {
        writes: true,
        ..Faults::default()
    });
    let staging = clone.pool("staging");
    let said = sync.fail(1);
    assert_eq!(said, format!("can not sync {}: {FAILS}", staging.display()));
    assert_eq!(clone.versions.current(), 1);
    // ext4 has turned read-only.
    let said = complaint(&mut clone.site().sync(), 1);
    let manifest = staging.join("manifest");
    assert_eq!(
        said,
        format!("can not create {}: {READ_ONLY}", manifest.display())
    );
    // It was a loose cable.
    clone.disk.heal();
    clone.remount();
    clone.versions.assert_whole(1);
    clone.versions.goes_on(2);
}

#[test]
fn a_store_on_a_disk_that_can_not_be_read_is_named() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::new(48);
    clone.versions.publish(2);
    let store = clone.path("store");
    let mut copy = Command::new("cp");
    succeed(copy.arg("-a").arg(&clone.site().store).arg(&store));
    nix::unistd::syncfs(File::open(&store).unwrap()).unwrap();
    let bytes = fs::read(store.join("head")).unwrap();
    let pack = Head::parse(head::split(&bytes).unwrap().0).unwrap().packs[0].clone();
    let pack = store.join(pack.id.store_path());
    let end = fs::read(&pack).unwrap();
    for (path, needle) in [
        (store.join("head"), &bytes[..64]),
        (pack, &end[end.len() - 64..]),
    ] {
        fail_reads_of(&clone, needle);
        clone.remount();
        let said = complaint(&mut clone.site().sync_from(&store), 4);
        assert_eq!(
            said,
            format!("{}: Input/output error (os error 5)", path.display())
        );
        clone.disk.heal();
        clone.versions.assert_whole(1);
    }
    succeed(&mut clone.site().sync_from(&store));
    clone.versions.assert_whole(2);
}
