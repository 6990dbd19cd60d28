//! A pool that is damaged: `verify` tells what, `verify --repair` mends it, and what can not be mended is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reclone_format::object_id_of;

use crate::mounts::{Mount, is_root};
use crate::programs::{Site, complaint, reclone, succeed};
use crate::{DAMAGES, Damage, Part, change, site};

/// The pool's object with the content of a file of the tree.
fn object(site: &Site, file: &str) -> PathBuf {
    let id = object_id_of(&fs::read(site.tree.join(file)).unwrap());
    site.pool.join("objects").join(id.pool_path())
}

fn repair(site: &Site) -> Command {
    let mut command = site.verb("verify");
    command.arg("--repair").arg("--key").arg(site.public_key());
    command
}

/// What `verify` prints about these files.
fn listed(paths: &[&Path]) -> String {
    let line = |path: &&Path| format!("{} is damaged or missing\n", path.display());
    paths.iter().map(line).collect()
}

/// `verify` finds these files and no others.
fn assert_found(site: &Site, paths: &[&Path]) {
    let output = site.verb("verify").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), listed(paths));
    let said = format!(
        "The pool {} has {} damaged or missing files: run `reclone verify --repair`",
        site.pool.display(),
        paths.len()
    );
    assert_eq!(complaint(&mut site.verb("verify"), 8), said);
}

#[test]
fn a_damaged_pool_is_told_file_by_file_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let old = object(&site, "changed");
    change(&site, 2);
    succeed(&mut site.sync());
    let parts = [
        object(&site, "changed"),
        object(&site, "folder/file-7"),
        old,
        site.pool.join("manifests/2"),
        site.pool.join("images/2"),
        site.pool.join("images/1"),
    ];
    for path in &parts {
        for damage in DAMAGES {
            let before = Part::whole(path.clone()).damage(damage);
            assert_found(&site, &[path]);
            let (said, _) = succeed(&mut repair(&site));
            assert_eq!(
                said,
                listed(&[path]) + "all damage is mended\n",
                "{damage:?}"
            );
            assert!(
                fs::read(path).unwrap() == before,
                "{damage:?} {}",
                path.display()
            );
            let (said, _) = succeed(&mut site.verb("verify"));
            assert_eq!(said, "22 objects are whole\n");
        }
    }
    let status = site.status();
    assert_eq!([&status["current"], &status["previous"]], [2, 1]);
    // Without damage no store is needed.
    fs::remove_dir_all(&site.store).unwrap();
    let (said, _) = succeed(&mut repair(&site));
    assert_eq!(said, "22 objects are whole\n");
}

#[test]
fn much_damage_at_once_is_mended_in_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    change(&site, 2);
    succeed(&mut site.sync());
    let object = object(&site, "changed");
    let (manifest, image) = (site.pool.join("manifests/2"), site.pool.join("images/2"));
    for (path, damage) in [&object, &manifest, &image].into_iter().zip(DAMAGES) {
        Part::whole(path.clone()).damage(damage);
    }
    // The manifest hides the object that only it names.
    assert_found(&site, &[&manifest]);
    let (said, _) = succeed(&mut repair(&site));
    assert_eq!(said, listed(&[&manifest]) + "all damage is mended\n");
    let (said, _) = succeed(&mut site.verb("verify"));
    assert_eq!(said, "22 objects are whole\n");
}

#[test]
fn a_damaged_record_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let record = Part::whole(site.pool.join("state"));
    let way_out = "boot with reclone=reset, or remove this file and run `reclone sync`: both find the objects again";
    let path = record.file.display();
    for (damage, reason) in [
        (Damage::Truncate, "it ends early"),
        (Damage::Flip, "its checksum is wrong"),
    ] {
        let before = record.damage(damage);
        let line = format!("{path}: The state record is malformed: {reason}: {way_out}");
        let root = folder.path().join("root");
        let mut assemble = site.verb("assemble");
        let verbs = [
            site.verb("status"),
            site.verb("verify"),
            repair(&site),
            site.verb("rollback"),
            site.sync(),
            std::mem::replace(assemble.arg(root), reclone()),
        ];
        for mut verb in verbs {
            assert_eq!(complaint(&mut verb, 8), line, "{verb:?}");
        }
        fs::write(&record.file, before).unwrap();
    }
    let newer = fs::read_to_string(&record.file).unwrap();
    let newer = newer.replace("reclone-state 1", "reclone-state 2");
    fs::write(&record.file, newer).unwrap();
    let line = format!(
        "{path}: The state record has format version 2, this program reads 1: install a newer reclone on this machine"
    );
    assert_eq!(complaint(&mut site.sync(), 8), line);
    record.damage(Damage::Delete);
    let line = format!(
        "The pool {} has no generation yet: run `reclone sync` first",
        site.pool.display()
    );
    assert_eq!(complaint(&mut site.verb("verify"), 3), line);
    assert_eq!(complaint(&mut repair(&site), 3), line);
    let (said, _) = succeed(&mut site.sync());
    assert!(
        said.starts_with("generation 1 is current: 0 objects, 0.0 MiB"),
        "{said}"
    );
    succeed(&mut site.verb("verify"));
}

