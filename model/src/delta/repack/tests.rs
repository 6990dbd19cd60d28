//! Archives as `mkinitramfs` makes them, compressed by zstd at its levels.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io;

use reclone_format::frame::{Sink, decode};
use reclone_format::{Codec, Frame, ObjectId, PackedObject, object_id_of};
use zstd::stream::raw::CParameter;

use super::super::effort::Effort;
use super::blocks::{Blocks, ZstdFrame};
use super::{cpio, encode, unpack};

/// What `zstd -9` of zstd 1.5.4, as Debian 12 has it, makes of a cpio archive of 17 MB on several threads.
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
    assert!(frame.length < 48_500, "{}", frame.length);
    let fixed = (4 << 20) + (1 << 20);
    assert_eq!(frame.memory(), fixed + frame.length);
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
fn what_any_level_packed_is_made_again() {
    let content = unpack(INITRD).unwrap().unwrap();
    let all = files(&content, usize::MAX);
    for level in [-5, 1, 3, 4, 6, 9, 13, 19] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level).unwrap();
        let has_size = level % 2 == 0;
        let set = |it: &mut zstd::stream::write::Encoder<_>, parameter| {
            it.set_parameter(parameter).unwrap();
        };
        set(&mut encoder, CParameter::ChecksumFlag(!has_size));
        if has_size {
            encoder
                .set_pledged_src_size(Some(content.len() as u64))
                .unwrap();
        }
        io::copy(&mut &content[..], &mut encoder).unwrap();
        let packed = encoder.finish().unwrap();
        assert!(encoded(&packed, &all).is_some(), "{level}");
    }
}

#[test]
fn blocks_yield_the_content_and_end_before_the_checksum() {
    let content = unpack(INITRD).unwrap().unwrap();
    let frame = ZstdFrame::at(INITRD, 0).unwrap();
    let mut blocks = Blocks::of(INITRD, &frame);
    let (mut size, mut last) = (0, false);
    while let Some(block) = blocks.next().unwrap() {
        assert!(!last);
        size += block.size;
        last = block.is_last;
    }
    assert_eq!((size, last), (content.len(), true));
    assert_eq!(blocks.end(), INITRD.len() - 4);
}

#[test]
fn what_can_not_be_made_again_is_left_to_others() {
    let content = unpack(INITRD).unwrap().unwrap();
    let all = files(&content, usize::MAX);
    assert!(encoded(INITRD, &HashMap::new()).is_none(), "no bases");
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
