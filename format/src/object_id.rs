//! The name of a content: its fs-verity SHA-256 digest with 4 KiB blocks and no salt.
//!
//! Source of the algorithm: Linux `Documentation/filesystems/fsverity.rst` (Merkle tree, descriptor, file digest).
//! One id therefore serves the network check, the disk check and, where wanted, the kernel's own check.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use ring::digest::{Context, SHA256, digest};

use crate::Error;

const BLOCK: usize = 4096;
const DIGEST: usize = 32;

/// The SHA-256 digest of `BLOCK` zero bytes: holes are most of a sparse file, and cost nothing this way.
const ZERO_BLOCK_DIGEST: [u8; DIGEST] = [
    0xad, 0x7f, 0xac, 0xb2, 0x58, 0x6f, 0xc6, 0xe9, 0x66, 0xc0, 0x04, 0xd7, 0xd1, 0xd1, 0x6b, 0x02,
    0x4f, 0x58, 0x05, 0xff, 0x7c, 0xb4, 0x7c, 0x7a, 0x85, 0xda, 0xbd, 0x8b, 0x48, 0x89, 0x2c, 0xa7,
];

/// The name of a file's whole content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId([u8; DIGEST]);

impl ObjectId {
    /// The id of the empty content.
    pub const EMPTY: ObjectId = ObjectId([
        0x3d, 0x24, 0x8c, 0xa5, 0x42, 0xa2, 0x4f, 0xc6, 0x2d, 0x1c, 0x43, 0xb9, 0x16, 0xea, 0xe5,
        0x01, 0x68, 0x78, 0xe2, 0x53, 0x3c, 0x88, 0x23, 0x84, 0x80, 0xb2, 0x61, 0x28, 0xa1, 0xf1,
        0xaf, 0x95,
    ]);

    /// An id read from a published structure.
    pub const fn from_bytes(bytes: [u8; DIGEST]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; DIGEST] {
        &self.0
    }

    /// Where a pool keeps the content, below `objects/`: `ab/cdef…`, 65 characters.
    pub fn pool_path(&self) -> String {
        let mut path = self.to_string();
        path.insert(2, '/');
        path
    }
}

/// That of the bytes. The first eight nearly always decide, and cost no call: lists of all objects are sorted and searched.
impl Ord for ObjectId {
    fn cmp(&self, other: &Self) -> Ordering {
        let first = |id: &Self| id.0.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        first(self)
            .cmp(&first(other))
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for ObjectId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = Error;

    /// 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.as_bytes();
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut id = [0; DIGEST];
        let good = digits.len() == 2 * DIGEST
            && digits.chunks_exact(2).zip(&mut id).all(|(pair, byte)| {
                match (digit(pair[0]), digit(pair[1])) {
                    (Some(high), Some(low)) => {
                        *byte = high << 4 | low;
                        true
                    }
                    _ => false,
                }
            });
        if good {
            Ok(Self(id))
        } else {
            Err(Error::malformed(
                "id",
                "it is not 64 lower-case hexadecimal digits",
            ))
        }
    }
}

/// Computes an [`ObjectId`] from a stream; memory grows with the logarithm of the size.
#[derive(Default)]
pub struct ObjectHasher {
    partial: Vec<u8>,
    levels: Vec<Vec<u8>>,
    size: u64,
}

