//! A disk without room for bytes or for names, at each stage of a sync and at boot.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use crate::disk::{Clone, FULL, PausedSync, WAY_OUT, complaints};
use crate::faulty_disk::possible;
use crate::mounts::is_root;
use crate::programs::{error_line, succeed};

type Fill = fn(&Clone, usize) -> Filling;

/// What fills a disk, until it is dropped.
struct Filling(PathBuf);

impl Filling {
    /// Takes every byte that the disk has but these KiB.
    fn bytes(clone: &Clone, left: usize) -> Self {
        let filling = Self(clone.path("filling"));
        fs::create_dir(&filling.0).unwrap();
        let mut spare = File::create(filling.0.join("spare")).unwrap();
        spare.write_all(&vec![1; left << 10]).unwrap();
        spare.sync_all().unwrap();
        let mut file = File::create(filling.0.join("file")).unwrap();
        let mut size = 1 << 20;
        while size >= 1 << 10 {
            // What is written and not yet on the disk counts twice.
            match file
                .write_all(&vec![1; size])
                .and_then(|()| file.sync_all())
            {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => size /= 2,
                Err(error) => panic!("{error}"),
            }
        }
        fs::remove_file(filling.0.join("spare")).unwrap();
        nix::unistd::syncfs(&file).unwrap();
        filling
    }

    /// Takes every inode that the disk has but these.
    fn names(clone: &Clone, left: usize) -> Self {
        let filling = Self(clone.path("filling"));
        fs::create_dir(&filling.0).unwrap();
        let name = |number: usize| filling.0.join(number.to_string());
        let last = (0..)
            .find(|number| File::create(name(*number)).is_err())
            .unwrap();
        (last - left..last).for_each(|number| fs::remove_file(name(number)).unwrap());
        filling
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0);
        assert!(removed.is_ok() || std::thread::panicking());
    }
}

/// What was full, as paths in the pool, in the lines of a sync that met a full disk.
fn stages(clone: &Clone, said: &str) -> BTreeSet<String> {
    let start = format!("can not write {}/", clone.site().pool.display());
    let lines = said.lines().filter_map(|line| line.split_once(&start));
    let stage =
        |(_, rest): (&str, &str)| rest.strip_suffix(&format!(": {FULL}")).unwrap().to_owned();
    lines.map(stage).collect()
}

/// Syncs on a disk that fills while frames come, and has this little left, a little more each time, until a sync comes to its
/// end; gives what was too much before.
fn fill_at_each_stage(fill: Fill) -> BTreeSet<String> {
    let clone = Clone::new(48);
    clone.versions.publish_files(2, [7]);
    let mut full = BTreeSet::new();
    for left in 0..100 {
        let sync = PausedSync::start(clone.site());
        let filling = fill(&clone, left);
        let (status, said) = sync.end();
        full.append(&mut stages(&clone, &said));
        if status == Some(0) {
            drop(filling);
            clone.versions.goes_on(2);
            return full;
        }
        assert_eq!(status, Some(6), "{said}");
        let line = error_line(&said);
        let short = format!(
            "{}: 16 MiB are needed, 0 MiB are free: {WAY_OUT}",
            clone.site().pool.display()
        );
        assert!(line == short || line.ends_with(FULL), "{line}");
        // The disk has back what the sync took. It is still full.
        assert!(!clone.pool("staging").exists() && !clone.pool("images/2").exists());
        clone.versions.assert_whole(1);
    }
    panic!("no sync came to its end");
}

#[test]
fn a_disk_that_fills_with_bytes_at_any_stage_leaves_the_old_generation() {
    if !is_root() || !possible() {
        return;
    }
    let full = fill_at_each_stage(Filling::bytes);
    // The record's one block is what the file system may have kept back for its own.
    for stage in ["staging/image", "staging/objects"] {
        assert!(full.contains(stage), "{full:?}");
    }
}

