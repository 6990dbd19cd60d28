//! Frames of every codec, whole and damaged.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::object_id_of;

/// Collects what was completed; wants all but what is listed.
#[derive(Default)]
struct Collected {
    open: Vec<u8>,
    done: Vec<Vec<u8>>,
    unwanted: Vec<crate::ObjectId>,
}

impl Sink for Collected {
    fn start(&mut self, object: &PackedObject) -> io::Result<bool> {
        self.open.clear();
        Ok(!self.unwanted.contains(&object.id))
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

fn object(content: &[u8]) -> PackedObject {
    PackedObject {
        id: object_id_of(content),
        size: content.len() as u64,
    }
}

fn frame(codec: Codec, payload: &[u8], bases: &[&[u8]], objects: &[&[u8]]) -> Frame {
    Frame {
        offset: 0,
        length: payload.len() as u64,
        codec,
        window_log: if codec == Codec::Stored { 0 } else { 20 },
        bases: bases.iter().map(|content| object(content)).collect(),
        objects: objects.iter().map(|content| object(content)).collect(),
    }
}

fn compress(content: &[u8], prefix: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), 3, prefix).unwrap();
    encoder.window_log(20).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn noise(length: usize, mut seed: u32) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn stored_and_compressed_frames_yield_their_objects() {
    let (a, b) = (noise(300_000, 1), noise(5, 2));
    let content = [&a[..], &b[..]].concat();
    let packed = compress(&content, &[]);
    for (codec, payload) in [(Codec::Stored, &content), (Codec::Zstd, &packed)] {
        let mut sink = Collected::default();
        decode(
            &frame(codec, payload, &[], &[&a, &b]),
            &payload[..],
            &[],
            &mut sink,
        )
        .unwrap();
        assert_eq!(sink.done, [a.clone(), b.clone()], "{codec:?}");
    }
}

#[test]
fn a_frame_with_bases_needs_them_exactly() {
    let (old, new) = (
        noise(200_000, 3),
        [noise(200_000, 3), noise(10, 4)].concat(),
    );
    let payload = compress(&new, &old);
    assert!(payload.len() < 1000, "{} bytes", payload.len());
    let frame = frame(Codec::Zstd, &payload, &[&old], &[&new]);
    let mut sink = Collected::default();
    decode(&frame, &payload[..], &old, &mut sink).unwrap();
    assert_eq!(sink.done, [new]);
    let mut sink = Collected::default();
    assert!(decode(&frame, &payload[..], &noise(200_000, 5), &mut sink).is_err());
    assert!(sink.done.is_empty());
}

#[test]
fn what_is_not_wanted_is_passed_over() {
    let (a, b) = (noise(70_000, 6), noise(70_000, 7));
    let payload = compress(&[&a[..], &b[..]].concat(), &[]);
    let mut sink = Collected {
        unwanted: vec![object_id_of(&a)],
        ..Collected::default()
    };
    decode(
        &frame(Codec::Zstd, &payload, &[], &[&a, &b]),
        &payload[..],
        &[],
        &mut sink,
    )
    .unwrap();
    assert_eq!(sink.done, [b]);
}

#[test]
fn damaged_short_and_long_frames_are_refused() {
    let content = noise(10_000, 8);
    let payload = compress(&content, &[]);
    let frame = frame(Codec::Zstd, &payload, &[], &[&content]);
    let decode = |frame: &Frame, bytes: &[u8]| {
        let mut sink = Collected::default();
        let result = decode(frame, bytes, &[], &mut sink);
        assert!(
            sink.done.iter().all(|done| content.starts_with(done)),
            "only what is verified is completed"
        );
        result
    };
    for length in [0, 1, payload.len() / 2, payload.len() - 1] {
        assert!(
            decode(&frame, &payload[..length]).is_err(),
            "{length} bytes"
        );
    }
    let mut flipped = payload.clone();
    flipped[5000] ^= 1;
    assert!(matches!(
        decode(&frame, &flipped),
        Err(Error::Damaged { .. } | Error::Io(_))
    ));
    let longer = Frame {
        length: frame.length + 3,
        ..frame.clone()
    };
    assert!(decode(&longer, &[&payload[..], b"xyz"].concat()).is_err());
    let fewer = Frame {
        objects: vec![object(&content[..9_000])],
        ..frame.clone()
    };
    assert!(decode(&fewer, &payload).is_err());
    let more = Frame {
        objects: vec![object(&content), object(b"x")],
        ..frame
    };
    assert!(decode(&more, &payload).is_err());
}

#[test]
fn a_bomb_ends_at_the_declared_size() {
    let payload = compress(&vec![0; 50_000_000], &[]);
    assert!(payload.len() < 10_000);
    let frame = frame(Codec::Zstd, &payload, &[], &[b"small"]);
    let mut sink = Collected::default();
    assert!(matches!(
        decode(&frame, &payload[..], &[], &mut sink),
        Err(Error::Malformed { .. } | Error::Damaged { .. })
    ));
}

#[test]
fn a_window_larger_than_the_index_says_is_refused() {
    let content = noise(3_000_000, 9);
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(21).unwrap();
    encoder.write_all(&content).unwrap();
    let payload = encoder.finish().unwrap();
    let frame = frame(Codec::Zstd, &payload, &[], &[&content]);
    assert!(decode(&frame, &payload[..], &[], &mut Collected::default()).is_err());
}

#[test]
fn patches_turn_one_base_into_one_object() {
    let old = noise(50_000, 10);
    let mut new = old.clone();
    new.iter_mut()
        .step_by(1000)
        .for_each(|byte| *byte = byte.wrapping_add(3));
    new.extend_from_slice(b"and more");
    new.extend_from_slice(&old[100..200]);
    let diff: Vec<u8> = new
        .iter()
        .zip(&old)
        .map(|(new, old)| new.wrapping_sub(*old))
        .chain([0; 100])
        .collect();
    let steps = [(50_000, 8, -49_900), (100, 0, 0)];
    let payload = patch::encode(&steps, &diff, b"and more", 20).unwrap();
    let frame = frame(Codec::Patch, &payload, &[&old], &[&new]);
    let mut sink = Collected::default();
    decode(&frame, &payload[..], &old, &mut sink).unwrap();
    assert_eq!(sink.done, [new.clone()]);

    let bad: [&[(u64, u64, i64)]; 4] = [
        &[(50_001, 8, 0)],
        &[(50_000, 9, 0)],
        &[(50_000, 8, 1), (100, 0, 0)],
        &[(50_000, 8, i64::MIN), (100, 0, 0)],
    ];
    for steps in bad {
        let payload = patch::encode(steps, &diff, b"and more", 20).unwrap();
        let frame = Frame {
            length: payload.len() as u64,
            ..frame.clone()
        };
        let mut sink = Collected::default();
        assert!(
            decode(&frame, &payload[..], &old, &mut sink).is_err(),
            "{steps:?}"
        );
        assert!(sink.done.is_empty(), "{steps:?}");
    }
}

/// A base that is never in memory as a whole.
struct Elsewhere(Vec<u8>);

impl Base for Elsewhere {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(buffer.len() <= 64 * 1024, "{} bytes", buffer.len());
        self.0[..].read_at(at, buffer)
    }
}

#[test]
fn the_base_of_a_patch_is_read_piece_by_piece() {
    let (old, tail) = (noise(300_000, 9), noise(10, 10));
    let new = [&tail[..], &old[100_000..], &tail[..]].concat();
    let steps = [(0, 10, 100_000), (200_000, 10, 0)];
    let payload = patch::encode(&steps, &[0; 200_000], &tail.repeat(2), 20).unwrap();
    let frame = frame(Codec::Patch, &payload, &[&old], &[&new]);
    let mut sink = Collected::default();
    decode_patch(&frame, &payload[..], &Elsewhere(old), &mut sink).unwrap();
    assert_eq!(sink.done, [new]);
}

#[test]
fn only_a_patch_is_read_as_one() {
    let payload = compress(b"x", &[]);
    let frame = frame(Codec::Zstd, &payload, &[], &[b"x"]);
    let base = Elsewhere(Vec::new());
    let error = decode_patch(&frame, &payload[..], &base, &mut Collected::default()).unwrap_err();
    assert_eq!(error.to_string(), "The frame is malformed: it is no patch");
}
