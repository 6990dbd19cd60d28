//! Delta packs: that they lead from one generation to another, and when they are made.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::fs;

use reclone_format::{Codec, DeltaRef, Frame, ObjectId};
use reclone_model::pack_reader::{read_index, read_objects};
use reclone_model::store::Store;
use support::{Model, Ran, names, noise, run};

/// Machine code, as far as anyone looks: an ELF header, and addresses that grow with `shift`.
fn code(seed: u64, length: usize, shift: u8) -> Vec<u8> {
    let mut code = noise(seed, length);
    code[..4].copy_from_slice(b"\x7fELF");
    for address in (64..length).step_by(97) {
        code[address] = code[address].wrapping_add(shift);
    }
    code
}

fn delta(model: &Model, more: &[&str]) -> Ran {
    let (store, key) = (model.store_text(), model.key_text());
    run(&[&["delta", &store, "--key", &key], more].concat())
}

/// The generations that the newest one has delta packs from, in the order of its head.
fn sources(model: &Model) -> Vec<u64> {
    model.head().deltas.iter().map(|delta| delta.from).collect()
}

/// Every object of the generation's packs.
fn all_objects(model: &Model, generation: u64) -> HashMap<ObjectId, Vec<u8>> {
    let store = Store::open(&model.store()).unwrap();
    let mut objects = HashMap::new();
    for pack in store.head_of(generation).unwrap().unwrap().packs {
        for frame in read_index(&store, &pack).unwrap().frames() {
            objects.extend(decode(&store, &pack.id, frame, &[]));
        }
    }
    objects
}

fn decode(
    store: &Store,
    pack: &reclone_format::PackId,
    frame: &Frame,
    bases: &[u8],
) -> HashMap<ObjectId, Vec<u8>> {
    let wanted: Vec<ObjectId> = frame.objects.iter().map(|object| object.id).collect();
    read_objects(store, pack, frame, bases, &wanted).unwrap()
}

/// What a delta pack yields of the objects of the generation that it leads from; each frame must fit a small clone.
fn unpack(model: &Model, delta: &DeltaRef) -> (HashMap<ObjectId, Vec<u8>>, Vec<Frame>) {
    let store = Store::open(&model.store()).unwrap();
    let known = all_objects(model, delta.from);
    let mut yielded: HashMap<ObjectId, Vec<u8>> = HashMap::new();
    let frames = read_index(&store, &delta.pack).unwrap().into_frames();
    for frame in &frames {
        assert!(frame.memory() <= 64 << 20, "{frame:?}");
        let content = |id: &ObjectId| yielded.get(id).unwrap_or_else(|| &known[id]);
        let bases = frame.bases.iter().map(|base| content(&base.id).as_slice());
        let bases = bases.collect::<Vec<_>>().concat();
        yielded.extend(decode(&store, &delta.pack.id, frame, &bases));
    }
    (yielded, frames)
}

/// Two generations with every kind of change, the second with its delta pack.
fn two_generations(more: &[&str]) -> Model {
    let model = Model::new();
    let text = |number: usize, version: u32| {
        format!("file {number} of a package, version {version}\n").repeat(20 + number)
    };
    model.write("lib/modules/6.1.0-37-amd64/large.ko", code(1, 1_500_000, 0));
    for number in 0..40 {
        let module = format!("lib/modules/6.1.0-37-amd64/m{number}.ko");
        model.write(&module, code(100 + number, 9000, 0));
        model.write(&format!("share/doc-{number}.txt"), text(number as usize, 1));
    }
    model.write("stays", noise(3, 3_000_000));
    model.publish(more).expect(0);
    fs::remove_dir_all(model.tree().join("lib/modules/6.1.0-37-amd64")).unwrap();
    model.write("lib/modules/6.1.0-40-amd64/large.ko", code(1, 1_500_000, 8));
    for number in 0..40 {
        let module = format!("lib/modules/6.1.0-40-amd64/m{number}.ko");
        model.write(&module, code(100 + number, 9000, 8));
        model.write(&format!("share/doc-{number}.txt"), text(number as usize, 2));
    }
    model.write("new", noise(4, 30_000));
    model
}