#[test]
fn a_disk_that_runs_out_of_inodes_at_any_stage_leaves_the_old_generation() {
    if !is_root() || !possible() {
        return;
    }
    let full = fill_at_each_stage(Filling::names);
    let stages = ["staging/image", "staging/objects", "state"];
    assert_eq!(full, stages.map(str::to_owned).into());
}

#[test]
fn what_no_generation_needs_makes_room_when_inodes_run_out() {
    if !is_root() || !possible() {
        return;
    }
    let clone = Clone::new(48);
    for version in 2..=4 {
        clone.versions.publish(version);
        succeed(&mut clone.site().sync());
    }
    clone.versions.publish_files(5, [7]);
    let filling = Filling::names(&clone, 0);
    let (_, log) = succeed(&mut clone.site().sync());
    let line = "INFO  [reclone::sync] removed what no generation needs, trying again\n";
    assert!(log.contains(line), "{log}");
    clone.versions.assert_whole(5);
    drop(filling);
}

#[test]
fn what_an_interrupted_sync_left_on_a_full_disk_makes_room_for_the_next() {
    if !is_root() || !possible() {
        return;
    }
    let clone = Clone::new(48);
    clone.versions.publish(2);
    let left = clone.pool("staging/objects/aa");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("unwanted"), vec![1; 32 << 20]).unwrap();
    let (_, log) = succeed(&mut clone.site().sync());
    let line = "WARN  [reclone::bring] removing what an interrupted sync left\n";
    assert!(log.contains(line), "{log}");
    clone.versions.assert_whole(2);
}

/// A clone whose last session gave it another name.
fn renamed() -> (Clone, PathBuf) {
    let mut clone = Clone::new(48);
    clone.boot("reclone=skip", Some(1));
    clone.versions.publish(2);
    // Nothing else makes room.
    fs::remove_dir_all(clone.pool("sessions")).unwrap();
    let upper = clone.pool("sessions/last/upper");
    fs::create_dir_all(upper.join("etc")).unwrap();
    fs::write(clone.pool("keep/etc/hostname"), "old name\n").unwrap();
    fs::write(upper.join("etc/hostname"), "new name\n").unwrap();
    (clone, upper)
}

fn name(clone: &Clone) -> String {
    fs::read_to_string(clone.pool("keep/etc/hostname")).unwrap()
}

#[test]
fn a_session_that_filled_the_disk_makes_room_for_the_name_of_the_clone_and_for_the_sync() {
    if !is_root() || !possible() {
        return;
    }
    for fill in [Filling::bytes as Fill, Filling::names] {
        let (mut clone, upper) = renamed();
        let filling = fill(&clone, 0);
        fs::rename(clone.path("filling"), upper.join("filling")).unwrap();
        std::mem::forget(filling);
        clone.boot_quietly("", 2);
        assert_eq!(name(&clone), "new name\n");
        clone.versions.assert_whole(2);
    }
}

#[test]
fn a_disk_that_is_full_boots_what_it_has_and_the_name_of_the_clone_waits_for_room() {
    if !is_root() || !possible() {
        return;
    }
    let no_room = |what: &str| format!("can not {what}: {FULL}");
    let name_waits = no_room("copy /run/reclone/disk/reclone/sessions/last/upper/etc/hostname");
    let no_sync = no_room("make the folder /run/reclone/disk/reclone/staging");
    for fill in [Filling::bytes as Fill, Filling::names] {
        let (mut clone, _) = renamed();
        let filling = fill(&clone, 0);
        let said = clone.boot("", Some(1));
        let said = complaints(&said);
        // The boot and the sync would end the last session.
        assert_eq!(said[..3], [&name_waits, &name_waits, &no_sync]);
        assert!(said[3].starts_with("can not make the folder /run/reclone/disk/reclone/sessions/"));
        assert!(said[3].ends_with(&format!("{FULL}: trying with what is written in memory")));
        assert_eq!(name(&clone), "old name\n");
        clone.versions.assert_whole(1);
        drop(filling);
        clone.boot_quietly("", 2);
        assert_eq!(name(&clone), "new name\n");
        clone.versions.assert_whole(2);
    }
}
