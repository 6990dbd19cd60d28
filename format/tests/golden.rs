//! The committed bytes of `testdata/v1`: what is good reads and writes back as it was, what is malformed is refused
//! with these words. `examples/golden` made the files; what the bytes mean stands in `docs/format.md`.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use reclone_format::frame::{self, Sink};
use reclone_format::head::split;
use reclone_format::object_id::sha256;
use reclone_format::repack::recipe::{Block, Compressed, Item, Packing};
use reclone_format::wire::{Reader, Writer};
use reclone_format::{
    Codec, Entry, Error, Head, Kind, ManifestReader, ManifestWriter, ObjectId, PackHeader, PackId,
    PackIndex, PackedObject, PublicKey, TreePath, object_id_of,
};

const KEY: &str = "TEST-KEY-never-trust";
const GOOD: [&str; 15] = [
    "TEST-KEY-never-trust.key",
    "TEST-KEY-never-trust.pub",
    "head/first",
    "head/second",
    "manifest/first",
    "manifest/second",
    "manifest/top-only",
    "object-id/ids",
    "pack/delta",
    "pack/first",
    "pack/patch",
    "pack/repacked",
    "pack/second",
    "recipe/first",
    "tree-path/order",
];

/// State records, which `agent/tests/golden.rs` reads.
const RECORDS: [&str; 12] = [
    "refused/state/checksum",
    "refused/state/cut",
    "refused/state/generation-short",
    "refused/state/leading-zero",
    "refused/state/line-twice",
    "refused/state/no-checksum",
    "refused/state/other-file",
    "refused/state/out-of-order",
    "refused/state/unknown-line",
    "refused/state/version-2",
    "state/empty",
    "state/full",
];

#[path = "golden/refused.rs"]
mod refused;
use refused::REFUSED;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text(path: &str) -> String {
    String::from_utf8(read(path)).unwrap()
}

fn key() -> PublicKey {
    PublicKey::decode(&text(&format!("{KEY}.pub"))).unwrap()
}

fn entries(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    ManifestReader::open(bytes)?
        .map(|item| item.map(|item| item.entry))
        .collect()
}

/// The name that header and index give a pack, whether or not they are sound.
fn pack_id(bytes: &[u8]) -> Result<PackId, Error> {
    let end = PackHeader::parse(bytes)?.index_end() as usize;
    Ok(PackId::from_bytes(sha256(&bytes[..end.min(bytes.len())])))
}

fn index(bytes: &[u8]) -> Result<PackIndex, Error> {
    PackIndex::parse(bytes, &pack_id(bytes)?)
}

/// The objects of a pack; those that its bases need are in `known`, what it yields joins them.
fn unpack(bytes: &[u8], known: &mut Vec<Vec<u8>>) -> Result<(), Error> {
    for frame in index(bytes)?.frames() {
        let content = |base: &PackedObject| {
            let found = known.iter().find(|known| object_id_of(known) == base.id);
            found.expect("a base is known before its frame").clone()
        };
        let base: Vec<u8> = frame.bases.iter().flat_map(content).collect();
        let mut sink = Collected::default();
        frame::decode(frame, &bytes[frame.offset as usize..], &base, &mut sink)?;
        known.extend(sink.done);
    }
    Ok(())
}

#[derive(Default)]
struct Collected {
    open: Vec<u8>,
    done: Vec<Vec<u8>>,
}

impl Sink for Collected {
    fn start(&mut self, _: &PackedObject) -> io::Result<bool> {
        Ok(true)
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.open.extend_from_slice(bytes);
        Ok(())
    }
    fn complete(&mut self, _: &PackedObject) -> io::Result<()> {
        self.done.push(std::mem::take(&mut self.open));
        Ok(())
    }
}

fn files(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
    for item in std::fs::read_dir(folder.join(below)).unwrap() {
        let item = item.unwrap();
        let path = Path::new(below).join(item.file_name());
        let path = path.to_str().unwrap();
        match item.file_type().unwrap().is_dir() {
            true => files(folder, path, found),
            false => assert!(found.insert(path.into())),
        }
    }
}

#[test]
fn every_golden_file_is_listed_and_every_listed_file_is_there() {
    let mut found = BTreeSet::new();
    files(&folder(), "", &mut found);
    let refused = REFUSED.iter().map(|(path, _)| format!("refused/{path}"));
    let listed = GOOD.into_iter().chain(RECORDS).map(String::from);
    let listed: BTreeSet<String> = listed.chain(refused).collect();
    assert_eq!(found, listed);
    let versions = std::fs::read_dir(folder().join("..")).unwrap().count();
    assert_eq!(versions, 1, "a new version folder needs its tests here");
}

