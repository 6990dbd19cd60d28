//! `export`: a copy of a store that clones can follow, whatever happens while it is made.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use reclone_model::store::Store;
use reclone_model::verify::verify;
use support::{Model, Mounted, PROGRAM, Ran, names, noise, run};

fn export(model: &Model, more: &[&str]) -> Ran {
    let (store, to) = (model.store_text(), model.text("copy"));
    run(&[&["export", &store, "--to", &to], more].concat())
}

/// What is wrong with the copy, read as clones read it.
fn problems(model: &Model, copy: &Path) -> Vec<String> {
    let store = Store::open(&model.store()).unwrap();
    let key = store.public_key().unwrap();
    let copy = Store::at(copy, store.record().clone());
    verify(&copy, &key).unwrap().problems
}

/// Names, inodes and contents of a folder and the folders in it.
fn content(folder: &Path) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let it = fs::metadata(&path).unwrap();
        match it.is_dir() {
            true => found.append(&mut content(&path)),
            false => drop(found.insert(path.clone(), (it.ino(), fs::read(path).unwrap()))),
        }
    }
    found
}

/// A model with this many generations, each with a new file.
fn model(generations: u64) -> Model {
    let model = Model::new();
    for number in 1..=generations {
        model.write(&format!("file-{number}"), noise(number, 200_000));
        model.publish(&["--effort", "low"]).expect(0);
    }
    model
}

#[test]
fn a_copy_has_what_clones_need_and_a_second_export_copies_nothing() {
    let model = model(2);
    export(&model, &[]).expect(0);
    let copy = model.path("copy");
    assert_eq!(names(&copy), ["head", "heads", "packs"]);
    assert_eq!(names(&copy.join("heads")), ["2"]);
    let packs = names(&model.store().join("packs"));
    assert_eq!(
        names(&copy.join("packs")),
        packs,
        "two packs and the delta between them"
    );
    for name in ["head", "heads/2"]
        .map(str::to_owned)
        .into_iter()
        .chain(packs.iter().map(|pack| format!("packs/{pack}")))
    {
        assert_eq!(
            fs::read(copy.join(&name)).unwrap(),
            fs::read(model.store().join(&name)).unwrap(),
            "{name}"
        );
    }
    assert_eq!(problems(&model, &copy), [""; 0]);
    let before = content(&copy);
    export(&model, &[])
        .expect(0)
        .says("copied 0 packs, 0 bytes; removed 0 packs");
    assert_eq!(content(&copy), before);
}

#[test]
fn only_what_is_new_is_copied_and_what_only_older_generations_need_goes() {
    let model = model(2);
    export(&model, &["--generations", "2"]).expect(0);
    let copy = model.path("copy");
    assert_eq!(names(&copy.join("heads")), ["1", "2"]);
    fs::write(copy.join("holiday.jpg"), "mine").unwrap();
    let before = content(&copy);
    model.write("file-3", noise(3, 200_000));
    model.publish(&["--effort", "low"]).expect(0);
    export(&model, &["--generations", "2"])
        .expect(0)
        .says("exported generation 3: 2 generations, 5 packs");
    assert_eq!(names(&copy.join("heads")), ["2", "3"]);
    let after = content(&copy);
    let kept = before
        .iter()
        .filter(|(path, _)| path.starts_with(copy.join("packs")));
    for (path, was) in kept {
        assert_eq!(after.get(path), Some(was), "{}", path.display());
    }
    assert_eq!(problems(&model, &copy), [""; 0]);
    // With everything in one new pack, the older ones are of no use.
    model.publish(&["--full", "--no-delta"]).expect(0);
    export(&model, &[])
        .expect(0)
        .says("copied 1 packs, ")
        .says("removed 5 packs");
    assert_eq!(names(&copy.join("heads")), ["4"]);
    assert_eq!(names(&copy.join("packs")).len(), 1);
    assert_eq!(problems(&model, &copy), [""; 0]);
    assert_eq!(fs::read(copy.join("holiday.jpg")).unwrap(), b"mine");
}

#[test]
fn a_folder_that_is_no_earlier_copy_is_left_alone() {
    let model = model(1);
    let (store, to) = (model.store_text(), model.text("copy"));
    run(&["export", &store, "--to", &store])
        .expect(2)
        .says("is a store that is published to; name another folder");
    export(&model, &["--generations", "0"])
        .expect(2)
        .says("--generations 0: the newest generation always comes along");
    let other = self::model(2);
    run(&["export", &other.store_text(), "--to", &to]).expect(0);
    let before = content(&model.path("copy"));
    export(&model, &[])
        .expect(1)
        .says("copy/head is not an earlier head of this store: ");
    assert_eq!(content(&model.path("copy")), before);
    // Of the same model, and newer.
    let old = fs::read(model.store().join("head")).unwrap();
    model.write("more", "x");
    model.publish(&[]).expect(0);
    fs::remove_dir_all(model.path("copy")).unwrap();
    export(&model, &[]).expect(0);
    fs::write(model.store().join("head"), old).unwrap();
    let before = content(&model.path("copy"));
    export(&model, &[])
        .expect(1)
        .says("above 1 of this store; name another folder");
    assert_eq!(content(&model.path("copy")), before);
    let empty = Model::new();
    export(&empty, &[])
        .expect(1)
        .says("has no generation yet; `reclone-model publish` makes the first");
}

