//! From a tree to a store, with the real program.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use reclone_format::Kind;
use support::{Model, names, noise, run};

#[test]
fn a_tree_becomes_generation_1_and_its_contents_come_back() {
    let model = Model::new();
    model.write("etc/hostname", "lab\n");
    model.write("empty", "");
    model.write("big", noise(1, 9 << 20));
    let ran = model.publish(&[]).expect(0);
    assert_eq!(ran.output, "1\n");
    assert!(
        ran.errors
            .contains("published generation 1: 5 paths, 2 new objects, 9.0 MiB in a new pack")
    );
    assert_eq!(model.paths(), ["/big", "/empty", "/etc", "/etc/hostname"]);
    assert_eq!(model.content("/etc/hostname"), b"lab\n");
    assert_eq!(model.content("/empty"), b"");
    assert_eq!(model.content("/big"), noise(1, 9 << 20));
    let head = model.head();
    assert_eq!(
        (head.model.as_str(), head.serial, head.packs.len()),
        ("lab", 1, 1)
    );
    model
        .verify()
        .expect(0)
        .says("checked 1 generations, 1 packs, 3 objects: 0 problems");
}

#[test]
fn an_unchanged_tree_makes_no_new_generation_and_says_so() {
    let model = Model::new();
    model.write("a", "1");
    assert_eq!(model.publish(&[]).generation(), 1);
    let before = fs::read(model.store().join("head")).unwrap();
    for options in [&[][..], &["--rehash"]] {
        let ran = model
            .publish(options)
            .says("nothing changed: generation 1 is still the newest");
        assert_eq!(ran.generation(), 1);
    }
    assert_eq!(fs::read(model.store().join("head")).unwrap(), before);
    assert_eq!(names(&model.store().join("heads")), ["1"]);
    assert_eq!(names(&model.store().join("packs")).len(), 1);
}

#[test]
fn a_new_generation_packs_only_what_no_pack_holds() {
    let model = Model::new();
    model.write("old", noise(1, 100_000));
    model.publish(&[]).expect(0);
    model.write("new", noise(2, 50_000));
    model.write("copy-of-old", noise(1, 100_000));
    let ran = model
        .publish(&[])
        .says("published generation 2: 4 paths, 1 new objects");
    assert_eq!(ran.generation(), 2);
    let head = model.head();
    assert_eq!((head.serial, head.generation, head.packs.len()), (3, 2, 2));
    assert!((50_000..60_000).contains(&head.packs[0].size), "{head:?}");
    assert!((100_000..110_000).contains(&head.packs[1].size), "{head:?}");
    model.verify().expect(0);
}

#[test]
fn metadata_alone_makes_a_generation_without_objects() {
    let model = Model::new();
    model.write("a", "1");
    model.publish(&[]).expect(0);
    fs::set_permissions(model.tree().join("a"), fs::Permissions::from_mode(0o4711)).unwrap();
    let ran = model.publish(&[]).says("2 paths, 0 new objects");
    assert_eq!(ran.generation(), 2);
    assert_eq!(model.entry("/a").perm, 0o4711);
    model.verify().expect(0);
}

#[test]
fn the_same_tree_gives_the_same_packs_in_every_store() {
    let model = Model::new();
    for number in 0..300 {
        let content = noise(number, 20_000 + number as usize * 100);
        model.write(
            &format!("folder-{}/file-{number}.{}", number % 7, number % 3),
            content,
        );
    }
    model.write("large-1", noise(7, 5 << 20));
    model.write("large-2", vec![7; 6 << 20]);
    model.publish(&[]).expect(0);
    let other = Model::new();
    fs::remove_dir(other.tree()).unwrap();
    symlink(model.tree(), other.tree()).unwrap();
    other.publish(&[]).expect(0);
    let packs = names(&model.store().join("packs"));
    assert_eq!(packs, names(&other.store().join("packs")));
    for pack in packs {
        let path = format!("packs/{pack}");
        assert!(
            fs::read(model.store().join(&path)).unwrap()
                == fs::read(other.store().join(&path)).unwrap(),
            "{pack}"
        );
    }
}

#[test]
fn packs_that_are_mostly_dead_make_room_for_one_full_pack() {
    let model = Model::new();
    model.write("stays", noise(1, 100_000));
    model.write("goes", noise(2, 900_000));
    model.publish(&[]).expect(0);
    fs::remove_file(model.tree().join("goes")).unwrap();
    model
        .publish(&[])
        .expect(0)
        .says("packing everything again");
    assert_eq!(model.head().packs.len(), 1);
    assert!(model.head().packs[0].size < 110_000);
    run(&["prune", "--keep", "1", &model.store_text()])
        .expect(0)
        .says("removed 1 generations and 1 packs");
    model
        .verify()
        .expect(0)
        .says("checked 1 generations, 2 packs, ");
    assert_eq!(model.content("/stays"), noise(1, 100_000));
}