#[test]
fn a_delta_pack_leads_from_the_generation_before() {
    let model = two_generations(&[]);
    assert_eq!(model.head().serial, 1);
    let ran = model.publish(&[]);
    assert_eq!(ran.generation(), 2);
    let ran = ran.says("published a delta pack from generation 1 to 2: ");
    assert!(ran.errors.contains("published generation 2"), "{ran:?}");
    let head = model.head();
    assert_eq!((head.generation, head.serial), (2, 3));
    assert_eq!(sources(&model), [1]);
    let (yielded, frames) = unpack(&model, &head.deltas[0]);
    let (old, new) = (all_objects(&model, 1), all_objects(&model, 2));
    let needed = new.keys().filter(|id| !old.contains_key(id)).count();
    assert_eq!(needed, 40 + 40 + 1 + 1 + 1);
    assert!(yielded.keys().all(|id| !old.contains_key(id)));
    assert_eq!(yielded.len(), needed);
    assert!(yielded.iter().all(|(id, content)| new[id] == *content));
    assert!(yielded.contains_key(&head.manifest.id));
    // The manifest, the large module, all small modules, all texts, and what is new.
    assert_eq!(frames.len(), 5);
    let object = |frame: &Frame| frame.objects[0].id;
    assert_eq!(object(&frames[0]), head.manifest.id);
    let of = |count: usize| frames.iter().find(|frame| frame.objects.len() == count);
    let modules = frames.iter().filter(|frame| frame.codec == Codec::Patch);
    let sizes: Vec<(usize, usize)> = modules
        .map(|frame| (frame.objects.len(), frame.bases.len()))
        .collect();
    assert!(
        sizes.contains(&(1, 1)) && sizes.contains(&(40, 40)),
        "{sizes:?}"
    );
    assert!(of(40).is_some());
    let size = head.deltas[0].pack.size;
    assert!((30_000..60_000).contains(&size), "{size} bytes");
    let all = frames[0].offset + frames[0].length;
    assert_eq!(head.deltas[0].pack.prelude, all);
    model
        .verify()
        .expect(0)
        .says("checked 2 generations, 3 packs");
}

/// The files of a cpio archive as `testdata/initrd.zst` has one, with their names.
fn files(mut archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    loop {
        let number = |which: usize| {
            let digits = std::str::from_utf8(&archive[6 + which * 8..][..8]).unwrap();
            usize::from_str_radix(digits, 16).unwrap()
        };
        let (size, name) = (number(6), number(11));
        let start = (110 + name).next_multiple_of(4);
        let name = String::from_utf8(archive[110..110 + name - 1].into()).unwrap();
        if name == "TRAILER!!!" {
            return files;
        }
        files.push((name, archive[start..start + size].into()));
        archive = &archive[(start + size).next_multiple_of(4)..];
    }
}

#[test]
fn an_initramfs_image_is_made_of_the_files_in_it_and_comes_right_behind_them() {
    let packed = include_bytes!("../testdata/initrd.zst");
    let mut files = files(&zstd::decode_all(&packed[..]).unwrap());
    assert_eq!(files.pop().unwrap().0, "etc/only-here");
    let model = Model::new();
    model.write("large", noise(1, 3_000_000));
    let (last, others) = files.split_last().unwrap();
    model.write(&last.0, &last.1);
    model.publish(&[]).expect(0);
    model.write("large", noise(2, 3_000_000));
    others
        .iter()
        .for_each(|(name, content)| model.write(name, content));
    model.write("boot/initrd.img", packed);
    model.publish(&[]).expect(0);
    let (yielded, frames) = unpack(&model, &model.head().deltas[0]);
    assert!(yielded.values().any(|content| content == packed));
    let at = frames
        .iter()
        .position(|frame| frame.codec == Codec::Repacked);
    let at = at.expect("the image was made again");
    let image = &frames[at];
    assert_eq!(image.bases.len(), files.len());
    assert!(image.length < 48_500, "{} bytes", image.length);
    let is_base = |frame: &Frame| {
        let mut objects = frame.objects.iter();
        objects.any(|object| image.bases.iter().any(|base| base.id == object.id))
    };
    assert!(frames[1..at].iter().all(is_base) && !frames[at + 1..].iter().any(is_base));
    assert!(frames.len() > at + 1, "the large file comes last");
    model.verify().expect(0);

    let model = two_generations(&[]);
    model.write("boot/initrd.img", packed);
    model.publish(&["--effort", "low"]).expect(0);
    let (_, frames) = unpack(&model, &model.head().deltas[0]);
    assert!(frames.iter().all(|frame| frame.codec != Codec::Repacked));
}

