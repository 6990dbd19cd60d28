//! What someone could publish who means harm, or whose publisher is broken: each attack is refused with one clear line,
//! and before it costs memory. `testdata/v1/refused` holds the single broken rules; here are the stories.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;

use reclone_format::frame::{self, Sink};
use reclone_format::{Error, Head, ManifestReader, PackIndex, PackedObject, patch};
use support::*;

/// Nothing may be completed.
struct Nothing;

impl Sink for Nothing {
    fn start(&mut self, _: &PackedObject) -> io::Result<bool> {
        Ok(true)
    }
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn complete(&mut self, object: &PackedObject) -> io::Result<()> {
        panic!("{} was completed", object.id)
    }
}

fn read_manifest(bytes: &[u8]) -> Result<(), Error> {
    ManifestReader::open(bytes)?.try_for_each(|item| item.map(drop))
}

/// Asserts the whole line of each case.
fn all_refused<T>(cases: &[(T, &str)], read: impl Fn(&T) -> Result<(), Error>) {
    for (case, line) in cases {
        let found = read(case).expect_err(line).to_string();
        assert_eq!(found, *line);
        assert!(!found.contains('\n') && found.len() < 400, "one line");
    }
}

fn manifests(cases: &[(Vec<u8>, &str)]) {
    all_refused(cases, |bytes| read_manifest(bytes));
}

#[test]
fn names_that_lead_out_of_the_tree_are_refused() {
    manifests(&[
        (
            tree(&[top(), directory(0, b"a/../../etc/passwd")]),
            "The path is malformed: a/../../etc/passwd: it has a part `.` or `..`",
        ),
        (
            // `..` appears only where two entries are joined.
            tree(&[
                top(),
                directory(0, b"a"),
                directory(1, b"/."),
                directory(3, b"./b"),
            ]),
            "The path is malformed: a/.: it has a part `.` or `..`",
        ),
        (
            tree(&[top(), directory(0, b".a"), directory(1, b"./b")]),
            "The path is malformed: ../b: it has a part `.` or `..`",
        ),
        (
            tree(&[top(), directory(0, b"//etc")]),
            "The path is malformed: //etc: it has an empty part",
        ),
        (
            tree(&[top(), directory(0, b"a/")]),
            "The path is malformed: a/: it has an empty part",
        ),
        (
            tree(&[top(), directory(0, b"etc\0/x")]),
            "The path is malformed: etc\\x00/x: it contains a NUL byte",
        ),
        (
            tree(&[top(), directory(0, b"\n\x1b[2J/..")]),
            "The path is malformed: \\n\\x1b[2J/..: it has a part `.` or `..`",
        ),
    ]);
}

#[test]
fn what_stands_below_a_file_or_a_link_is_refused() {
    let link = entry(SYMLINK, 0, b"a", &[&PLAIN, &[4, 0], b"/etc"]);
    let null = entry(CHAR_DEVICE, 0, b"a", &[&PLAIN, &[0; 8]]);
    let below = empty(1, b"/passwd");
    let line =
        "The manifest is malformed: /a/passwd: its parent is not a directory of this manifest";
    manifests(&[
        (tree(&[top(), link, below.clone()]), line),
        (tree(&[top(), null, below.clone()]), line),
        (tree(&[top(), empty(0, b"a"), below.clone()]), line),
        (
            tree(&[top(), empty(0, b"0"), hard_link(0, b"a", 1), below]),
            line,
        ),
        (
            // A directory whose turn is over.
            tree(&[
                top(),
                directory(0, b"a"),
                directory(0, b"b"),
                empty(1, b"/x"),
                empty(0, b"a/x"),
            ]),
            "The manifest is malformed: /a/x: it is out of order, or there twice",
        ),
    ]);
}

#[test]
fn a_path_that_is_there_twice_is_refused() {
    let line = "The manifest is malformed: /a: it is out of order, or there twice";
    manifests(&[
        (tree(&[top(), directory(0, b"a"), empty(1, b"")]), line),
        (tree(&[top(), empty(0, b"a"), empty(1, b"")]), line),
        (tree(&[top(), empty(0, b"a"), hard_link(1, b"", 1)]), line),
        (
            tree(&[top(), empty(0, b"a"), empty(0, b"b"), directory(0, b"a")]),
            line,
        ),
        (
            tree(&[top(), top()]),
            "The manifest is malformed: /: it is out of order, or there twice",
        ),
    ]);
}

