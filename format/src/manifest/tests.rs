//! The manifest's rules, one by one.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{ObjectId, TreePath, Xattr, object_id_of};

fn path(text: &str) -> TreePath {
    TreePath::from_bytes(text.into()).unwrap()
}

fn entry(text: &str, kind: Kind) -> Entry {
    Entry::new(path(text), kind)
}

fn file(content: &[u8]) -> Kind {
    Kind::Regular {
        size: content.len() as u64,
        id: object_id_of(content),
    }
}

fn write(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut writer = ManifestWriter::create(Vec::new(), header_of(entries.iter()))?;
    for entry in entries {
        writer.push(entry)?;
    }
    writer.finish()
}

fn read(bytes: &[u8]) -> Result<Vec<Item>> {
    ManifestReader::open(bytes)?.collect()
}

fn sample() -> Vec<Entry> {
    let mut root = entry("", Kind::Directory);
    root.perm = 0o755;
    let mut tool = entry("bin/tool", file(b"tool"));
    tool.perm = 0o4755;
    tool.mtime = crate::Timestamp {
        sec: -1,
        nsec: 999_999_999,
    };
    tool.xattrs = vec![Xattr {
        name: b"security.capability".to_vec(),
        value: vec![1, 0, 0],
    }];
    vec![
        root,
        entry("bin", Kind::Directory),
        entry("empty", file(b"")),
        entry("lib", Kind::Directory),
        entry("none", Kind::Directory),
        entry("bin/sub", Kind::Directory),
        tool,
        entry("bin/sub/null", Kind::CharDevice { major: 0, minor: 0 }),
        entry(
            "lib/link",
            Kind::Symlink {
                target: b"../bin/tool".to_vec(),
            },
        ),
        entry("lib/tool", Kind::HardLink { to: 6 }),
    ]
}

#[test]
fn a_manifest_comes_back_as_it_was_written() {
    let bytes = write(&sample()).unwrap();
    let items = read(&bytes).unwrap();
    assert_eq!(
        items
            .iter()
            .map(|item| item.entry.clone())
            .collect::<Vec<_>>(),
        sample()
    );
    assert_eq!(
        items.iter().map(|item| item.parent).collect::<Vec<_>>(),
        [0, 0, 0, 0, 0, 1, 1, 5, 3, 3]
    );
    assert_eq!(
        ManifestReader::open(&bytes[..]).unwrap().header(),
        ManifestHeader {
            entries: 10,
            content: 4
        }
    );
}

#[test]
fn a_manifest_cut_anywhere_is_refused() {
    let bytes = write(&sample()).unwrap();
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(read(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn entries_that_break_a_rule_are_neither_written_nor_read() {
    let root = entry("", Kind::Directory);
    let dir = |text| entry(text, Kind::Directory);
    let mut perm = dir("a");
    perm.perm = 0o10000;
    let mut owner = dir("a");
    owner.uid = u32::MAX;
    let mut late = dir("a");
    late.mtime.nsec = 1_000_000_000;
    let mut twice = dir("a");
    twice.xattrs = vec![
        Xattr {
            name: b"user.a".to_vec(),
            value: vec![]
        };
        2
    ];
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("no top", vec![dir("a")]),
        ("order", vec![root.clone(), dir("b"), dir("a")]),
        ("twice", vec![root.clone(), dir("a"), dir("a")]),
        ("top twice", vec![root.clone(), root.clone()]),
        ("no parent", vec![root.clone(), dir("a/b")]),
        (
            "parent is a file",
            vec![root.clone(), entry("a", file(b"x")), dir("a/b")],
        ),
        (
            "directory entered twice",
            vec![root.clone(), dir("a"), dir("b"), dir("b/x"), dir("a/x")],
        ),
        (
            "link to itself",
            vec![root.clone(), entry("a", Kind::HardLink { to: 1 })],
        ),
        (
            "link to a directory",
            vec![root.clone(), entry("a", Kind::HardLink { to: 0 })],
        ),
        (
            "link ahead",
            vec![
                root.clone(),
                entry("a", Kind::HardLink { to: 2 }),
                entry("b", file(b"x")),
            ],
        ),
        ("permissions", vec![root.clone(), perm]),
        ("owner", vec![root.clone(), owner]),
        ("nanoseconds", vec![root.clone(), late]),
        ("xattr twice", vec![root.clone(), twice]),
        (
            "empty with id",
            vec![
                root.clone(),
                entry(
                    "a",
                    Kind::Regular {
                        size: 0,
                        id: object_id_of(b"x"),
                    },
                ),
            ],
        ),
        (
            "full without id",
            vec![
                root.clone(),
                entry(
                    "a",
                    Kind::Regular {
                        size: 1,
                        id: ObjectId::EMPTY,
                    },
                ),
            ],
        ),
        (
            "no target",
            vec![root.clone(), entry("a", Kind::Symlink { target: vec![] })],
        ),
        (
            "device",
            vec![
                root.clone(),
                entry(
                    "a",
                    Kind::CharDevice {
                        major: 4096,
                        minor: 0,
                    },
                ),
            ],
        ),
    ];
    for (name, entries) in cases {
        assert!(write(&entries).is_err(), "{name} was written");
        assert!(read(&unchecked(&entries)).is_err(), "{name} was read");
    }
}

/// The bytes of these entries, whatever the rules say: what a hostile publisher could send.
fn unchecked(entries: &[Entry]) -> Vec<u8> {
    let header = header_of(entries.iter());
    let mut writer = ManifestWriter::create(Vec::new(), header).unwrap();
    let mut previous = TreePath::ROOT;
    for entry in entries {
        codec::write(&mut writer.fields, entry, &previous).unwrap();
        previous = entry.path.clone();
    }
    writer.fields.into_inner()
}

#[test]
fn counts_and_lengths_are_bounded_before_they_are_believed() {
    let good = write(&sample()).unwrap();
    let mut many = good.clone();
    many[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(ManifestReader::open(&many[..]).is_err());
    let mut newer = good.clone();
    newer[8] = 2;
    assert!(matches!(
        ManifestReader::open(&newer[..]),
        Err(Error::Version {
            found: 2,
            known: 1,
            ..
        })
    ));
    let mut sum = good;
    sum[16] ^= 1;
    assert!(read(&sum).is_err());
}
