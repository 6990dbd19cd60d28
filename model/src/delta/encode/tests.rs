#![allow(clippy::unwrap_used)]
//! Which codec a frame gets, and that a clone can always afford it.

use reclone_format::{PackedObject, object_id_of};

use super::*;

fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 20) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn group(contents: &[&[u8]], bases: &[&[u8]], is_code: bool) -> Group {
    let object = |content: &&[u8]| PackedObject {
        id: object_id_of(content),
        size: content.len() as u64,
    };
    Group {
        objects: contents.iter().map(object).collect(),
        bases: bases.iter().map(object).collect(),
        is_code,
        is_packed: false,
    }
}

fn encoded(content: &[u8], base: &[u8], is_code: bool) -> Encoded {
    let group = group(&[content], &[base], is_code);
    let (frame, bytes) = encode(&group, content, base, Effort::Normal).unwrap();
    assert_eq!(frame.length, bytes.len() as u64);
    assert!(frame.memory() <= MEMORY, "{frame:?}");
    (frame, bytes)
}

#[test]
fn code_that_moved_is_patched() {
    let base = noise(1, 300_000);
    let mut content = base.clone();
    for address in (0..content.len()).step_by(40) {
        content[address] = content[address].wrapping_add(4);
    }
    let (frame, bytes) = encoded(&content, &base, true);
    assert_eq!((frame.codec, frame.bases.len()), (Codec::Patch, 1));
    assert!(bytes.len() < 3000, "{} bytes", bytes.len());
}

#[test]
fn text_is_compressed_after_its_old_version() {
    let line = |number: usize| format!("setting {} = {}\n", number, number * 7919 % 1000);
    let base: String = (0..3000).map(line).collect();
    let content = base.replace("setting 15", "option 15");
    let (frame, bytes) = encoded(content.as_bytes(), base.as_bytes(), false);
    assert_eq!((frame.codec, frame.bases.len()), (Codec::Zstd, 1));
    assert!(bytes.len() < 1000, "{} bytes", bytes.len());
}

#[test]
fn what_a_base_does_not_help_has_none() {
    let (base, content) = (noise(2, 100_000), noise(3, 100_000));
    let (frame, bytes) = encoded(&content, &base, true);
    assert_eq!((frame.codec, frame.bases.len()), (Codec::Stored, 0));
    assert_eq!(bytes, content);
    let text = b"the same line again\n".repeat(1000);
    let (frame, _) = encoded(&text, &base, false);
    assert_eq!((frame.codec, frame.bases.len()), (Codec::Zstd, 0));
}

#[test]
fn a_base_too_large_for_a_prefix_is_patched_or_not_used() {
    let base = noise(4, 40 << 20);
    let mut content = base.clone();
    content[1000] ^= 1;
    let (frame, bytes) = encoded(&content, &base, false);
    assert_eq!((frame.codec, frame.bases.len()), (Codec::Patch, 1));
    assert!(bytes.len() < 10_000, "{} bytes", bytes.len());
    let other = vec![0; 40 << 20];
    let (frame, _) = encoded(&other, &base, false);
    assert_eq!(
        (frame.codec, frame.window_log),
        (Codec::Zstd, MAX_WINDOW_LOG)
    );
    assert!(frame.bases.is_empty());
}
