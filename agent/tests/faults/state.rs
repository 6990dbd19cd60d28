//! The record that names the current generation is missing, half written or of a newer program, at boot:
//! `agent/tests/damage` has the verbs.

use std::fs;

use crate::disk::{Clone, complaints};
use crate::faulty_disk::possible;
use crate::mounts::is_root;
use crate::programs::succeed;

const WAY_OUT: &str = "boot with reclone=reset, or remove this file and run `reclone sync`: both find the objects again";
const NEWER: &str = "The state record has format version 2, this program reads 1: install a newer reclone on this machine";

#[test]
fn a_record_that_can_not_be_used_keeps_the_clone_from_booting_and_says_the_way_out() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::updated(48);
    let path = clone.pool("state");
    let whole = fs::read_to_string(&path).unwrap();
    let half = whole[..whole.len() / 2].to_owned();
    let rotten = whole.replace("serial 2", "serial 3");
    let newer = whole.replace("reclone-state 1", "reclone-state 2");
    let damaged = |reason: &str| format!("The state record is malformed: {reason}: {WAY_OUT}");
    let cases = [
        (
            String::new(),
            damaged("its first line is not `reclone-state`"),
        ),
        (half, damaged("it ends early")),
        (rotten, damaged("its checksum is wrong")),
        (newer, NEWER.to_owned()),
    ];
    for (text, reason) in cases {
        fs::write(&path, &text).unwrap();
        for words in ["", "reclone=skip", "reclone=rollback"] {
            let said = clone.boot(words, None);
            // In the shell that opens then, the disk is at /root.
            let error = format!("/root/reclone/state: {reason}");
            assert_eq!(complaints(&said).last(), Some(&&*error), "{words}");
            assert!(said.contains("reclone: to boot the plain root partition: add reclone=off"));
        }
        // Nothing was touched.
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, whole).unwrap();
    clone.boot("", Some(2));
    clone.versions.assert_whole(2);
}

#[test]
fn a_reset_sets_a_damaged_record_aside_and_finds_the_generation_again() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::updated(48);
    let path = clone.pool("state");
    let whole = fs::read_to_string(&path).unwrap();
    let rotten = whole.replace("serial 2", "serial 3");
    let reason = format!(
        "/run/reclone/disk/reclone/state: The state record is malformed: its checksum is wrong: {WAY_OUT}: setting it aside as state.damaged"
    );
    fs::write(&path, &rotten).unwrap();
    let said = clone.boot("reclone=reset", Some(2));
    assert_eq!(complaints(&said), [reason]);
    assert!(
        said.contains("reclone: generation 2 is new: 0 objects, "),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(clone.pool("state.damaged")).unwrap(),
        rotten
    );
    clone.versions.assert_whole(2);
    // By hand it is the same.
    fs::write(&path, &rotten).unwrap();
    let mut reset = clone.site().verb("reset");
    reset.arg("--store").arg(&clone.site().store);
    reset.arg("--key").arg(clone.site().public_key());
    let (said, _) = succeed(&mut reset);
    assert!(
        said.ends_with("40 objects are whole, 0 were mended\n"),
        "{said}"
    );
    clone.versions.assert_whole(2);
    // A newer one is not damaged.
    let newer = whole.replace("reclone-state 1", "reclone-state 2");
    fs::write(&path, &newer).unwrap();
    let said = clone.boot("reclone=reset", None);
    let error = format!("/root/reclone/state: {NEWER}");
    assert_eq!(complaints(&said).last(), Some(&&*error));
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
}

#[test]
fn without_a_record_the_generation_is_found_again() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::updated(48);
    let path = clone.pool("state");
    fs::remove_file(&path).unwrap();
    let said = clone.boot("reclone=skip", None);
    let none = "The pool /root/reclone has no generation yet: run `reclone sync` first";
    assert_eq!(complaints(&said), [none]);
    let said = clone.boot_with("store = /nowhere\n", "", None);
    let gone = "/nowhere/head: No such file or directory (os error 2)";
    assert_eq!(complaints(&said), [gone, gone]);
    let said = clone.boot("", Some(2));
    assert!(
        said.contains("reclone: generation 2 is new: 0 objects, "),
        "{said}"
    );
    clone.versions.assert_whole(2);
}

#[test]
fn a_record_that_was_half_written_beside_the_old_one_does_not_matter() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::updated(48);
    fs::write(clone.pool("state.new"), "reclone-state 1\nmod").unwrap();
    clone.versions.publish(3);
    clone.boot_quietly("", 3);
    clone.versions.assert_whole(3);
}
