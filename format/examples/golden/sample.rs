//! Two generations of a small tree with every kind of entry, as a publisher would write them.

use reclone_format::manifest::header_of;
use reclone_format::{
    Codec, DeltaRef, Entry, Frame, Head, Kind, ManifestRef, ManifestWriter, ObjectId, PackIndex,
    PackRef, PackedObject, Timestamp, TreePath, Xattr, object_id_of, patch,
};

use crate::Golden;
use crate::support::{compress, noise};

const NOTE_1: &[u8] = b"A clone becomes its model at its next boot.\n";
const NOTE_2: &[u8] = b"A clone becomes its model at its next boot.\nGeneration 2 says so too.\n";

/// What the malformed files are made from.
pub struct Sample {
    /// The first head.
    pub head: Head,
    /// It with its signature.
    pub signed: Vec<u8>,
    /// The first manifest.
    pub manifest: Vec<u8>,
    /// The first pack.
    pub pack: Vec<u8>,
}

/// The contents that change between the two generations.
struct Contents {
    tool: Vec<u8>,
    note: &'static [u8],
    new: Option<&'static [u8]>,
}

/// Writes everything that is well-formed.
pub fn write(golden: &Golden) -> Sample {
    let tool = noise(600, 1);
    let first = Contents {
        tool: tool.clone(),
        note: NOTE_1,
        new: None,
    };
    let second = Contents {
        tool: changed(&tool),
        note: NOTE_2,
        new: Some(b"new\n"),
    };
    let (one, two) = (manifest(&first), manifest(&second));
    golden.write("manifest/first", &one);
    golden.write("manifest/second", &two);
    golden.write("manifest/top-only", &top_only());

    let first_pack = Pack::new(&[
        zstd(&[], &[&one]),
        zstd(&[], &[first.note, b"odd\n"]),
        stored(&first.tool),
    ]);
    let second_pack = Pack::new(&[
        zstd(&[], &[&two]),
        zstd(&[], &[&second.tool, second.note, b"new\n"]),
    ]);
    let delta = Pack::new(&[
        zstd(&[&one], &[&two]),
        tool_patch(&first.tool, &second.tool),
        zstd(&[first.note, &second.tool], &[second.note]),
        stored(b"new\n"),
    ]);
    golden.write("pack/first", &first_pack.bytes);
    golden.write("pack/second", &second_pack.bytes);
    golden.write("pack/delta", &delta.bytes);
    let (a, b) = (noise(300, 2), noise(400, 3));
    let both = [&a[..], &b[..]].concat();
    let patch = patch::encode(&[(300, 1, 0), (400, 1, 0)], &[0; 700], b"12", 17).unwrap();
    let parts = [&both[..300], b"1", &both[300..], b"2"].concat();
    let patches = Pack::new(&[
        stored(&a),
        stored(&b),
        frame(
            Codec::Patch,
            &[&a, &b],
            &[&parts[..301], &parts[301..]],
            patch,
        ),
    ]);
    golden.write("pack/patch", &patches.bytes);

    let head = Head {
        model: "lab-a".into(),
        serial: 1,
        generation: 1,
        created: 1_700_000_000,
        manifest: manifest_ref(&one),
        content: (first.tool.len() + first.note.len() + 4) as u64,
        packs: vec![first_pack.reference(true)],
        deltas: vec![],
    };
    let next = Head {
        serial: 3,
        generation: 2,
        created: 1_700_086_400,
        manifest: manifest_ref(&two),
        content: (second.tool.len() + second.note.len() + 8) as u64,
        packs: vec![second_pack.reference(true), first_pack.reference(false)],
        deltas: vec![DeltaRef {
            from: 1,
            pack: delta.reference(true),
        }],
        ..head.clone()
    };
    let signed = golden.write("head/first", &golden.sign(&head.encode()));
    golden.write("head/second", &golden.sign(&next.encode()));
    write_ids(golden);
    write_order(golden);
    Sample {
        head,
        signed,
        manifest: one,
        pack: first_pack.bytes,
    }
}

/// Sizes around every boundary of the hash tree; byte `i` of each content is `i` modulo 251.
fn write_ids(golden: &Golden) {
    let sizes = [0u32, 1, 4095, 4096, 4097, 524_288, 524_289, 3_000_000];
    let lines = sizes.map(|size| {
        let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        format!("{} {size}\n", object_id_of(&content))
    });
    golden.write("object-id/ids", lines.concat().as_bytes());
}

fn write_order(golden: &Golden) {
    let paths = [
        "", "a", "a-b", "a.b", "a0", "b", "\u{e9}", "a/-", "a/x", "a/y", "a/x/1", "a/x/2", "a/y/1",
        "a-b/1", "a.b/1", "a0/1", "b/1",
    ];
    let mut sorted: Vec<TreePath> = paths.iter().map(|text| path(text.as_bytes())).collect();
    sorted.sort();
    let lines: Vec<Vec<u8>> = sorted
        .into_iter()
        .map(|path| [&path.into_bytes()[..], b"\n"].concat())
        .collect();
    golden.write("tree-path/order", &lines.concat());
}

fn path(bytes: &[u8]) -> TreePath {
    TreePath::from_bytes(bytes.into()).unwrap()
}

fn entry(at: &[u8], perm: u16, sec: i64, kind: Kind) -> Entry {
    Entry {
        perm,
        mtime: Timestamp { sec, nsec: 0 },
        ..Entry::new(path(at), kind)
    }
}