#[test]
fn prune_removes_what_a_killed_run_left_and_nothing_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    for generation in 2..=3 {
        change(&site, generation);
        succeed(&mut site.sync());
    }
    let left = ["images/1.check", "images/3.new", "images/4", "manifests/4"];
    for name in left {
        fs::copy(site.pool.join("images/3"), site.pool.join(name)).unwrap();
    }
    let (said, _) = succeed(&mut site.verb("prune"));
    // Generation 1 with its content of the file that changed, and the leftover 4.
    assert!(
        said.starts_with("removed 2 generations, 1 objects ("),
        "{said}"
    );
    for folder in ["images", "manifests"] {
        let entries = fs::read_dir(site.pool.join(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["2", "3"], "{folder}");
    }
    let (said, _) = succeed(&mut site.verb("verify"));
    assert_eq!(said, "22 objects are whole\n");
}

#[test]
fn a_reset_mends_drops_the_sessions_and_keeps_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    change(&site, 2);
    let object = object(&site, "folder/file-7");
    let kept = site.pool.join("keep/etc/hostname");
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::write(&kept, "clone").unwrap();
    let upper = site.pool.join("sessions/boot/upper");
    for forget in [false, true] {
        Part::whole(object.clone()).damage(Damage::Flip);
        fs::create_dir_all(&upper).unwrap();
        let mut reset = site.verb("reset");
        reset.arg("--store").arg(&site.store);
        reset.arg("--key").arg(site.public_key());
        if forget {
            reset.arg("--forget");
        }
        let (said, _) = succeed(&mut reset);
        let end = "\n22 objects are whole, 1 were mended\n";
        assert!(said.starts_with("generation 2 is current"), "{said}");
        assert!(said.ends_with(end), "{said}");
        assert!(!upper.exists());
        assert_eq!(kept.exists(), !forget);
    }
    succeed(&mut site.verb("verify"));
}

#[test]
fn what_a_session_changed_in_kept_files_outlives_its_end_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let kept = site.pool.join("keep/etc/hostname");
    let session = site.pool.join("sessions/boot");
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::write(&kept, "old").unwrap();
    for verb in ["prune", "reset"] {
        fs::create_dir_all(session.join("upper/etc")).unwrap();
        fs::write(session.join("upper/etc/hostname"), verb).unwrap();
        let mut command = site.verb(verb);
        if verb == "reset" {
            command.arg("--store").arg(&site.store);
            command.arg("--key").arg(site.public_key());
        }
        succeed(&mut command);
        assert!(!session.exists(), "{verb}");
        assert_eq!(fs::read_to_string(&kept).unwrap(), verb);
    }
}

#[test]
fn what_is_kept_is_forgotten_as_a_whole() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let keep = site.pool.join("keep");
    fs::create_dir_all(keep.join("etc")).unwrap();
    fs::write(keep.join("etc/hostname"), "clone").unwrap();
    // What can not be removed stands for a cut in the middle of the removal.
    let busy = Mount::new("tmpfs", Path::new("none"), "size=1m", &keep.join("etc/ssh"));
    let mut reset = site.verb("reset");
    reset.arg("--store").arg(&site.store).arg("--forget");
    reset.arg("--key").arg(site.public_key());
    complaint(&mut reset, 1);
    assert!(!keep.exists());
    let old = site.pool.join("keep.old/etc/ssh");
    succeed(Command::new("umount").arg(&old));
    std::mem::forget(busy);
    succeed(&mut reset);
    assert!(!site.pool.join("keep.old").exists());
}