#[test]
fn the_number_of_packs_stays_small() {
    let model = Model::new();
    model.write("base", noise(0, 500_000));
    for number in 1..=35 {
        model.write(&format!("file-{number}"), noise(number, 1000));
        assert_eq!(model.publish(&["--level", "1"]).generation(), number);
        assert!(model.head().packs.len() <= 31, "generation {number}");
    }
    assert_eq!(model.head().packs.len(), 5);
    model.verify().expect(0);
}

#[test]
fn full_packs_everything_again() {
    let model = Model::new();
    model.write("a", noise(1, 10_000));
    model.publish(&[]).expect(0);
    model.write("b", noise(2, 10_000));
    model
        .publish(&["--full"])
        .expect(0)
        .says("3 paths, 2 new objects");
    assert_eq!(model.head().packs.len(), 1);
    model.verify().expect(0);
}

#[test]
fn a_damaged_pack_is_packed_again() {
    let model = Model::new();
    model.write("a", noise(1, 10_000));
    model.publish(&[]).expect(0);
    let pack = model.store().join(model.head().packs[0].id.store_path());
    let before = fs::read(&pack).unwrap();
    for at in [10, 100, before.len() - 1] {
        let mut bytes = before.clone();
        bytes[at] ^= 1;
        fs::write(&pack, bytes).unwrap();
        model.verify().expect(3);
        model.publish(&["--full"]).expect(0);
        assert!(fs::read(&pack).unwrap() == before, "byte {at}");
        model.verify().expect(0);
    }
    // A missing one is noticed without being asked.
    fs::remove_file(&pack).unwrap();
    model.write("b", "more");
    let ran = model.publish(&[]).says("every file is read again");
    ran.says("No such file or directory (os error 2); packing everything again")
        .expect(0);
    run(&["prune", "--keep", "1", &model.store_text()]).expect(0);
    model.verify().expect(0);
}

#[test]
fn a_store_that_lost_its_head_goes_on_after_the_highest_serial() {
    let model = Model::new();
    for text in ["1", "2", "3"] {
        model.write("a", text);
        model.publish(&[]).expect(0);
    }
    let head = model.store().join("head");
    let copy = |generation: u64| model.store().join(format!("heads/{generation}"));
    let first_copies = [1, 2, 3].map(|generation| fs::read(copy(generation)).unwrap());
    let lost = "the store has lost its head: going on after generation ";
    // The same tree: without a head there is nothing that clones could take.
    fs::remove_file(&head).unwrap();
    let ran = model.publish(&[]).says(&format!("{lost}3"));
    assert_eq!(ran.generation(), 4);
    // The tree of an old generation; that of the newest, whose own copy can not be read.
    fs::remove_file(&head).unwrap();
    let ran = model.publish(&["--again", "4"]).says(&format!("{lost}4"));
    assert_eq!(ran.generation(), 5);
    fs::remove_file(&head).unwrap();
    fs::write(copy(5), "damage").unwrap();
    model.write("a", "6");
    let ran = model.publish(&[]).says(&format!("{lost}5"));
    assert_eq!(ran.generation(), 6);
    // The damaged copy might have said any serial.
    let (serial, generation) = (model.head().serial, model.head().generation);
    assert_eq!((serial, generation), (6 + (1 << 20) + 1, 6));
    assert_eq!(model.content("/a"), b"6");
    let copies = [1, 2, 3].map(|generation| fs::read(copy(generation)).unwrap());
    assert_eq!(copies, first_copies);
    // Where no copy can be read, nobody knows what clones have seen.
    fs::remove_file(&head).unwrap();
    for generation in 1..=6 {
        fs::write(copy(generation), "damage").unwrap();
    }
    model.publish(&[]).expect(1).says("heads/1 can not be used");
    assert!(!head.exists());
}

#[test]
fn an_old_tree_can_be_published_again() {
    let model = Model::new();
    model.write("a", "old");
    model.publish(&[]).expect(0);
    let first = model.head();
    model.write("a", "bad");
    model.publish(&[]).expect(0);
    let ran = model
        .publish(&["--again", "1"])
        .says("published generation 3 with the tree of 1");
    assert_eq!(ran.generation(), 3);
    let head = model.head();
    assert_eq!(
        (head.serial, head.manifest, head.packs),
        (5, first.manifest, first.packs)
    );
    assert_eq!(model.content("/a"), b"old");
    let ran = model
        .publish(&["--again", "1"])
        .says("generation 3 is the newest and already has the tree of 1");
    assert_eq!(ran.generation(), 3);
    model
        .publish(&["--again", "9"])
        .expect(1)
        .says("has no generation 9");
    // The tree itself did not go back.
    assert_eq!(model.publish(&[]).generation(), 4);
    assert_eq!(model.content("/a"), b"bad");
    model.verify().expect(0);
}