impl ObjectHasher {
    /// A hasher that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the content.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if !self.partial.is_empty() {
            let take = bytes.len().min(BLOCK - self.partial.len());
            self.partial.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.partial.len() < BLOCK {
                return;
            }
            let block = std::mem::take(&mut self.partial);
            self.add_block(&block);
            self.partial = block;
            self.partial.clear();
        }
        let mut blocks = bytes.chunks_exact(BLOCK);
        for block in &mut blocks {
            self.add_block(block);
        }
        self.partial.extend_from_slice(blocks.remainder());
    }

    /// The id of everything added.
    pub fn finish(mut self) -> ObjectId {
        if !self.partial.is_empty() {
            let mut block = std::mem::take(&mut self.partial);
            block.resize(BLOCK, 0);
            self.add_block(&block);
        }
        let root = self.root();
        // struct fsverity_descriptor: version 1, SHA-256, 2^12-byte blocks, no salt.
        let mut descriptor = [0; 256];
        descriptor[0] = 1;
        descriptor[1] = 1;
        descriptor[2] = 12;
        descriptor[8..16].copy_from_slice(&self.size.to_le_bytes());
        descriptor[16..48].copy_from_slice(&root);
        ObjectId(sha256(&descriptor))
    }

    fn add_block(&mut self, block: &[u8]) {
        let digest = if is_zero(block) {
            ZERO_BLOCK_DIGEST
        } else {
            sha256(block)
        };
        self.add_digest(0, digest);
    }

    /// Appends a digest to a level's open block; a full block is hashed into the level above.
    fn add_digest(&mut self, level: usize, digest: [u8; DIGEST]) {
        if self.levels.len() == level {
            self.levels.push(Vec::with_capacity(BLOCK));
        }
        if self.levels[level].len() == BLOCK {
            let full = sha256(&self.levels[level]);
            self.levels[level].clear();
            self.add_digest(level + 1, full);
        }
        self.levels[level].extend_from_slice(&digest);
    }

    /// Closes the open blocks from the bottom up. A level of one digest is the root; the empty file's root is zero.
    fn root(&mut self) -> [u8; DIGEST] {
        let mut level = 0;
        while level < self.levels.len() {
            if level + 1 == self.levels.len() && self.levels[level].len() == DIGEST {
                let mut root = [0; DIGEST];
                root.copy_from_slice(&self.levels[level]);
                return root;
            }
            let mut block = std::mem::take(&mut self.levels[level]);
            block.resize(BLOCK, 0);
            self.add_digest(level + 1, sha256(&block));
            level += 1;
        }
        [0; DIGEST]
    }
}

/// The id of a content that is in memory.
pub fn object_id_of(content: &[u8]) -> ObjectId {
    let mut hasher = ObjectHasher::new();
    hasher.update(content);
    hasher.finish()
}

/// The plain SHA-256 digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; DIGEST] {
    let mut out = [0; DIGEST];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// The plain SHA-256 digest of several pieces, in order.
pub fn sha256_of_parts(parts: &[&[u8]]) -> [u8; DIGEST] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; DIGEST];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Whether all bytes are zero; compared in words, for it runs over every block.
pub fn is_zero(block: &[u8]) -> bool {
    let mut words = block.chunks_exact(16);
    words.all(|word| word == [0; 16])
        && block
            .chunks_exact(16)
            .remainder()
            .iter()
            .all(|byte| *byte == 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_the_digests_they_name() {
        assert_eq!(sha256(&[0; BLOCK]), ZERO_BLOCK_DIGEST);
        assert_eq!(object_id_of(b""), ObjectId::EMPTY);
    }

    /// Digests computed with `fsverity digest` of fsverity-utils 1.5.
    #[test]
    fn ids_are_those_of_the_fsverity_program() {
        assert_eq!(
            ObjectId::EMPTY.to_string(),
            "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"
        );
        for (size, expected) in [
            (
                1,
                "b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551",
            ),
            (
                4096,
                "13e9b8848ae484a36acb3f3cac0ceb2f7601e96633d15c92f9bd3dd44e492157",
            ),
            (
                4097,
                "b0d074abef4d544404facfab6ba242f6a8ccbde90f1325cd286f3c8aa8d0f8aa",
            ),
            (
                524288,
                "d82861203d50ae9b60948504a704f35f5118bd229aeb1a22d6dae47b1767c4c4",
            ),
            (
                524289,
                "4dc6905041c9c4ee73e13b53f63f5d289c46da359b664a965ead7f8cc4d799d4",
            ),
            (
                3000000,
                "806637cc95983f0e50918d26413ef0a35b7cd8ed7c16e2c5ff140ea87bdc8f58",
            ),
        ] {
            let content: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
            assert_eq!(object_id_of(&content).to_string(), expected, "{size} bytes");
        }
    }

    #[test]
    fn the_id_does_not_depend_on_how_the_content_was_cut() {
        let content: Vec<u8> = (0..600_000u32).map(|i| (i % 241) as u8).collect();
        for step in [1, 4095, 4096, 4097, 65_537] {
            let mut hasher = ObjectHasher::new();
            content.chunks(step).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish(), object_id_of(&content), "pieces of {step}");
        }
    }

    #[test]
    fn hex_is_read_strictly() {
        let id = object_id_of(b"x");
        assert_eq!(id.to_string().parse::<ObjectId>().unwrap(), id);
        for bad in [
            "",
            "3d",
            &id.to_string().to_uppercase(),
            &format!("{id}0"),
            &format!("+{}", &id.to_string()[1..]),
        ] {
            assert!(bad.parse::<ObjectId>().is_err(), "{bad}");
        }
    }
}