/// A generation that runs though no record names it any more, and the image that it runs on.
#[test]
fn prune_takes_nothing_from_a_generation_that_runs() {
    if !is_root() {
        return;
    }
    for damage in [
        None,
        Some(Damage::Truncate),
        Some(Damage::Delete),
        Some(Damage::Flip),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        let old = object(&site, "changed");
        let running = site.assemble(&folder.path().join("root"), None);
        // Its image is mended meanwhile: what is mounted has lost its name.
        Part::whole(site.pool.join("images/1")).damage(Damage::Delete);
        succeed(&mut repair(&site));
        for generation in 2..=4 {
            change(&site, generation);
            succeed(&mut site.sync());
        }
        if let Some(damage) = damage {
            Part::whole(site.pool.join("manifests/1")).damage(damage);
        }
        let (said, log) = succeed(&mut site.verb("prune"));
        let objects = if damage.is_none() { 1 } else { 0 };
        let start = format!("removed 1 generations, {objects} objects (");
        assert!(said.starts_with(&start), "{damage:?}: {said}");
        let line = "generation 1 is mounted and its manifest is damaged: all objects stay";
        assert_eq!(log.contains(line), damage.is_some(), "{log}");
        assert!(old.exists());
        assert!(
            fs::read_to_string(running.0.join("changed"))
                .unwrap()
                .starts_with("generation 1 ")
        );
        drop(running);
        succeed(&mut site.verb("prune"));
        assert!(!old.exists());
        succeed(&mut site.verb("verify"));
    }
}

/// A pool with generations 1 and 2, and a store that no longer has anything of 1.
fn moved_on(folder: &Path) -> (Site, PathBuf) {
    let site = site(folder);
    let old = object(&site, "folder/file-7");
    for number in 0..20 {
        let text = format!("other content {number} ").repeat(400);
        fs::write(site.tree.join(format!("folder/file-{number}")), text).unwrap();
    }
    change(&site, 2);
    succeed(&mut site.sync());
    (site, old)
}

#[test]
fn a_previous_generation_that_the_store_has_lost_is_forgotten() {
    for manifest in [false, true] {
        for damage in DAMAGES {
            let folder = tempfile::tempdir().unwrap();
            let (site, old) = moved_on(folder.path());
            let old = if manifest {
                site.pool.join("manifests/1")
            } else {
                old
            };
            // Damage to the current one must not hide behind it.
            let new = object(&site, "changed");
            Part::whole(old.clone()).damage(damage);
            let before = Part::whole(new.clone()).damage(damage);
            let output = repair(&site).output().unwrap();
            assert_eq!(output.status.code(), Some(0));
            let log = String::from_utf8(output.stderr).unwrap();
            let line = "WARN  [reclone::repair] generation 1 can not be mended and is forgotten\n";
            assert!(log.contains(line), "{log}");
            let status = site.status();
            assert_eq!(status["current"].as_u64(), Some(2));
            assert!(status["previous"].is_null());
            assert!(fs::read(new).unwrap() == before);
            succeed(&mut site.verb("verify"));
            let line = format!(
                "The pool {} keeps no previous generation to go back to",
                site.pool.display()
            );
            assert_eq!(complaint(&mut site.verb("rollback"), 3), line);
        }
    }
}

#[test]
fn what_the_current_generation_lost_and_the_store_too_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let before = fs::read(site.pool.join("state")).unwrap();
    let lost = object(&site, "changed");
    for number in 0..20 {
        fs::write(site.tree.join(format!("folder/file-{number}")), "new").unwrap();
    }
    change(&site, 2);
    fs::remove_file(&lost).unwrap();
    let id = lost.strip_prefix(site.pool.join("objects")).unwrap();
    let id = id.to_str().unwrap().replace('/', "");
    let line = format!(
        "The store has no usable copy of object {id}: run `reclone-model verify` on the store"
    );
    assert_eq!(complaint(&mut repair(&site), 5), line);
    assert_eq!(fs::read(site.pool.join("state")).unwrap(), before);
    // The next generation does not need it.
    succeed(&mut site.sync());
    assert_found(&site, &[&lost]);
    succeed(&mut repair(&site));
    assert!(site.status()["previous"].is_null());
}

#[test]
fn a_damaged_manifest_does_not_keep_the_next_generation_away() {
    for damage in DAMAGES {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        let manifest = site.pool.join("manifests/1");
        Part::whole(manifest.clone()).damage(damage);
        change(&site, 2);
        let (said, _) = succeed(&mut site.sync());
        assert!(
            said.starts_with("generation 2 is current: 1 objects, "),
            "{damage:?}: {said}"
        );
        assert_found(&site, &[&manifest]);
        // Which objects the manifest names is not known: nothing is removed.
        let line = format!(
            "{}: it is damaged or missing: run `reclone verify --repair`",
            manifest.display()
        );
        assert_eq!(complaint(&mut site.verb("prune"), 8), line);
        succeed(&mut repair(&site));
    }
}