#[test]
fn hard_links_to_what_is_no_earlier_file_are_refused() {
    let line = |to: u32| {
        format!(
            "The manifest is malformed: /b: it links to entry {to}, which is not the first name of an earlier file"
        )
    };
    for to in [0, 1, 2, 3, 64, u32::MAX] {
        let parts = [
            top(),
            directory(0, b"a"),
            hard_link(0, b"b", to),
            empty(0, b"c"),
        ];
        assert_eq!(
            read_manifest(&tree(&parts)).unwrap_err().to_string(),
            line(to)
        );
    }
}

#[test]
fn a_manifest_is_not_believed_what_it_says_of_sizes() {
    let count = |count: u16| [&PLAIN[..22], &count.to_le_bytes()].concat();
    let huge = [&[1][..], &u32::MAX.to_le_bytes(), b"x"].concat();
    let id = named(b"x").0;
    let big = |name: &[u8]| file(0, name, 1 << 60, &id);
    let names: Vec<Vec<u8>> = (0..16u8).map(|at| big(&[b'a' + at])).collect();
    manifests(&[
        (
            manifest(1 << 26, 0, &[top()]),
            "The manifest is malformed: it ends early",
        ),
        (
            manifest((1 << 26) + 1, 0, &[top()]),
            "The manifest is malformed: it has 67108865 entries, 1 to 67108864 are allowed",
        ),
        (
            tree(&[top(), [&[1, 0, 0, 0xff, 0xff][..], b"a"].concat()]),
            "The manifest is malformed: a path has 65535 bytes, at most 4095 are allowed",
        ),
        (
            tree(&[entry(DIRECTORY, 0, b"", &[&count(1), &huge])]),
            "The manifest is malformed: an xattr value has 4294967295 bytes, at most 65536 are allowed",
        ),
        (
            tree(&[entry(DIRECTORY, 0, b"", &[&count(u16::MAX)])]),
            "The manifest is malformed: it ends early",
        ),
        (
            tree(&[entry(SYMLINK, 0, b"", &[&PLAIN, &[0xff, 0xff]])]),
            "The manifest is malformed: a link target has 65535 bytes, at most 4095 are allowed",
        ),
        (
            manifest(17, 0, &[&[top()], &names[..]].concat()),
            "The manifest is malformed: /p: the contents add up to more than 2^64 bytes",
        ),
    ]);
}

fn read_index(frames: &[RawFrame]) -> Result<(), Error> {
    let (bytes, id) = pack(frames);
    PackIndex::parse(&bytes, &id).map(drop)
}

fn decode(raw: &RawFrame, base: &[u8]) -> Result<(), Error> {
    let (bytes, id) = pack(std::slice::from_ref(raw));
    let index = PackIndex::parse(&bytes, &id)?;
    let frame = &index.frames()[0];
    frame::decode(frame, &bytes[frame.offset as usize..], base, &mut Nothing)
}

#[test]
fn bases_that_go_in_circles_are_refused() {
    let line = |content: &[u8]| {
        format!(
            "The pack is malformed: a frame needs object {} before the pack yields it",
            named(content).0
        )
    };
    let itself = [frame(1, &[b"a", b"b"], &[b"c", b"b"], b"x")];
    assert_eq!(read_index(&itself).unwrap_err().to_string(), line(b"b"));
    let patch_of_itself = [frame(2, &[b"a"], &[b"a"], b"x")];
    assert_eq!(
        read_index(&patch_of_itself).unwrap_err().to_string(),
        line(b"a")
    );
    let later = [
        frame(1, &[b"b"], &[b"a"], b"x"),
        frame(1, &[b"c"], &[b"b"], b"x"),
        frame(1, &[b"a"], &[b"c"], b"x"),
    ];
    assert_eq!(read_index(&later).unwrap_err().to_string(), line(b"b"));
    let earlier = [
        frame(1, &[b"a"], &[b"b"], b"x"),
        frame(1, &[b"b", b"a"], &[b"c"], b"x"),
    ];
    read_index(&earlier).unwrap();
}

