//! A bit that is another one in an object, an image, a manifest, the record or a pack, at boot: `agent/tests/damage` has the
//! verbs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use reclone_format::object_id_of;

use crate::disk::{Clone, complaints, complaints_of_image};
use crate::faulty_disk::possible;
use crate::mounts::is_root;
use crate::versions::content;

/// Flips a bit of the byte at `at`.
fn rot(path: &Path, at: u64) {
    let byte = fs::read(path).unwrap()[at as usize] ^ 1;
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&[byte], at).unwrap();
}

#[test]
fn what_rots_in_the_pool_is_named_and_mended_by_a_reset() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::updated(48);
    let object = object_id_of(content(2, 6).as_bytes()).pool_path();
    for name in [
        &format!("objects/{object}"),
        "manifests/2",
        "images/2",
        "images/1",
    ] {
        let path = clone.pool(name);
        rot(&path, fs::metadata(&path).unwrap().len() / 2);
        let said = clone.boot("reclone=reset", Some(2));
        let found = format!("/run/reclone/disk/reclone/{name} is damaged or missing");
        assert_eq!(complaints(&said), [found]);
        clone.versions.assert_whole(2);
    }
}

#[test]
fn a_generation_whose_image_does_not_mount_makes_room_for_the_one_before() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::updated(48);
    // The magic.
    rot(&clone.pool("images/2"), 1024);
    let said = clone.boot("reclone=skip", Some(1));
    let reason = "Invalid argument (os error 22)";
    assert_eq!(complaints(&said), complaints_of_image(reason));
    clone.boot("reclone=reset", Some(2));
    clone.versions.assert_whole(2);
}

#[test]
fn a_manifest_that_rots_keeps_neither_the_boot_nor_the_next_generation_away() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::updated(48);
    rot(&clone.pool("manifests/2"), 200);
    clone.boot_quietly("reclone=skip", 2);
    clone.versions.publish(3);
    clone.boot_quietly("", 3);
    let damaged = format!(
        "{} is damaged or missing",
        clone.pool("manifests/2").display()
    );
    let output = clone.site().verb("verify").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), damaged);
    // The store has no older manifest: what can not be mended is forgotten, and the current generation stays.
    let said = clone.boot("reclone=reset", Some(3));
    let lines = [
        damaged.replace(
            &clone.site().pool.display().to_string(),
            "/run/reclone/disk/reclone",
        ),
        "generation 2 can not be mended and is forgotten".to_owned(),
    ];
    assert_eq!(complaints(&said), lines);
    clone.versions.assert_whole(3);
}

#[test]
fn a_pack_or_a_head_that_rots_in_the_store_is_named_and_the_old_generation_boots() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::new(48);
    clone.versions.publish(2);
    let mut packs: Vec<_> = fs::read_dir(clone.site().store.join("packs"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    packs.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    let pack = packs.pop().unwrap();
    let size = fs::metadata(&pack).unwrap().len();
    let name = format!("packs/{}", pack.file_name().unwrap().to_str().unwrap());
    let cases = [
        (pack.clone(), size - 9, format!("{name}: The frame is malformed: it does not decompress: Data corruption detected")),
        (pack, 60, format!("{name}: The pack is malformed: a reserved field is not zero")),
        (clone.site().store.join("head"), 60, "/store/head: The head is not signed by the trusted key: The signature verification failed".to_owned()),
    ];
    for (path, at, line) in cases {
        rot(&path, at);
        let said = clone.boot("", Some(1));
        assert_eq!(complaints(&said), [line]);
        clone.versions.assert_whole(1);
        rot(&path, at);
    }
    clone.boot_quietly("", 2);
}
