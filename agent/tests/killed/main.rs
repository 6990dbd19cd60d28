//! The agent is killed, at every barrier and at any moment: the pool has the old generation or the new one, whole, and the next run
//! comes to its end. A kill is no power cut (what was written stays written); that is the business of `make power-cut`.
//!
//! Needs the feature `crash-points`: `cargo test -p reclone --features crash-points --test killed`.
#![allow(clippy::unwrap_used)]

#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/versions.rs"]
mod versions;

use std::fs;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use mounts::{Mount, is_root};
use programs::succeed;
use reclone::barrier::Barrier;
use reclone_format::object_id_of;
use versions::Versions;

/// Runs with kills at any moment; `KILLS` asks for another number.
const KILLS: usize = 1000;

/// A site whose pool is on a disk of its own.
struct Bench {
    versions: Versions,
    _disk: Mount,
    _folder: tempfile::TempDir,
}

/// What is killed here is a program: the disk below may be in memory, which makes a sync of the store cheap.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

impl Bench {
    fn new() -> Bench {
        let folder = in_memory();
        let image = folder.path().join("disk.img");
        fs::File::create(&image)
            .unwrap()
            .set_len(128 << 20)
            .unwrap();
        succeed(Command::new("mkfs.ext4").arg("-q").arg(&image));
        let disk = Mount::new("ext4", &image, "loop", &folder.path().join("disk"));
        let mut versions = Versions::new(folder.path(), &disk.path().join("pool"));
        versions.options = &[];
        Bench {
            versions,
            _disk: disk,
            _folder: folder,
        }
    }
}

impl Deref for Bench {
    type Target = Versions;

    fn deref(&self) -> &Versions {
        &self.versions
    }
}

/// Runs this until it aborts at the barrier.
fn crash(command: &mut Command, side: &str, barrier: Barrier) {
    let point = format!("{side}-{}", barrier.name());
    let status = command
        .env("RECLONE_CRASH", &point)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{point}: {status}");
}

#[test]
fn a_sync_that_ends_at_any_barrier_leaves_the_old_generation_or_the_new() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let mut version = 1;
    for barrier in [
        Barrier::Staged,
        Barrier::Named,
        Barrier::StateWritten,
        Barrier::StateNamed,
    ] {
        for side in ["before", "after"] {
            version += 1;
            bench.publish(version);
            crash(&mut bench.site.sync(), side, barrier);
            let is_renamed = barrier == Barrier::StateNamed;
            let expected = if is_renamed { version } else { version - 1 };
            assert_eq!(bench.current(), expected, "{side} {barrier:?}");
            bench.goes_on(version);
        }
    }
}

#[test]
fn a_fetch_that_ends_at_its_barrier_leaves_the_old_generation_and_helps_the_next_sync() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    for (version, side) in [(2, "before"), (3, "after")] {
        bench.publish(version);
        crash(&mut bench.site.fetch(), side, Barrier::Staged);
        assert_eq!(bench.current(), version - 1);
        assert!(bench.site.status()["staged"].is_null());
        let (_, said) = succeed(&mut bench.site.sync());
        assert!(said.contains("took over 20 objects"), "{said}");
        bench.assert_whole(version);
    }
    bench.publish(4);
    succeed(&mut bench.site.fetch());
    crash(&mut bench.site.sync(), "after", Barrier::Named);
    assert_eq!(bench.current(), 3);
    bench.goes_on(4);
}

#[test]
fn a_rollback_that_ends_at_any_barrier_was_done_or_not() {
    if !is_root() {
        return;
    }
    for (barrier, expected) in [(Barrier::StateWritten, 2), (Barrier::StateNamed, 1)] {
        for side in ["before", "after"] {
            let bench = Bench::new();
            bench.publish(2);
            succeed(&mut bench.site.sync());
            crash(&mut bench.site.verb("rollback"), side, barrier);
            assert_eq!(bench.current(), expected, "{side} {barrier:?}");
            bench.publish(3);
            bench.goes_on(3);
        }
    }
}

