//! publish → sync → assemble: the assembled tree is the model's, whatever the model holds.
#![allow(clippy::unwrap_used)]

mod nasty;

#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/tree_compare.rs"]
mod tree_compare;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mounts::{ext4, is_root};
use programs::{Site, succeed};
use tree_compare::{differences, look};

#[test]
fn a_clone_shows_everything_that_a_linux_tree_can_hold() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = ext4(folder.path(), 512);
    let site = Site::new(disk.path());
    nasty::fill(&site.tree);
    let (generation, said) = site.publish();
    assert_eq!(generation, 1);
    let whiteout = "nodes/whiteout: clones show a character device 0:0 as an empty file";
    assert!(said.contains(whiteout), "{said}");
    succeed(&mut site.sync());

    let assembled = site.assemble(&folder.path().join("root"), None);
    let (mut model, mut clone) = (look(&site.tree), look(&assembled.0));
    assert_eq!(model.len(), clone.len());
    // What no kernel shows was said above.
    let whiteout = PathBuf::from("nodes/whiteout");
    assert_eq!(
        model.remove(&whiteout).unwrap().mode & 0o7777,
        clone.remove(&whiteout).unwrap().mode & 0o7777
    );
    // The mark on the whiteout's folder is what it took.
    assert_eq!(
        clone
            .get_mut(Path::new("nodes"))
            .unwrap()
            .xattrs
            .remove(&b"trusted.overlay.opaque"[..]),
        Some(b"x".to_vec())
    );
    assert_eq!(differences(&model, &clone), Vec::<String>::new());
    fsck(&site.pool.join("images/1"));
    drop(assembled);
}

/// The image by the judgement of erofs-utils, where it is new enough for large files.
fn fsck(image: &Path) {
    match Command::new("fsck.erofs").arg(image).output() {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => eprintln!("SKIPPED: fsck.erofs: {error}"),
    }
}

#[test]
fn a_session_takes_what_is_written_and_a_new_one_begins_with_the_model() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = ext4(folder.path(), 64);
    let site = Site::new(disk.path());
    fs::create_dir(site.tree.join("etc")).unwrap();
    for (name, text) in [("etc/a", "model"), ("etc/b", "model"), ("c", "model")] {
        fs::write(site.tree.join(name), text).unwrap();
    }
    fs::hard_link(site.tree.join("c"), site.tree.join("etc/c")).unwrap();
    site.publish();
    succeed(&mut site.sync());
    let model = look(&site.tree);
    let root = folder.path().join("root");

    let first = disk.path().join("first");
    let assembled = site.assemble(&root, Some(&first));
    assert_eq!(differences(&model, &look(&root)), Vec::<String>::new());
    fs::write(root.join("etc/a"), "changed").unwrap();
    fs::remove_file(root.join("etc/b")).unwrap();
    fs::write(root.join("new"), "new").unwrap();
    // A write through one name of a file shows under the other.
    fs::write(root.join("c"), "both").unwrap();
    assert_eq!(fs::read(root.join("etc/c")).unwrap(), b"both");
    drop(assembled);

    let assembled = site.assemble(&root, Some(&disk.path().join("second")));
    assert_eq!(differences(&model, &look(&root)), Vec::<String>::new());
    drop(assembled);
    let assembled = site.assemble(&root, Some(&first));
    assert_eq!(fs::read(root.join("etc/a")).unwrap(), b"changed");
    assert!(!root.join("etc/b").exists());
    drop(assembled);
}

#[test]
fn an_update_brings_the_difference_and_prune_removes_what_nothing_needs() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(folder.path());
    for number in 0..300 {
        fs::write(
            site.tree.join(format!("file-{number}")),
            format!("content {number}"),
        )
        .unwrap();
    }
    assert_eq!(site.publish().0, 1);
    let (said, _) = succeed(&mut site.sync());
    assert!(
        said.starts_with("generation 1 is current: 300 objects"),
        "{said}"
    );
    assert_eq!(site.publish().0, 1, "an unchanged tree makes no generation");
    let (said, _) = succeed(&mut site.sync());
    assert_eq!(said, "generation 1 is current, nothing newer (1 request)\n");

    for generation in 2..=4 {
        fs::write(site.tree.join("file-7"), format!("changed {generation}")).unwrap();
        fs::remove_file(site.tree.join(format!("file-{generation}"))).unwrap();
        assert_eq!(site.publish().0, generation);
        let (said, _) = succeed(&mut site.sync());
        assert!(
            said.starts_with(&format!("generation {generation} is current: 1 objects")),
            "{said}"
        );
    }
    assert_eq!(
        (
            site.status()["current"].as_u64(),
            site.status()["previous"].as_u64()
        ),
        (Some(4), Some(3))
    );
    // Generations 1 and 2 go; of their own they had file-2, file-3 and two contents of file-7.
    let (said, _) = succeed(&mut site.verb("prune"));
    assert!(
        said.starts_with("removed 2 generations, 4 objects"),
        "{said}"
    );
    succeed(&mut site.verb("verify"));
    let root = folder.path().join("root");
    let assembled = site.assemble(&root, None);
    assert_eq!(
        differences(&look(&site.tree), &look(&root)),
        Vec::<String>::new()
    );
    drop(assembled);
}

#[test]
fn a_rollback_holds_until_the_store_has_something_newer() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(folder.path());
    for generation in 1..=2 {
        fs::write(site.tree.join("file"), generation.to_string()).unwrap();
        site.publish();
        succeed(&mut site.sync());
    }
    let (said, _) = succeed(&mut site.verb("rollback"));
    assert_eq!(
        said,
        "generation 1 is current again; it is booted the next time\n"
    );
    let (said, _) = succeed(&mut site.sync());
    assert!(
        said.starts_with("generation 1 stays: the store's newest one was rolled back here"),
        "{said}"
    );
    assert_eq!(site.status()["refused"].as_u64(), Some(2));
    fs::write(site.tree.join("file"), "3").unwrap();
    site.publish();
    succeed(&mut site.sync());
    let status = site.status();
    assert_eq!(
        (status["current"].as_u64(), status["previous"].as_u64()),
        (Some(3), Some(1))
    );
    assert!(status["refused"].is_null());
}