#[test]
fn a_pack_is_not_believed_what_it_says_of_counts_and_sizes() {
    let counts = |frames: u32, objects: u32, bases: u32| {
        let mut bytes = pack(&[frame(0, &[], &[b"x"], b"x")]).0;
        for (at, count) in [(12, frames), (16, objects), (20, bases)] {
            bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
        }
        bytes
    };
    let id = pack(&[]).1;
    let cases = [
        (
            counts(1, 1 << 26, 1 << 26),
            "The pack is malformed: it ends inside its index",
        ),
        (
            counts(2, 1, 0),
            "The pack is malformed: its counts are impossible: 2 frames, 1 objects, 0 bases",
        ),
        (
            counts(1, u32::MAX, u32::MAX),
            "The pack is malformed: its counts are impossible: 1 frames, 4294967295 objects, 4294967295 bases",
        ),
    ];
    all_refused(&cases, |bytes| PackIndex::parse(bytes, &id).map(drop));
    let sized = |sizes: &[u64]| {
        let mut frame = frame(1, &[], &[], b"x");
        frame.objects = sizes.iter().map(|size| (named(b"x").0, *size)).collect();
        vec![frame]
    };
    let line = "The pack is malformed: an object is empty, or a frame's are larger than 2^64 bytes";
    let cases = [
        (sized(&[u64::MAX, 1]), line),
        (sized(&[1, 0]), line),
        (
            vec![frame(1, &[], &[], b"x"), frame(1, &[], &[b"x", b"x"], b"x")],
            "The pack is malformed: a frame has more objects or bases than the index, or none",
        ),
    ];
    all_refused(&cases, |frames| read_index(frames));
}

#[test]
fn zip_bombs_end_where_the_index_says() {
    let zeros = vec![0; 8 << 20];
    let bomb = compress(&zeros, &[]);
    assert!(bomb.len() < 4096, "{} bytes", bomb.len());
    let mut small = frame(1, &[], &[b"small"], &bomb);
    let line = format!(
        "Object {} is damaged: its content has the id {}",
        named(b"small").0,
        named(&[0; 5]).0
    );
    assert_eq!(decode(&small, &[]).unwrap_err().to_string(), line);
    // Said to be larger than it is: nothing is made of what is not there.
    small.objects[0].1 = 1 << 60;
    assert_eq!(
        decode(&small, &[]).unwrap_err().to_string(),
        "The frame is malformed: it ends before its last object does"
    );
    // Said to be one object, is one object and much more.
    let honest = named(&zeros[..4096]);
    small.objects = vec![honest, named(b"small")];
    let mut sink = Counting::default();
    let (bytes, id) = pack(&[small]);
    let index = PackIndex::parse(&bytes, &id).unwrap();
    let start = index.frames()[0].offset as usize;
    let result = frame::decode(&index.frames()[0], &bytes[start..], &[], &mut sink);
    assert_eq!(result.unwrap_err().to_string(), line);
    assert_eq!((sink.bytes, sink.completed), (4101, 1));
}

#[derive(Default)]
struct Counting {
    bytes: usize,
    completed: usize,
}

impl Sink for Counting {
    fn start(&mut self, _: &PackedObject) -> io::Result<bool> {
        Ok(true)
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len();
        Ok(())
    }
    fn complete(&mut self, _: &PackedObject) -> io::Result<()> {
        self.completed += 1;
        Ok(())
    }
}

#[test]
fn a_window_larger_than_a_reader_allows_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(28).unwrap();
    io::Write::write_all(&mut encoder, &noise(10, 1)).unwrap();
    let payload = encoder.finish().unwrap();
    let mut window = frame(1, &[], &[&noise(10, 1)], &payload);
    window.window_log = 27;
    assert_eq!(
        decode(&window, &[]).unwrap_err().to_string(),
        "The frame is malformed: it does not decompress: Frame requires too much memory for decoding"
    );
}

