#![allow(clippy::unwrap_used)]
//! Files that change between the two times that a first publish reads them.

use std::fs;

use reclone_format::{Kind, ObjectId, object_id_of};

use super::*;
use crate::keys::Passphrase;
use crate::store::Record;

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    options: PublishOptions,
}

impl Bench {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let signer = Signer::create(&key, &Passphrase::None).unwrap();
        let record = Record {
            model: "lab".into(),
            key: signer.public().into(),
        };
        let options = PublishOptions {
            from: folder.path().join("tree"),
            secrets: vec![key],
            model: None,
            level: 3,
            crossing: Crossing::default(),
            changing: Changing::Refuse,
            rehash: false,
            full: false,
            dry_run: false,
            deltas: None,
        };
        fs::create_dir(&options.from).unwrap();
        for (name, content) in files {
            fs::write(options.from.join(name), content).unwrap();
        }
        Self {
            store: Store::create(&folder.path().join("store"), record).unwrap(),
            folder,
            options,
        }
    }

    /// Reads the tree, lets `change` happen to it, and packs it.
    fn pack(&self, change: impl FnOnce(&Path)) -> Result<(Scanned, Manifest, PackRef)> {
        let tree = LiveTree::open(&self.options.from)?;
        let mut scanned = read_tree(&self.store, &tree, None, &self.options)?;
        let manifest = Manifest::of(&scanned.nodes)?;
        change(&self.options.from);
        let packing = Packing {
            store: &self.store,
            tree: &tree,
            old: &OldPacks::default(),
            options: &self.options,
        };
        let (manifest, pack) = packing.write(&mut scanned, manifest)?;
        let pack = pack.persist(&self.store)?;
        Ok((scanned, manifest, pack))
    }

    /// The ids of the objects of a pack, each read and checked.
    fn objects(&self, pack: &PackRef) -> Vec<ObjectId> {
        let index = crate::pack_reader::read_index(&self.store, pack).unwrap();
        let mut ids = Vec::new();
        for frame in index.frames() {
            for object in &frame.objects {
                let content =
                    crate::pack_reader::read_object(&self.store, &pack.id, frame, &[], object.id);
                assert_eq!(content.unwrap().len() as u64, object.size);
                ids.push(object.id);
            }
        }
        ids
    }
}

fn id_of(scanned: &Scanned, path: &str) -> ObjectId {
    let mut nodes = scanned.nodes.iter();
    let node = nodes.find(|node| node.entry.path.to_string() == path);
    match node.unwrap().entry.kind {
        Kind::Regular { id, .. } => id,
        ref other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn a_file_that_changed_is_published_as_it_was_packed_and_its_twin_as_it_was() {
    let bench = Bench::new(&[("a", b"old"), ("b", b"old"), ("c", b"still")]);
    let change = |tree: &Path| fs::write(tree.join("a"), "longer than before").unwrap();
    let (scanned, manifest, pack) = bench.pack(change).unwrap();
    let (new, old) = (object_id_of(b"longer than before"), object_id_of(b"old"));
    assert_eq!(id_of(&scanned, "/a"), new);
    assert_eq!(id_of(&scanned, "/b"), old);
    assert_eq!(
        bench.objects(&pack),
        [manifest.id, new, object_id_of(b"still"), old]
    );
    assert_eq!(manifest.content, 18 + 3 + 5);
}

#[test]
fn a_large_file_that_changed_is_published_as_it_was_packed() {
    let large = vec![1; 5 << 20];
    let bench = Bench::new(&[("a", &large), ("b", b"still")]);
    let change = |tree: &Path| fs::write(tree.join("a"), "small now").unwrap();
    let (scanned, manifest, pack) = bench.pack(change).unwrap();
    assert_eq!(id_of(&scanned, "/a"), object_id_of(b"small now"));
    let ids = [
        manifest.id,
        object_id_of(b"small now"),
        object_id_of(b"still"),
    ];
    assert_eq!(bench.objects(&pack), ids);
}

#[test]
fn a_file_that_was_emptied_is_published_empty() {
    let bench = Bench::new(&[("a", b"content")]);
    let change = |tree: &Path| fs::write(tree.join("a"), "").unwrap();
    let (scanned, manifest, pack) = bench.pack(change).unwrap();
    assert_eq!(id_of(&scanned, "/a"), ObjectId::EMPTY);
    assert_eq!(bench.objects(&pack), [manifest.id]);
}

#[test]
fn a_file_that_vanished_is_left_out_with_all_of_its_names() {
    let bench = Bench::new(&[("a", b"gone"), ("b", b"still")]);
    fs::hard_link(bench.options.from.join("a"), bench.options.from.join("z")).unwrap();
    let change = |tree: &Path| fs::remove_file(tree.join("a")).unwrap();
    let (scanned, manifest, pack) = bench.pack(change).unwrap();
    let paths: Vec<String> = scanned
        .nodes
        .iter()
        .map(|node| node.entry.path.to_string())
        .collect();
    assert_eq!(paths, ["/", "/b"]);
    assert_eq!(
        scanned.notes,
        ["/a: left out, it vanished while the tree was read"]
    );
    assert_eq!((manifest.entries, manifest.content), (2, 5));
    assert_eq!(bench.objects(&pack), [manifest.id, object_id_of(b"still")]);
}

#[test]
fn a_pack_of_an_unchanged_tree_is_written_once() {
    let bench = Bench::new(&[("a", b"content")]);
    let (_, manifest, pack) = bench.pack(|_| ()).unwrap();
    assert_eq!(
        bench.objects(&pack),
        [manifest.id, object_id_of(b"content")]
    );
    let temp = bench.folder.path().join("store/.reclone-model/temp");
    assert_eq!(fs::read_dir(temp).unwrap().count(), 0);
}