fn regular(content: &[u8]) -> Kind {
    Kind::Regular {
        size: content.len() as u64,
        id: object_id_of(content),
    }
}

fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr {
        name: name.into(),
        value: value.into(),
    }
}

/// All kinds of entries, odd names, times before 1970, xattrs.
fn manifest(contents: &Contents) -> Vec<u8> {
    let day = 1_700_000_000;
    let device = |major, minor| Kind::CharDevice { major, minor };
    let disk = Kind::BlockDevice {
        major: 4095,
        minor: (1 << 20) - 1,
    };
    let mut note = entry(b"note", 0o644, -1, regular(contents.note));
    note.mtime.nsec = 999_999_999;
    (note.uid, note.gid) = (1000, u32::MAX - 1);
    note.xattrs = vec![xattr("user.empty", b""), xattr("user.lang", b"en")];
    let mut tool = entry(b"bin/tool", 0o4755, day, regular(&contents.tool));
    tool.xattrs = vec![xattr("security.capability", &[1, 0, 0, 2, 0, 4, 0, 0])];
    let target = b"tool".to_vec();
    let mut entries = vec![
        entry(b"", 0o755, day, Kind::Directory),
        entry(b"bin", 0o755, day, Kind::Directory),
        entry(b"console", 0o600, 0, device(5, 1)),
        entry(b"disk", 0o660, 0, disk),
        entry(b"empty", 0o7777, 1 << 33, regular(b"")),
        note,
        entry(b"pipe", 0o600, 0, Kind::Fifo),
        entry(b"socket", 0, 0, Kind::Socket),
        entry(b"whiteout", 0, 0, device(0, 0)),
        entry(b"\xff\n", 0o600, 0, regular(b"odd\n")),
        entry(b"bin/sh", 0o777, 0, Kind::Symlink { target }),
        tool,
        Entry::new(path(b"bin/tool2"), Kind::HardLink { to: 11 }),
    ];
    if let Some(new) = contents.new {
        entries.insert(9, entry(b"zz", 0o644, day + 86_400, regular(new)));
        entries[13].kind = Kind::HardLink { to: 12 };
    }
    encode(&entries)
}

fn top_only() -> Vec<u8> {
    encode(&[entry(b"", 0o755, 0, Kind::Directory)])
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut writer = ManifestWriter::create(Vec::new(), header_of(entries.iter())).unwrap();
    for entry in entries {
        writer.push(entry).unwrap();
    }
    writer.finish().unwrap()
}

fn manifest_ref(bytes: &[u8]) -> ManifestRef {
    let header = reclone_format::ManifestReader::open(bytes)
        .unwrap()
        .header();
    ManifestRef {
        id: object_id_of(bytes),
        size: bytes.len() as u64,
        entries: header.entries,
    }
}

fn changed(tool: &[u8]) -> Vec<u8> {
    let mut tool = tool.to_vec();
    tool.iter_mut()
        .step_by(100)
        .for_each(|byte| *byte = byte.wrapping_add(1));
    tool.extend_from_slice(b"v2");
    tool
}

/// Adds a difference to all of the old tool, then appends what is new.
fn tool_patch(old: &[u8], new: &[u8]) -> (Frame, Vec<u8>) {
    let diff: Vec<u8> = new
        .iter()
        .zip(old)
        .map(|(new, old)| new.wrapping_sub(*old))
        .collect();
    let payload = patch::encode(&[(600, 2, 0)], &diff, b"v2", 17).unwrap();
    frame(Codec::Patch, &[old], &[new], payload)
}

fn stored(content: &[u8]) -> (Frame, Vec<u8>) {
    frame(Codec::Stored, &[], &[content], content.to_vec())
}

fn zstd(bases: &[&[u8]], objects: &[&[u8]]) -> (Frame, Vec<u8>) {
    let payload = compress(&objects.concat(), &bases.concat());
    frame(Codec::Zstd, bases, objects, payload)
}

fn frame(codec: Codec, bases: &[&[u8]], objects: &[&[u8]], payload: Vec<u8>) -> (Frame, Vec<u8>) {
    let object = |content: &&[u8]| PackedObject {
        id: ObjectId::from_bytes(*object_id_of(content).as_bytes()),
        size: content.len() as u64,
    };
    let frame = Frame {
        offset: 0,
        length: payload.len() as u64,
        codec,
        window_log: if codec == Codec::Stored { 0 } else { 17 },
        bases: bases.iter().map(object).collect(),
        objects: objects.iter().map(object).collect(),
    };
    (frame, payload)
}

struct Pack {
    bytes: Vec<u8>,
    id: reclone_format::PackId,
    index_end: u64,
    first_frame: u64,
}

impl Pack {
    fn new(frames: &[(Frame, Vec<u8>)]) -> Self {
        let index: PackIndex = frames.iter().map(|(frame, _)| frame.clone()).collect();
        let (mut bytes, id) = index.encode().unwrap();
        let index_end = bytes.len() as u64;
        frames
            .iter()
            .for_each(|(_, payload)| bytes.extend_from_slice(payload));
        Self {
            bytes,
            id,
            index_end,
            first_frame: frames[0].0.length,
        }
    }

    /// `own`: its first frame holds the generation's manifest.
    fn reference(&self, own: bool) -> PackRef {
        PackRef {
            id: self.id,
            size: self.bytes.len() as u64,
            prelude: self.index_end + if own { self.first_frame } else { 0 },
        }
    }
}
