//! Object ids: as text, and of a content that comes in pieces. Never panics; a text that parses is written back as it
//! was; the id of a stream is the one that `docs/format.md` describes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reclone_format::object_id::sha256;
use reclone_format::{ObjectHasher, ObjectId};

const BLOCK: usize = 4096;

/// The digests of a level's blocks.
fn digests(level: &[u8]) -> Vec<u8> {
    let digest = |block: &[u8]| {
        let mut block = block.to_vec();
        block.resize(BLOCK, 0);
        sha256(&block)
    };
    level.chunks(BLOCK).flat_map(digest).collect()
}

/// Section "Object id", word by word.
fn plain_id(content: &[u8]) -> ObjectId {
    let mut level = digests(content);
    while level.len() > 32 {
        level = digests(&level);
    }
    level.resize(32, 0);
    let mut bytes = vec![1, 1, 12, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&level);
    bytes.resize(256, 0);
    ObjectId::from_bytes(sha256(&bytes))
}

fuzz_target!(|data: &[u8]| {
    for word in String::from_utf8_lossy(data).split(' ') {
        if let Ok(id) = word.parse::<ObjectId>() {
            assert_eq!(id.to_string(), word);
        }
    }
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    // Long enough for two levels: 128 blocks and more.
    let content = rest.repeat(usize::from(first) * 8);
    let content = &content[..content.len().min(140 * BLOCK)];
    let mut hasher = ObjectHasher::new();
    content
        .chunks(usize::from(first) * 31 + 1)
        .for_each(|piece| hasher.update(piece));
    assert_eq!(hasher.finish(), plain_id(content));
});