#[test]
fn a_repair_that_ends_at_any_barrier_is_done_by_the_next() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let content = fs::read(bench.site.tree.join("7")).unwrap();
    let object = bench
        .site
        .pool
        .join("objects")
        .join(object_id_of(&content).pool_path());
    let repair = || {
        let mut verify = bench.site.verb("verify");
        verify.arg("--repair").arg("--store").arg(&bench.site.store);
        verify.arg("--key").arg(bench.site.public_key());
        verify
    };
    for barrier in [Barrier::Mended, Barrier::Replaced] {
        for side in ["before", "after"] {
            fs::write(&object, "damage").unwrap();
            crash(&mut repair(), side, barrier);
            let left = fs::read(&object).unwrap();
            assert!(left == b"damage" || left == content, "{side} {barrier:?}");
            succeed(&mut repair());
            assert!(fs::read(&object).unwrap() == content);
            bench.goes_on(1);
        }
    }
}

#[test]
fn every_barrier_that_the_clones_own_files_pass_may_be_the_last() {
    for barrier in [Barrier::Gathered, Barrier::Adopted, Barrier::Kept] {
        for side in ["before", "after"] {
            let folder = in_memory();
            own_files(folder.path(), side, barrier);
        }
    }
}

/// The library's part of a boot, in a process of its own: this test program, which is told so by a variable.
fn own_files(folder: &Path, side: &str, barrier: Barrier) {
    let this = std::env::current_exe().unwrap();
    let run = |crash: Option<&str>| {
        let mut child = Command::new(&this);
        child.args([
            "--exact",
            "the_clones_own_files_are_gathered_and_kept",
            "--ignored",
        ]);
        child
            .env("OWN_FILES", folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(point) = crash {
            child.env("RECLONE_CRASH", point);
        }
        child.status().unwrap()
    };
    let point = format!("{side}-{}", barrier.name());
    let status = run(Some(&point));
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{point}: {status}");
    let kept = folder.join("pool/keep/etc/hostname");
    if let Ok(name) = fs::read_to_string(&kept) {
        assert!(
            name == "plain\n" || name == "session\n",
            "{point}: {name:?}"
        );
    }
    assert!(run(None).success(), "{point}");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "session\n", "{point}");
}

#[test]
#[ignore = "a part of the test before"]
fn the_clones_own_files_are_gathered_and_kept() {
    let folder = Path::new(&std::env::var_os("OWN_FILES").unwrap()).to_owned();
    let (plain, upper) = (
        folder.join("plain/etc"),
        folder.join("pool/sessions/1/upper/etc"),
    );
    for etc in [&plain, &upper] {
        fs::create_dir_all(etc).unwrap();
    }
    fs::write(plain.join("hostname"), "plain\n").unwrap();
    fs::write(upper.join("hostname"), "session\n").unwrap();
    let pool = reclone::pool::Pool::create(&folder.join("pool")).unwrap();
    let session = reclone::session::Session::open(&folder.join("pool/sessions/1")).unwrap();
    let (policy, plain) = (reclone_format::Policy::built_in(), folder.join("plain"));
    reclone::keep::files::adopt(&pool, &policy, &plain, &plain).unwrap();
    reclone::keep::files::save(&pool, &policy, &session).unwrap();
}

#[test]
fn a_sync_that_is_killed_at_any_moment_is_finished_by_the_next() {
    if !is_root() {
        return;
    }
    let kills = std::env::var("KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let bench = Bench::new();
    bench.publish(2);
    let started = Instant::now();
    succeed(&mut bench.site.sync());
    let whole = started.elapsed();
    let (mut version, mut killed, mut chance) = (2, 0, 0.0);
    while killed < kills {
        version += 1;
        bench.publish(version);
        for _ in 0..4 {
            // Spread evenly over the time that a sync takes: the multiples of the golden ratio.
            chance = (chance + 0.618_033_988_7) % 1.0;
            let mut sync = bench.site.sync();
            let mut child = sync
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            thread::sleep(whole.mul_f64(chance));
            child.kill().unwrap();
            killed += usize::from(child.wait().unwrap().signal() == Some(libc::SIGKILL));
            let current = bench.current();
            assert!(
                current == version || current == version - 1,
                "{current} of {version}"
            );
        }
        bench.goes_on(version);
    }
    println!("{killed} kills, {version} generations");
}
