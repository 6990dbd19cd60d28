//! A power cut at each step: GRUB, which replays no journal, finds entries and all that they start.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use reclone::barrier::Barrier;

use super::disk::{Disk, kernels, put};
use super::mounts::is_root;

const STEPS: [Barrier; 2] = [Barrier::EntriesWritten, Barrier::EntriesNamed];

/// Ends there, as the environment says. Run by the test below.
#[test]
#[ignore = "a part of the test below"]
fn one_kernel_is_put() {
    let path = |name: &str| env::var(name).unwrap();
    let version = path("VERSION").parse().unwrap();
    put(
        Path::new(&path("DISK")),
        Path::new(&path("FOLDER")),
        version,
    )
    .unwrap();
}

/// Puts it until it aborts at the point.
fn cut(disk: &Disk, version: u32, point: &str) {
    let mut child = Command::new(env::current_exe().unwrap());
    let output = child
        .args(["--exact", "cuts::one_kernel_is_put", "--ignored"])
        .env("DISK", disk.mount.path())
        .env("FOLDER", disk.folder.path())
        .env("VERSION", version.to_string())
        .env("RECLONE_CRASH", point)
        .output()
        .unwrap();
    assert_eq!(
        output.status.signal(),
        Some(libc::SIGABRT),
        "{point}: {output:?}"
    );
}

#[test]
fn a_power_cut_at_any_step_leaves_entries_that_start_something_whole() {
    if !is_root() {
        return;
    }
    let disk = Disk::new(40);
    disk.put(1).unwrap();
    assert_eq!(disk.as_grub_sees(), [1], "it is where GRUB sees it");
    disk.put(2).unwrap();
    assert_eq!(disk.as_grub_sees(), [2, 1]);
    let mut version = 2;
    for step in STEPS {
        for side in ["before", "after"] {
            version += 1;
            let point = format!("{side}-{}", step.name());
            cut(&disk, version, &point);
            let seen = disk.as_grub_sees();
            let old = vec![version - 1, version - 2];
            let new = vec![version, version - 1];
            match (step, side) {
                (Barrier::EntriesNamed, "after") => assert_eq!(seen, new, "{point}"),
                (Barrier::EntriesNamed, _) => {
                    assert!(seen == old || seen == new, "{point}: {seen:?}")
                }
                _ => assert_eq!(seen, old, "{point}"),
            }
            // The next run comes to its end.
            disk.put(version).unwrap();
            assert_eq!(disk.as_grub_sees(), new, "{point}");
            assert_eq!(kernels(&disk.grub()), [version - 1, version], "{point}");
        }
    }
}