#[test]
fn patches_that_lie_are_refused() {
    let zstd = |content: &[u8]| compress(content, &[]);
    let raw = |control: u64, diff: u64, rest: &[u8]| {
        [&control.to_le_bytes()[..], &diff.to_le_bytes(), rest].concat()
    };
    let step = |add: u64, insert: u64, seek: i64| {
        [add.to_le_bytes(), insert.to_le_bytes(), seek.to_le_bytes()].concat()
    };
    let patch = |steps: &[Vec<u8>], diff: &[u8], extra: &[u8]| {
        let (control, diff) = (zstd(&steps.concat()), zstd(diff));
        let rest = [&control[..], &diff, &zstd(extra)].concat();
        raw(control.len() as u64, diff.len() as u64, &rest)
    };
    let large = "The patch is malformed: its control and difference are larger than 64 MiB";
    let long = "The patch is malformed: a step is empty, or longer than the object";
    let out = "The patch is malformed: a step leads out of the base";
    let early = "The patch is malformed: it ends early";
    let unused = "The patch is malformed: it has bytes that no step uses";
    let cases = [
        (raw(u64::MAX, u64::MAX, b""), large),
        (raw((64 << 20) - 1, 2, b""), large),
        (raw(64 << 20, 0, b"x"), early),
        (patch(&[vec![0; 24 << 16]], &[], &[]), long),
        (patch(&[step(u64::MAX, 1, 0)], &[], &[]), long),
        (patch(&[step(u64::MAX, 5, 0)], &[], &[]), long),
        (patch(&[step(4, 0, 0)], &[0; 4], &[]), out),
        (
            patch(&[step(1, 0, i64::MIN), step(1, 2, 0)], &[0; 2], b"!!"),
            out,
        ),
        (
            patch(&[step(1, 0, i64::MAX), step(1, 2, 0)], &[0; 2], b"!!"),
            out,
        ),
        (patch(&[step(0, 4, 0)], &[], &[]), early),
        (patch(&[step(0, 4, 0)], &vec![0; 1 << 20], b"old!"), unused),
        (patch(&[step(0, 4, 0)], &[], &vec![b'!'; 1 << 20]), unused),
    ];
    let apply = |payload: &Vec<u8>| {
        let mut out = Vec::new();
        let result = patch::apply(&mut &payload[..], &b"old"[..], 17, 4, &mut out);
        assert!(out.len() <= 4);
        result
    };
    all_refused(&cases, apply);
    apply(&patch(&[step(3, 1, 0)], &[0; 3], b"!")).unwrap();
}

#[test]
fn heads_of_absurd_size_are_refused() {
    let id = named(b"x").0;
    let body = format!(
        "reclone-head 1\nmodel a\nserial 1\ngeneration 1\ncreated 0\nmanifest {id} 1 1\ncontent 0\n"
    );
    let packs = |count: usize| -> String {
        let line = |at: usize| format!("pack {at:064x} 120 120\n");
        (0..count).map(line).collect()
    };
    Head::parse(&format!("{body}{}", packs(4096))).unwrap();
    let cases = [
        (
            format!("{body}{}", packs(4097)),
            "The head is malformed: it names no pack, or too many",
        ),
        (
            body.clone(),
            "The head is malformed: it names no pack, or too many",
        ),
        (
            body.replace("serial 1", "serial 18446744073709551616"),
            "The head is malformed: its line `serial` can not be read",
        ),
        (
            body.replace("content 0", "content -1"),
            "The head is malformed: its line `content` can not be read",
        ),
        (
            body.replace(" 1 1\n", " 1 67108865\n") + &packs(1),
            "The head is malformed: its manifest is impossibly small or large",
        ),
        (
            body.replace("model a", "model ../../etc"),
            "The head is malformed: its model name is not 1 to 64 letters, digits, `.`, `_` or `-`",
        ),
    ];
    all_refused(&cases, |body| Head::parse(body).map(drop));
    let huge = vec![b'x'; (1 << 20) + 1];
    assert_eq!(
        reclone_format::head::split(&huge).unwrap_err().to_string(),
        "The head is malformed: it is larger than 1 MiB"
    );
}