#[test]
fn a_dry_run_publishes_nothing() {
    let model = Model::new();
    model.write("a", "12345");
    let ran = model.publish(&["--dry-run"]).expect(0);
    assert_eq!(ran.output, "0\n");
    let ran = ran.says("generation 1 would have 1 new objects of 5 bytes; nothing was published");
    assert_eq!(ran.generation(), 0);
    assert!(!model.store().join("head").exists());
    assert_eq!(names(&model.store().join("packs")), [""; 0]);
    model.publish(&[]).expect(0);
    model.write("b", "1");
    assert_eq!(model.publish(&["--dry-run"]).generation(), 1);
}

#[test]
fn only_what_changed_is_read_again() {
    let model = Model::new();
    model.write("quiet", noise(1, 300_000));
    model.write("busy", noise(2, 100_000));
    // Files this young are read again, for they could have changed in the tick of the clock that they were read in.
    let old = fs::metadata(model.tree().join("busy")).unwrap();
    wait_for_a_later_tick(&model, old.modified().unwrap());
    model.publish(&[]).expect(0);
    // A content that changed and kept every time: only a program that trusts its cache misses it.
    let traced = |model: &Model| {
        let trace = model.text("trace");
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-o", &trace, "-e", "trace=openat2"]);
        let publishing = model.publishing(&[]);
        command
            .arg(publishing.get_program())
            .args(publishing.get_args());
        match command.output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => {
                eprintln!("SKIPPED: no strace: {error}");
                return None;
            }
        }
        let trace = fs::read_to_string(trace).unwrap();
        Some(["quiet", "busy"].map(|name| trace.contains(&format!("\"{name}\""))))
    };
    let Some(opened) = traced(&model) else { return };
    assert_eq!(opened, [false, false]);
    model.write("busy", noise(3, 100_000));
    assert_eq!(traced(&model), Some([false, true]));
    assert_eq!(model.content("/busy"), noise(3, 100_000));
}

/// Until a file made now is clearly younger than `time`.
fn wait_for_a_later_tick(model: &Model, time: std::time::SystemTime) {
    let probe = model.path("probe");
    loop {
        fs::write(&probe, "x").unwrap();
        let now = fs::metadata(&probe).unwrap().modified().unwrap();
        if now
            .duration_since(time)
            .is_ok_and(|age| age.as_millis() > 50)
        {
            return;
        }
    }
}

#[test]
fn a_damaged_stat_cache_costs_a_warning_and_no_more() {
    let model = Model::new();
    model.write("a", "1");
    model.publish(&[]).expect(0);
    let cache = model.store().join(".reclone-model/stat-cache");
    let mut bytes = fs::read(&cache).unwrap();
    bytes[60] ^= 1;
    fs::write(&cache, bytes).unwrap();
    let ran = model
        .publish(&[])
        .says("its checksum is wrong; every file is read again");
    assert_eq!(ran.generation(), 1);
    let ran = model.publish(&[]).expect(0);
    assert!(!ran.errors.contains("checksum"), "{ran:?}");
    fs::remove_file(&cache).unwrap();
    assert_eq!(model.publish(&[]).generation(), 1);
}

#[test]
fn a_model_can_be_renamed() {
    let model = Model::new();
    model.write("a", "1");
    model.publish(&["--model", "lab-2"]).expect(0);
    assert_eq!(model.head().model, "lab-2");
    model.write("b", "1");
    model.publish(&[]).expect(0);
    assert_eq!(model.head().model, "lab-2");
    model
        .publish(&["--model", "a/b"])
        .expect(2)
        .says("`a/b` can not be a model's name: 1 to 64 letters, digits, `.`, `_` or `-` are");
}

#[test]
fn published_files_are_readable_for_a_web_server() {
    let model = Model::new();
    model.write("a", "1");
    model.publish(&[]).expect(0);
    let mode = |path: String| {
        let metadata = fs::metadata(model.store().join(path)).unwrap();
        metadata.permissions().mode() & 0o7777
    };
    let pack = names(&model.store().join("packs")).remove(0);
    assert_eq!(mode(".".into()), 0o755);
    assert_eq!(mode("packs".into()), 0o755);
    assert_eq!(mode("heads".into()), 0o755);
    assert_eq!(mode("head".into()), 0o644);
    assert_eq!(mode("heads/1".into()), 0o644);
    assert_eq!(mode(format!("packs/{pack}")), 0o644);
    assert_eq!(mode(".reclone-model".into()), 0o700);
}

#[test]
fn files_of_one_content_are_one_object() {
    let model = Model::new();
    model.write("a", "the same");
    model.write("b", "the same");
    model.publish(&[]).expect(0).says("3 paths, 1 new objects");
    let ids: Vec<_> = model.entries()[1..]
        .iter()
        .map(|entry| entry.object())
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert!(matches!(
        model.entry("/b").kind,
        Kind::Regular { size: 8, .. }
    ));
    model.verify().expect(0);
}