#[test]
fn heads_are_signed_and_write_back_as_they_were() {
    for (path, serial, packs, deltas) in [("head/first", 1, 1, 0), ("head/second", 3, 2, 1)] {
        let bytes = read(path);
        let head = Head::verify(&bytes, &key()).unwrap();
        assert_eq!(
            (head.serial, head.packs.len(), head.deltas.len()),
            (serial, packs, deltas)
        );
        let (body, signature) = split(&bytes).unwrap();
        assert_eq!(head.encode(), body, "{path}");
        assert_eq!(
            [head.encode().as_bytes(), signature.as_bytes()].concat(),
            bytes
        );
    }
}

#[test]
fn manifests_of_all_kinds_write_back_as_they_were() {
    let mut kinds = BTreeSet::new();
    for path in ["manifest/first", "manifest/second", "manifest/top-only"] {
        let bytes = read(path);
        let entries = entries(&bytes).unwrap();
        let header = ManifestReader::open(&bytes[..]).unwrap().header();
        let mut writer = ManifestWriter::create(Vec::new(), header).unwrap();
        for entry in &entries {
            writer.push(entry).unwrap();
            kinds.insert(match entry.kind {
                Kind::Directory => "directory",
                Kind::Regular { size: 0, .. } => "empty file",
                Kind::Regular { .. } => "regular file",
                Kind::Symlink { .. } => "symlink",
                Kind::CharDevice { major: 0, minor: 0 } => "whiteout",
                Kind::CharDevice { .. } => "character device",
                Kind::BlockDevice { .. } => "block device",
                Kind::Fifo => "fifo",
                Kind::Socket => "socket",
                Kind::HardLink { .. } => "hard link",
            });
        }
        assert_eq!(writer.finish().unwrap(), bytes, "{path}");
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

#[test]
fn packs_write_their_index_back_and_yield_what_the_head_names() {
    let head = Head::verify(&read("head/second"), &key()).unwrap();
    let mut codecs = Vec::new();
    let named = [
        ("pack/second", &head.packs[0]),
        ("pack/first", &head.packs[1]),
        ("pack/delta", &head.deltas[0].pack),
    ];
    for (path, reference) in named {
        let bytes = read(path);
        let index = PackIndex::parse(&bytes, &reference.id).unwrap();
        let (encoded, id) = index.encode().unwrap();
        assert_eq!((&encoded[..], id), (&bytes[..encoded.len()], reference.id));
        assert_eq!(index.pack_size(), bytes.len() as u64, "{path}");
        assert_eq!(reference.size, bytes.len() as u64, "{path}");
        let frames = index.frames().iter();
        codecs.extend(frames.map(|frame| (frame.codec, frame.bases.len())));
    }
    for codec in [
        (Codec::Stored, 0),
        (Codec::Zstd, 0),
        (Codec::Zstd, 2),
        (Codec::Patch, 1),
    ] {
        assert!(codecs.contains(&codec), "{codec:?}");
    }
}

#[test]
fn generation_2_comes_whole_from_its_packs_and_from_the_delta() {
    let head = Head::verify(&read("head/second"), &key()).unwrap();
    let mut full = Vec::new();
    unpack(&read("pack/second"), &mut full).unwrap();
    unpack(&read("pack/first"), &mut full).unwrap();
    let mut delta = Vec::new();
    unpack(&read("pack/first"), &mut delta).unwrap();
    unpack(&read("pack/delta"), &mut delta).unwrap();
    for objects in [full, delta] {
        let find = |id: &ObjectId| objects.iter().find(|object| object_id_of(object) == *id);
        let manifest = find(&head.manifest.id).expect("the manifest is an object");
        assert_eq!(*manifest, read("manifest/second"));
        let mut content = 0;
        for (id, size) in entries(manifest).unwrap().iter().filter_map(Entry::object) {
            assert_eq!(
                find(&id).expect("an object is in a pack").len() as u64,
                size
            );
            content += size;
        }
        assert_eq!(content, head.content);
    }
}

#[test]
fn one_patch_makes_many_objects_of_many_bases() {
    let bytes = read("pack/patch");
    let mut objects = Vec::new();
    unpack(&bytes, &mut objects).unwrap();
    assert_eq!(objects[2], [&objects[0][..], b"1"].concat());
    assert_eq!(objects[3], [&objects[1][..], b"2"].concat());
    let index = index(&bytes).unwrap();
    let frame = &index.frames()[2];
    let figures = (frame.codec, frame.bases.len(), frame.objects.len());
    assert_eq!(figures, (Codec::Patch, 2, 2));
    assert_eq!(frame.memory(), (3 << 17) + frame.length);
}

#[test]
fn a_recipe_reads_and_writes_back_and_makes_the_packed_object_again() {
    let bytes = read("recipe/first");
    let (mut fields, mut written) = (Reader::new(&bytes[..], "recipe"), Writer::new(Vec::new()));
    let mut items = Vec::new();
    while items.last() != Some(&Item::End) {
        let item = Item::read(&mut fields).unwrap();
        item.write(&mut written).unwrap();
        items.push(item);
    }
    assert_eq!(written.into_inner(), bytes);
    assert_eq!(fields.into_inner(), b"");
    let sequences = vec![1, 0x54, 6, 3, 9, 9];
    let compressed = Compressed {
        literals: 4,
        codes: Vec::new(),
        sequences,
    };
    let block = Block {
        is_last: false,
        size: 758,
        packing: Packing::Compressed(compressed),
    };
    assert_eq!((items.len(), &items[2]), (5, &Item::Block(block)));

    let mut objects = Vec::new();
    unpack(&read("pack/repacked"), &mut objects).unwrap();
    let content = [b"head", &objects[0][..], b"--", &objects[1], b"tail"].concat();
    let frame = objects[2].strip_prefix(b"head").unwrap();
    assert_eq!(zstd::decode_all(frame).unwrap(), content[4..]);
    let index = index(&read("pack/repacked")).unwrap();
    let frame = &index.frames()[2];
    let figures = (frame.codec, frame.bases.len(), frame.objects.len());
    assert_eq!(figures, (Codec::Repacked, 2, 1));
    assert_eq!(frame.memory(), (4 << 17) + (1 << 20) + frame.length);
}

#[test]
fn ids_and_the_order_of_paths_are_these() {
    for line in text("object-id/ids").lines() {
        let (id, size) = line.split_once(' ').unwrap();
        let size: u64 = size.parse().unwrap();
        let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let id: ObjectId = id.parse().unwrap();
        assert_eq!(object_id_of(&content), id, "{size} bytes");
    }
    let order = read("tree-path/order");
    let paths: Vec<TreePath> = order
        .strip_suffix(b"\n")
        .unwrap()
        .split(|byte| *byte == b'\n')
        .map(|line| TreePath::from_bytes(line.into()).unwrap())
        .collect();
    assert_eq!(paths.len(), 17);
    assert!(paths.windows(2).all(|pair| pair[0] < pair[1]));
}

/// Reads the file as what its folder says it is.
fn refusal(path: &str) -> Error {
    let bytes = read(&format!("refused/{path}"));
    let known = || vec![b"old".to_vec()];
    let result = match path.split('/').next().unwrap() {
        "head" => Head::verify(&bytes, &key()).map(drop),
        "manifest" => entries(&bytes).map(drop),
        "pack" => index(&bytes).map(drop),
        "frame" | "patch" | "recipe" => unpack(&bytes, &mut known()),
        other => panic!("no reader for {other}"),
    };
    result.expect_err(path)
}

#[test]
fn malformed_files_are_refused_with_these_words() {
    for (path, words) in REFUSED {
        let found = refusal(path).to_string();
        assert_eq!(found, *words, "{path}");
        assert!(!found.contains('\n'), "{path}");
    }
}

#[test]
fn a_pack_under_another_name_is_refused() {
    let error = PackIndex::parse(&read("pack/first"), &PackId::from_bytes([0; 32])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "The pack is malformed: its name is 0000000000000000000000000000000000000000000000000000000000000000, \
         but its index has the digest c900d02e2a686bd0778662a8403633ad669b138f27c0e2a516fcaf2447b5f267"
    );
}

#[test]
fn a_head_signed_by_another_key_is_refused() {
    let other = PublicKey::decode("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3");
    assert_eq!(
        Head::verify(&read("head/first"), &other.unwrap())
            .unwrap_err()
            .to_string(),
        "The head is not signed by the trusted key: The signature was created with a different key than the one provided"
    );
}
