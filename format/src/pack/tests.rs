//! What an index may say, and what it may not.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::object_id_of;

fn object(content: &[u8]) -> PackedObject {
    PackedObject {
        id: object_id_of(content),
        size: content.len() as u64,
    }
}

fn sample() -> PackIndex {
    let frame = |offset, length, codec, window_log, bases: &[&[u8]], objects: &[&[u8]]| Frame {
        offset,
        length,
        codec,
        window_log,
        bases: bases.iter().map(|content| object(content)).collect(),
        objects: objects.iter().map(|content| object(content)).collect(),
    };
    let start = 64 + 3 * 16 + 6 * 40;
    [
        frame(start, 9, Codec::Zstd, 20, &[], &[b"one", b"two"]),
        frame(start + 9, 5, Codec::Stored, 0, &[], &[b"three"]),
        frame(start + 14, 7, Codec::Patch, 20, &[b"old"], &[b"new"]),
    ]
    .into_iter()
    .collect()
}

fn fix(mut index: PackIndex) -> PackIndex {
    let end = index
        .frames
        .iter()
        .map(|f| 16 + 40 * (f.bases.len() + f.objects.len()) as u64)
        .sum::<u64>()
        + 64;
    let mut offset = end;
    for frame in &mut index.frames {
        frame.offset = offset;
        offset += frame.length;
    }
    index
}

#[test]
fn an_index_comes_back_as_it_was_written() {
    let index = fix(sample());
    let (bytes, id) = index.encode().unwrap();
    assert_eq!(
        bytes.len() as u64,
        PackHeader::parse(&bytes).unwrap().index_end()
    );
    assert_eq!(PackIndex::parse(&bytes, &id).unwrap(), index);
    assert_eq!(index.pack_size(), bytes.len() as u64 + 21);
}

#[test]
fn an_index_that_was_touched_is_refused() {
    let (bytes, id) = sample().encode().unwrap();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(PackIndex::parse(&bad, &id).is_err(), "byte {at}");
        assert!(PackIndex::parse(&bytes[..at], &id).is_err(), "cut at {at}");
    }
}

#[test]
fn impossible_frames_are_refused_even_under_their_right_name() {
    type Change = fn(&mut Frame);
    let cases: [(&str, Change); 9] = [
        ("no object", |frame| frame.objects.clear()),
        ("empty object", |frame| frame.objects[0].size = 0),
        ("huge objects", |frame| {
            frame
                .objects
                .iter_mut()
                .for_each(|object| object.size = u64::MAX)
        }),
        ("window", |frame| frame.window_log = 28),
        ("nothing in the pack", |frame| frame.length = 0),
        ("its own base", |frame| frame.bases = vec![frame.objects[0]]),
        ("huge base", |frame| {
            frame.bases = vec![PackedObject {
                size: MAX_BASES + 1,
                ..object(b"old")
            }]
        }),
        ("stored with base", |frame| {
            (frame.codec, frame.window_log, frame.bases) = (Codec::Stored, 0, vec![object(b"old")])
        }),
        ("patch without base", |frame| frame.codec = Codec::Patch),
    ];
    for (name, change) in cases {
        let mut index = sample();
        change(&mut index.frames[0]);
        assert!(index.encode().is_err(), "{name}");
    }
}

#[test]
fn a_base_comes_from_an_earlier_frame_or_from_outside() {
    let mut index = sample();
    index.frames[2].bases = vec![object(b"one")];
    assert!(index.encode().is_ok());
    index.frames[0].bases = vec![object(b"new")];
    assert_eq!(
        index.encode().unwrap_err().to_string(),
        format!(
            "The pack is malformed: a frame needs object {} before the pack yields it",
            object_id_of(b"new")
        )
    );
}

#[test]
fn a_pack_without_frames_is_refused() {
    assert!(PackIndex::default().encode().is_err());
}