#[test]
fn an_initramfs_image_that_is_nearly_the_one_before_is_made_of_that() {
    let packed = include_bytes!("../testdata/initrd.zst");
    let mut content = zstd::decode_all(&packed[..]).unwrap();
    let image = |content: &[u8]| zstd::encode_all(content, 9).unwrap();
    let model = Model::new();
    for (name, content) in files(&content) {
        model.write(&name, content);
    }
    model.write("boot/initrd.img", image(&content));
    model.publish(&[]).expect(0);
    // The time of the last file, but for the end of the archive.
    let trailer = content.len() - 2_000;
    let last = content[..trailer]
        .windows(6)
        .rposition(|six| six == b"070701");
    content[last.unwrap() + 46..][..8].copy_from_slice(b"12345678");
    model.write("boot/initrd.img", image(&content));
    model.publish(&[]).expect(0);
    let (yielded, frames) = unpack(&model, &model.head().deltas[0]);
    assert!(yielded.values().any(|object| *object == image(&content)));
    assert!(frames.iter().all(|frame| frame.codec != Codec::Repacked));
    let sizes = frames.iter().map(|frame| frame.length);
    assert!(sizes.sum::<u64>() < 8_000);
}

#[test]
fn without_a_delta_pack_the_head_is_published_once_and_the_pack_can_be_made_later() {
    let model = two_generations(&["--no-delta"]);
    model.publish(&["--no-delta"]).expect(0);
    assert_eq!((model.head().serial, sources(&model)), (2, vec![]));
    assert_eq!(names(&model.store().join("packs")).len(), 2);
    delta(&model, &["--effort", "low"]).expect(0);
    let head = model.head();
    assert_eq!((head.serial, head.generation), (3, 2));
    assert_eq!(sources(&model), [1]);
    let copy = fs::read(model.store().join("heads/2")).unwrap();
    assert_eq!(copy, fs::read(model.store().join("head")).unwrap());
    // There is nothing left to make.
    delta(&model, &[]).expect(0);
    model.publish(&[]).expect(0);
    assert_eq!(model.head(), head);
    let (yielded, _) = unpack(&model, &head.deltas[0]);
    assert_eq!(yielded.len(), 83);
}

#[test]
fn an_unchanged_tree_still_gets_the_delta_pack_that_it_lacks() {
    let model = two_generations(&["--no-delta"]);
    model.publish(&["--no-delta"]).expect(0);
    assert_eq!(model.publish(&["--effort", "low"]).generation(), 2);
    assert_eq!((model.head().serial, sources(&model)), (3, vec![1]));
}

#[test]
fn delta_packs_lead_from_other_generations_on_request() {
    let model = Model::new();
    for number in 1..=4 {
        model.write("a", noise(number, 20_000));
        model.publish(&["--no-delta"]).expect(0);
    }
    delta(&model, &["--from", "1"]).expect(0);
    assert_eq!(sources(&model), [3, 1]);
    model.write("b", "x");
    model
        .publish(&["--delta-from", "2", "--delta-from", "1"])
        .expect(0);
    let head = model.head();
    assert_eq!((head.generation, head.serial), (5, 10));
    assert_eq!(sources(&model), [4, 2, 1]);
    for delta in &head.deltas {
        let (yielded, _) = unpack(&model, delta);
        assert!(yielded.contains_key(&head.manifest.id));
    }
    for missing in ["5", "6"] {
        let text = format!("has no generation {missing}; `reclone-model list` names those it has");
        delta(&model, &["--from", missing]).expect(1).says(&text);
    }
    model.write("b", "y");
    let ran = model.publish(&["--delta-from", "77"]);
    assert_eq!(ran.generation(), 6);
    ran.says("the generation is published, but a delta pack could not be made");
}

