//! `testdata/initrd.zst` is what `zstd -9` of zstd 1.5.4 makes of a cpio archive of 17 MB, so of two of its jobs.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io;

use reclone_format::frame::{Sink, decode};
use reclone_format::{Codec, Frame, ObjectId, PackedObject, object_id_of};

use super::super::effort::Effort;
use super::blocks::{Blocks, ZstdFrame};
use super::{cpio, encode, level, unpack};

const INITRD: &[u8] = include_bytes!("../../../testdata/initrd.zst");

/// Counts whole objects, each of which was checked.
#[derive(Default)]
struct Whole(Vec<u64>);

impl Sink for Whole {
    fn start(&mut self, _: &PackedObject) -> io::Result<bool> {
        Ok(true)
    }
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn complete(&mut self, object: &PackedObject) -> io::Result<()> {
        self.0.push(object.size);
        Ok(())
    }
}

/// The files of an archive that end so, by their ids.
fn files(content: &[u8], count: usize) -> HashMap<ObjectId, &[u8]> {
    let file = |place: std::ops::Range<usize>| &content[place];
    let files = cpio::files(content).take(count).map(file);
    files.map(|file| (object_id_of(file), file)).collect()
}

/// Packs an object over these files, and unpacks it again.
fn encoded(packed: &[u8], files: &HashMap<ObjectId, &[u8]>) -> Option<Frame> {
    let known = files
        .iter()
        .map(|(id, file)| (*id, file.len() as u64))
        .collect();
    let object = PackedObject {
        id: object_id_of(packed),
        size: packed.len() as u64,
    };
    let (frame, bytes) = encode(object, packed, &known, Effort::Normal).unwrap()?;
    let base: Vec<u8> = frame
        .bases
        .iter()
        .flat_map(|base| files[&base.id])
        .copied()
        .collect();
    let mut whole = Whole::default();
    decode(&frame, &bytes[..], &base, &mut whole).unwrap();
    assert_eq!(whole.0, [packed.len() as u64]);
    assert_eq!(
        (frame.codec, frame.length),
        (Codec::Repacked, bytes.len() as u64)
    );
    Some(frame)
}

#[test]
fn an_initramfs_image_is_made_again_from_the_files_in_it() {
    let content = unpack(INITRD).unwrap().unwrap();
    let count = cpio::files(&content).count();
    let frame = encoded(INITRD, &files(&content, count - 1)).unwrap();
    assert_eq!(frame.bases.len(), count - 1);
    assert!(frame.length < INITRD.len() as u64 / 5, "{}", frame.length);
    assert!(frame.memory() < 64 << 20, "{}", frame.memory());
}

#[test]
fn an_archive_may_stand_before_the_compressed_one() {
    let content = unpack(INITRD).unwrap().unwrap();
    let early = &content[..cpio::end(&content)];
    let early = &early[..early.len().min(40_000)];
    let start = cpio::end(early);
    let packed = [&early[..start], INITRD].concat();
    let files = files(&content, 3);
    assert_eq!(encoded(&packed, &files).unwrap().bases.len(), 3);
}

#[test]
fn every_sequence_is_as_guessed_at_the_level_and_hardly_any_at_others() {
    let content = unpack(INITRD).unwrap().unwrap();
    let frame = ZstdFrame::at(INITRD, 0).unwrap();
    let job = level::of(INITRD, &frame, &content).unwrap();
    assert_eq!(job.style.rows.places_log, 21);
    assert_eq!(level::wrong(INITRD, &frame, &content, job).unwrap(), 0);
    let mut blocks = Blocks::of(INITRD, &frame);
    let (mut sequences, mut size) = (0, 0);
    while let Some(parsed) = blocks.next().unwrap() {
        sequences += parsed.sequences.len();
        size += parsed.block.size;
    }
    assert_eq!(size, content.len());
    assert!(sequences > 1_000, "{sequences}");
    assert_eq!(blocks.end(), INITRD.len() - 4, "the checksum follows");
}

#[test]
fn what_can_not_be_made_again_is_left_to_others() {
    let content = unpack(INITRD).unwrap().unwrap();
    let all = files(&content, usize::MAX);
    assert!(encoded(INITRD, &HashMap::new()).is_none(), "no bases");
    for level in [1, 4, 19] {
        let other = zstd::encode_all(&content[..], level).unwrap();
        assert!(encoded(&other, &all).is_none(), "{level}");
    }
    for length in [0, 3, 6, 100, INITRD.len() / 2, INITRD.len() - 5] {
        assert!(encoded(&INITRD[..length], &all).is_none(), "{length}");
    }
    for at in [4, 5, 6, 9, 40, 1_000, INITRD.len() - 10] {
        let mut damaged = INITRD.to_vec();
        damaged[at] ^= 0x55;
        assert!(encoded(&damaged, &all).is_none(), "{at}");
    }
    assert!(encoded(&content[..cpio::end(&content)], &all).is_none());
}
