//! `verify`, `list`, `show` and `prune`: what is in a store, whether it is whole, and what may go.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Model, names, noise, run};

/// A store with two generations and a pack for each.
fn two_generations() -> Model {
    let model = Model::new();
    model.write("first", noise(1, 200_000));
    model.write("text", "a ".repeat(10_000));
    model.publish(&["--no-delta"]).expect(0);
    model.write("second", noise(2, 50_000));
    model.publish(&["--no-delta"]).expect(0);
    model
}

type Damage = fn(&Path);

fn truncate(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(length - 1).unwrap();
}

fn delete(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn grow(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.push(0);
    fs::write(path, bytes).unwrap();
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_damage_is_found_and_named() {
    let cases: [(&str, Damage); 8] = [
        ("cut short", truncate),
        ("deleted", delete),
        ("one byte longer", grow),
        ("first byte", |path| flip(path, |_| 0)),
        ("byte 20", |path| flip(path, |_| 20)),
        ("byte 100", |path| flip(path, |_| 100)),
        ("byte at a quarter", |path| flip(path, |length| length / 4)),
        ("last byte but one", |path| flip(path, |length| length - 2)),
    ];
    let whole = two_generations();
    whole.verify().expect(0);
    let packs = whole
        .head()
        .packs
        .into_iter()
        .map(|pack| pack.id.store_path());
    let files: Vec<String> = ["head".into(), "heads/1".into(), "heads/2".into()]
        .into_iter()
        .chain(packs)
        .collect();
    assert_eq!(files.len(), 5);
    for file in &files {
        for (name, damage) in cases {
            // A head that was there once and is not there any more can not be missed.
            if *file == "heads/1" && name == "deleted" {
                continue;
            }
            let path = whole.store().join(file);
            let before = fs::read(&path).unwrap();
            damage(&path);
            let ran = whole.verify();
            assert_eq!(ran.code, Some(3), "{file}, {name}: {ran:?}");
            assert!(
                ran.errors.contains(path.to_str().unwrap()),
                "{file}, {name}: {ran:?}"
            );
            fs::write(&path, before).unwrap();
        }
    }
    whole.verify().expect(0);
}

/// The golden files of the format as a store: two generations, and a delta pack with frames of all codecs.
fn golden_store() -> Model {
    let model = Model::without_store();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../format/testdata/v1");
    let store = model.store();
    for folder in ["packs", "heads", ".reclone-model/temp"] {
        fs::create_dir_all(store.join(folder)).unwrap();
    }
    let copy = |from: &str, to: String| fs::copy(golden.join(from), store.join(to)).unwrap();
    copy("head/first", "heads/1".into());
    copy("head/second", "heads/2".into());
    copy("head/second", "head".into());
    for name in ["first", "second", "delta"] {
        let from = format!("pack/{name}");
        let bytes = fs::read(golden.join(&from)).unwrap();
        let end = reclone_format::PackHeader::parse(&bytes)
            .unwrap()
            .index_end();
        let digest = reclone_format::object_id::sha256(&bytes[..end as usize]);
        copy(
            &from,
            reclone_format::PackId::from_bytes(digest).store_path(),
        );
    }
    let key = fs::read_to_string(golden.join("TEST-KEY-never-trust.pub")).unwrap();
    let key = key.lines().nth(1).unwrap();
    let record = format!("reclone-store 1\nmodel golden\nkey {key}\n");
    fs::write(store.join(".reclone-model/store"), record).unwrap();
    model
}

#[test]
fn delta_packs_are_checked_against_their_bases() {
    let model = golden_store();
    model
        .verify()
        .expect(0)
        .says("checked 2 generations, 3 packs, ");
    let delta = &model.head().deltas[0].pack;
    let path = model.store().join(delta.id.store_path());
    flip(&path, |length| length - 1);
    model
        .verify()
        .expect(3)
        .says(&format!("{}", path.display()));
}

#[test]
fn a_store_of_another_key_does_not_pass() {
    let model = two_generations();
    let other = Model::new();
    let store = model.store_text();
    run(&["verify", &store, "--key", &model.text("key.pub")]).expect(0);
    let ran = run(&["verify", &store, "--key", &other.text("key.pub")]).expect(3);
    let ran = ran.says(&format!(
        "{store}/heads/1 can not be used: The head is not signed by the trusted key"
    ));
    ran.says("checked 0 generations, 0 packs, 0 objects: 3 problems");
}

#[test]
fn a_store_without_a_generation_is_whole() {
    let model = Model::new();
    model.verify().expect(0).says("nothing was published yet");
    run(&["show", &model.store_text()])
        .expect(1)
        .says("has no generation yet");
    run(&["prune", "--keep", "1", &model.store_text()])
        .expect(1)
        .says("has no generation yet");
    let list = run(&["list", "--json", &model.store_text()])
        .expect(0)
        .output;
    assert_eq!(list, "[]\n");
}

#[test]
fn list_and_show_say_what_a_head_says() {
    let model = two_generations();
    let store = model.store_text();
    let text = run(&["list", &store]).expect(0).output;
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "generation",
            "published",
            "paths",
            "content",
            "packs",
            "stored",
            "deltas"
        ]
    );
    assert_eq!((lines[1][0], lines[1][3], lines[1][6]), ("1", "3", "1"));
    assert_eq!((lines[2][0], lines[2][3], lines[2][6]), ("2", "4", "2"));
    assert_eq!((lines[1].len(), *lines[2].last().unwrap()), (10, "newest"));
    let json: serde_json::Value =
        serde_json::from_str(&run(&["list", "--json", &store]).output).unwrap();
    let head = model.head();
    assert_eq!(json[1]["generation"], 2);
    assert_eq!(json[1]["newest"], true);
    assert_eq!(json[0]["newest"], false);
    assert_eq!(json[1]["manifest"], head.manifest.id.to_string());
    assert_eq!(json[1]["packs"][0]["id"], head.packs[0].id.to_string());
    assert_eq!(json[1]["content"], 200_000 + 20_000 + 50_000);
    let shown: serde_json::Value =
        serde_json::from_str(&run(&["show", &store, "2", "--json"]).output).unwrap();
    assert_eq!(shown, json[1]);
    let text = run(&["show", &store]).expect(0).output;
    assert!(
        text.starts_with("generation  2 (newest)\nmodel       lab\nserial      2\n"),
        "{text}"
    );
    run(&["show", &store, "3"])
        .expect(1)
        .says("has no generation 3; `reclone-model list` names those it has");
    let files = run(&["show", &store, "1", "--files"]).expect(0).output;
    let sizes: Vec<(&str, &str)> = files
        .lines()
        .map(|line| {
            (
                line.split(' ').nth(3).unwrap(),
                line.rsplit(' ').next().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        sizes,
        [("0", "/"), ("200000", "/first"), ("20000", "/text")]
    );
}

#[test]
fn prune_keeps_the_newest_generations_and_their_packs() {
    let model = two_generations();
    fs::remove_file(model.tree().join("second")).unwrap();
    model.write("third", noise(3, 60_000));
    model.publish(&["--no-delta"]).expect(0);
    let store = model.store_text();
    let packs = || names(&model.store().join("packs"));
    assert_eq!(packs().len(), 3);
    run(&["prune", "--keep", "3", &store])
        .expect(0)
        .says("removed 0 generations and 0 packs: 0 bytes");
    let second: PathBuf = model.store().join("heads/2");
    let head = reclone_format::head::split(&fs::read(&second).unwrap())
        .and_then(|(body, _)| reclone_format::Head::parse(body))
        .unwrap();
    let freed = format!(
        "generations and 1 packs: {:.1} KiB",
        head.packs[0].size as f64 / 1024.0
    );
    run(&["prune", "--keep", "1", "--dry-run", &store])
        .expect(0)
        .says(&format!("would remove 2 {freed}"));
    assert_eq!(
        (names(&model.store().join("heads")).len(), packs().len()),
        (3, 3)
    );
    run(&["prune", "--keep", "1", &store])
        .expect(0)
        .says(&format!("removed 2 {freed}"));
    assert_eq!(names(&model.store().join("heads")), ["3"]);
    assert_eq!(packs().len(), 2);
    model
        .verify()
        .expect(0)
        .says("checked 1 generations, 2 packs, 5 objects: 0 problems");
    run(&["prune", "--keep", "0", &store])
        .expect(2)
        .says("--keep 0: the newest generation always stays");
}

#[test]
fn prune_guesses_nothing_about_a_damaged_head() {
    let model = two_generations();
    flip(&model.store().join("heads/1"), |length| length / 4);
    let packs = names(&model.store().join("packs"));
    run(&["prune", "--keep", "2", &model.store_text()])
        .expect(1)
        .says("heads/1 can not be used");
    assert_eq!(names(&model.store().join("packs")), packs);
    // It may go, though.
    run(&["prune", "--keep", "1", &model.store_text()]).expect(0);
    model.verify().expect(0);
}