#[test]
fn an_old_tree_that_is_published_again_gets_a_delta_pack() {
    let model = two_generations(&[]);
    model.publish(&["--no-delta"]).expect(0);
    assert_eq!(model.publish(&["--again", "1"]).generation(), 3);
    assert_eq!(sources(&model), [2]);
    let (yielded, _) = unpack(&model, &model.head().deltas[0]);
    assert_eq!(yielded.len(), 82);
    // The same manifest once more needs none.
    model.publish(&["--no-delta"]).expect(0);
    model.publish(&["--full"]).expect(0);
    assert_eq!((model.head().generation, sources(&model)), (5, vec![]));
}

#[test]
fn prune_keeps_the_delta_packs_that_a_kept_head_names() {
    let model = two_generations(&[]);
    model.publish(&["--full"]).expect(0);
    run(&["prune", "--keep", "1", &model.store_text()])
        .expect(0)
        .says("removed 1 generations and 1 packs");
    assert_eq!(names(&model.store().join("packs")).len(), 2);
    model.verify().expect(0).says(
        "4 frames of delta packs were not read: the generations that they lead from are gone",
    );
    let model = two_generations(&[]);
    model.publish(&[]).expect(0);
    run(&["prune", "--keep", "1", &model.store_text()]).expect(0);
    assert_eq!(names(&model.store().join("packs")).len(), 3);
    model.verify().expect(0);
    model.write("other", "x");
    model.publish(&["--no-delta"]).expect(0);
    run(&["prune", "--keep", "1", &model.store_text()])
        .expect(0)
        .says("removed 1 generations and 1 packs");
    model.verify().expect(0);
}

#[test]
fn list_and_show_name_the_delta_packs() {
    let model = two_generations(&[]);
    model.publish(&[]).expect(0);
    let store = model.store_text();
    let list = run(&["list", &store]).expect(0).output;
    let column = |line: &str| line.split_whitespace().nth(9).map(str::to_owned);
    let counts: Vec<Option<String>> = list.lines().skip(1).map(column).collect();
    assert_eq!(counts, [Some("0".into()), Some("1".into())], "{list}");
    let delta = &model.head().deltas[0].pack;
    let shown = run(&["show", &store]).expect(0).output;
    assert!(shown.contains(&format!("delta       from 1: {}", delta.id)));
    let json: serde_json::Value =
        serde_json::from_str(&run(&["show", "--json", &store]).expect(0).output).unwrap();
    assert_eq!(json["deltas"][0]["from"], 1);
    assert_eq!(json["deltas"][0]["size"], delta.size);
}

#[test]
fn a_file_too_large_for_a_delta_comes_as_it_was_packed() {
    let model = Model::new();
    let grow = |size: u64| {
        let file = fs::File::create(model.tree().join("large")).unwrap();
        file.set_len(size).unwrap();
    };
    grow(300 << 20);
    model.publish(&["--level", "1"]).expect(0);
    grow((300 << 20) + 1);
    model.publish(&["--level", "1"]).expect(0);
    let store = Store::open(&model.store()).unwrap();
    let index = read_index(&store, &model.head().deltas[0].pack).unwrap();
    let frame = &index.frames()[1];
    assert_eq!((frame.bases.len(), frame.content()), (0, (300 << 20) + 1));
    model.verify().expect(0);
}

#[test]
fn a_copy_that_is_ahead_of_its_head_is_no_damage() {
    let model = two_generations(&["--no-delta"]);
    model.publish(&["--no-delta"]).expect(0);
    let head = fs::read(model.store().join("head")).unwrap();
    delta(&model, &["--effort", "low"]).expect(0);
    // As if the power had gone between the two renames.
    fs::write(model.store().join("head"), &head).unwrap();
    model
        .verify()
        .expect(0)
        .says("the last command did not come to its end");
    delta(&model, &["--effort", "low"]).expect(0);
    assert_eq!((model.head().serial, sources(&model)), (4, vec![1]));
    model.verify().expect(0);
}