#[test]
fn what_is_damaged_on_its_way_does_not_become_a_copy() {
    let model = model(1);
    export(&model, &[]).expect(0);
    let copy = model.path("copy");
    let before = content(&copy);
    model.write("file-2", noise(2, 200_000));
    model.publish(&["--no-delta"]).expect(0);
    let pack = model.head().packs[0].id;
    let path = model.store().join(format!("packs/{pack}"));
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&path, bad).unwrap();
    export(&model, &[])
        .expect(1)
        .says("is damaged and was removed; `reclone-model verify` tells whether the store is");
    assert_eq!(content(&copy), before);
    fs::write(&path, good).unwrap();
    // One that is not whole there is copied again.
    let first = names(&copy.join("packs")).remove(0);
    fs::write(copy.join("packs").join(first), "short").unwrap();
    export(&model, &[]).expect(0).says("copied 2 packs, ");
    assert_eq!(problems(&model, &copy), [""; 0]);
}

#[test]
fn what_has_rotted_on_the_stick_is_noticed_when_asked_for_and_copied_anew() {
    let model = model(3);
    let copy = model.path("copy");
    export(&model, &["--generations", "2"]).expect(0);
    let whole = content(&copy);
    let rot = |at: &str| {
        for (path, (_, good)) in &whole {
            if path.starts_with(copy.join(at)) {
                let mut bad = good.clone();
                let middle = bad.len() / 2;
                bad[middle] ^= 1;
                fs::write(path, bad).unwrap();
            }
        }
    };
    let packs = names(&copy.join("packs"));
    for pack in &packs {
        rot(&format!("packs/{pack}"));
        // It costs a whole read of a slow stick.
        export(&model, &["--generations", "2"])
            .expect(0)
            .says("copied 0 packs");
        assert_ne!(problems(&model, &copy), [""; 0], "{pack}");
        export(&model, &["--generations", "2", "--verify"])
            .expect(0)
            .says(&format!("copy/packs/{pack}"))
            .says("1 packs have rotted: what is needed of them is copied anew")
            .says("copied 1 packs");
        assert_eq!(problems(&model, &copy), [""; 0], "{pack}");
    }
    // All at once, a head too, and something new to come; what only an older generation needs is not asked after.
    rot("packs");
    rot("heads");
    model.write("file-4", noise(4, 200_000));
    model.publish(&["--effort", "low"]).expect(0);
    export(&model, &["--verify"]).expect(0);
    assert_eq!(names(&copy.join("heads")), ["4"]);
    assert_eq!(problems(&model, &copy), [""; 0]);
    let before = content(&copy);
    export(&model, &["--verify"])
        .expect(0)
        .says("copied 0 packs");
    assert_eq!(content(&copy), before);
}

#[test]
fn an_export_killed_at_any_write_leaves_a_whole_copy() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: no strace");
        return;
    }
    let model = model(1);
    let copy = model.path("copy");
    let mut killed = 0;
    for call in ["rename", "fsync", "unlink", "mkdir"] {
        for count in 1.. {
            // Every time there is something to copy and something to remove.
            model.write("changes", noise(killed, 70_000));
            model.publish(&["--full", "--no-delta"]).expect(0);
            let mut strace = Command::new("strace");
            strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            strace.args(["-e", &format!("inject={call}:signal=SIGKILL:when={count}")]);
            strace.args([PROGRAM, "export", &model.store_text(), "--to"]);
            let ran = Ran::from(strace.arg(&copy).output().unwrap());
            if copy.join("head").exists() {
                assert_eq!(problems(&model, &copy), [""; 0], "{call} {count}");
            }
            if ran.code == Some(0) {
                break;
            }
            killed += 1;
            export(&model, &[]).expect(0);
            assert_eq!(
                problems(&model, &copy),
                [""; 0],
                "{call} {count}, then again"
            );
            assert_eq!(names(&copy.join("packs")).len(), 1);
            assert_eq!(names(&copy.join("heads")).len(), 1);
        }
    }
    assert!(killed >= 12, "only {killed} points were tried");
}

#[test]
fn a_disk_that_is_too_small_keeps_what_it_has() {
    let model = model(1);
    let copy = model.path("copy");
    let _disk = Mounted::new(copy.clone(), &["-t", "tmpfs", "-o", "size=1m", "none"]);
    export(&model, &[]).expect(0);
    let before = content(&copy);
    model.write("large", noise(9, 2 << 20));
    model.publish(&["--no-delta"]).expect(0);
    export(&model, &[]).expect(1).says(" more and has ");
    assert_eq!(content(&copy), before);
}

#[test]
fn a_stick_with_fat_is_good_enough() {
    let model = model(2);
    let (image, copy) = (model.path("stick"), model.path("copy"));
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    match Command::new("mkfs.vfat").arg(&image).output() {
        Err(error) => return eprintln!("SKIPPED: no mkfs.vfat: {error}"),
        Ok(output) => assert!(output.status.success(), "{output:?}"),
    }
    fs::create_dir(&copy).unwrap();
    let mount = Command::new("mount")
        .args(["-o", "loop"])
        .arg(&image)
        .arg(&copy)
        .output()
        .unwrap();
    if !mount.status.success() {
        return eprintln!(
            "SKIPPED: no vfat: {}",
            String::from_utf8_lossy(&mount.stderr)
        );
    }
    let first = export(&model, &[]);
    let second = export(&model, &[]);
    let found = problems(&model, &copy);
    let umount = Command::new("umount").arg(&copy).status().unwrap();
    assert!(umount.success());
    first.expect(0);
    second.expect(0).says("copied 0 packs");
    assert_eq!(found, [""; 0]);
}
