//! The structures of EROFS, as bytes: what `fs/erofs/erofs_fs.h` of Linux describes, as far as an image of metadata
//! needs it. Blocks of 4096 bytes, extended inodes; little-endian throughout. Nothing here knows the tree.

use reclone_format::Timestamp;

/// The size of a block in bytes.
pub(super) const BLOCK: u64 = 4096;
/// The size of an extended inode in bytes.
pub(super) const INODE: usize = 64;
/// Inodes start at multiples of this many bytes; an inode's number (`nid`) counts them from the image's start.
pub(super) const SLOT: u64 = 32;
/// The size of a directory entry without its name.
pub(super) const DIRENT: usize = 12;
/// The size of what precedes the xattrs of an inode that has any.
pub(super) const XATTR_HEADER: usize = 12;

const SUPERBLOCK_AT: usize = 1024;
const SUPERBLOCK_MAGIC: u32 = 0xe0f5_e1e2;
/// Compatible features: a checksum of the superblock, inodes with a modification time, filters of xattr names.
const COMPATIBLE: u32 = 1 | 2 | 4;
/// Incompatible features: files in chunks (Linux 5.15).
const INCOMPATIBLE: u32 = 4;
/// What a composefs image starts with: magic number, version of the header, flag "has ACLs", version 1 of the layout
/// (the objects' folders hidden by whiteouts in the top directory).
const COMPOSEFS_HEADER: [u32; 4] = [0xd078_629a, 1, 1, 1];
/// The hash of xattr names is seeded with this plus the number of the namespace.
const FILTER_SEED: u32 = 0x25bb_e08f;
/// The largest chunk is a block times two to this power.
const MAX_CHUNK_BITS: u32 = 31;

/// Where an inode's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataLayout {
    /// In blocks.
    Plain = 0,
    /// In blocks, but what is left over follows the inode.
    Inline = 2,
    /// In chunks, whose addresses follow the inode.
    Chunks = 4,
}

/// The type of a file, as directory entries have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileType {
    Regular = 1,
    Directory = 2,
    CharDevice = 3,
    BlockDevice = 4,
    Fifo = 5,
    Socket = 6,
    Symlink = 7,
}

impl FileType {
    /// The type with this number; any other number is a symbolic link's.
    pub(super) fn of_number(number: u8) -> Self {
        use FileType::*;
        match number {
            1 => Regular,
            2 => Directory,
            3 => CharDevice,
            4 => BlockDevice,
            5 => Fifo,
            6 => Socket,
            _ => Symlink,
        }
    }

    /// The type's bits in a mode.
    pub(super) fn mode(self) -> u16 {
        match self {
            FileType::Regular => 0o100_000,
            FileType::Directory => 0o040_000,
            FileType::CharDevice => 0o020_000,
            FileType::BlockDevice => 0o060_000,
            FileType::Fifo => 0o010_000,
            FileType::Socket => 0o140_000,
            FileType::Symlink => 0o120_000,
        }
    }
}

/// An inode, without what follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inode {
    pub(super) layout: DataLayout,
    /// Xattrs in units of four bytes, one for the header, or 0.
    pub(super) xattr_count: u16,
    /// Type and permissions.
    pub(super) mode: u16,
    /// Bytes of content.
    pub(super) size: u64,
    /// The first block, the chunks' format or the device.
    pub(super) data: u32,
    /// The inode's number where 32 bits have to do.
    pub(super) number: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) links: u32,
}

impl Inode {
    pub(super) fn encode(&self) -> [u8; INODE] {
        const EXTENDED: u16 = 1;
        let mut bytes = [0; INODE];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &(EXTENDED | (self.layout as u16) << 1).to_le_bytes());
        put(2, &self.xattr_count.to_le_bytes());
        put(4, &self.mode.to_le_bytes());
        put(8, &self.size.to_le_bytes());
        put(16, &self.data.to_le_bytes());
        put(20, &self.number.to_le_bytes());
        put(24, &self.uid.to_le_bytes());
        put(28, &self.gid.to_le_bytes());
        put(32, &self.mtime.sec.to_le_bytes());
        put(40, &self.mtime.nsec.to_le_bytes());
        put(44, &self.links.to_le_bytes());
        bytes
    }
}

/// What the superblock says about the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Superblock {
    /// The number of the top directory.
    pub(super) root: u16,
    /// How many inodes there are.
    pub(super) inodes: u64,
    /// The size of the image in blocks.
    pub(super) blocks: u32,
    /// The block in which the shared xattrs start.
    pub(super) xattr_block: u32,
}

impl Superblock {
    /// The whole first block.
    pub(super) fn encode(&self) -> [u8; BLOCK as usize] {
        let mut block = [0; BLOCK as usize];
        for (field, value) in block.chunks_exact_mut(4).zip(COMPOSEFS_HEADER) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        let bytes = &mut block[SUPERBLOCK_AT..];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &SUPERBLOCK_MAGIC.to_le_bytes());
        put(8, &COMPATIBLE.to_le_bytes());
        put(12, &[BLOCK.ilog2() as u8]);
        put(14, &self.root.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        put(44, &self.xattr_block.to_le_bytes());
        put(80, &INCOMPATIBLE.to_le_bytes());
        // The checksum covers the rest of the block, its own field as zeros.
        let checksum = crc32c(bytes);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        block
    }
}

/// CRC-32C as the kernel's `crc32c(~0, …)`: not inverted at the end.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 * (sum & 1))
        })
    })
}

/// A device's number as inodes hold it.
pub(super) fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | major << 8 | (minor & !0xff) << 12
}

/// How a file of `size` bytes is cut into chunks: the format's number and how many there are. One, up to 8 TiB.
pub(super) fn chunks(size: u64) -> (u32, u64) {
    let blocks = size.div_ceil(BLOCK).max(1);
    let bits = blocks.next_power_of_two().ilog2().min(MAX_CHUNK_BITS);
    (bits, blocks.div_ceil(1 << bits))
}

/// The bit that the name `rest` in the namespace numbered `index` has in the filters of xattr names.
pub(super) fn filter_bit(index: u8, rest: &[u8]) -> u32 {
    let hash = xxhash_rust::xxh32::xxh32(rest, FILTER_SEED + u32::from(index));
    1 << (hash % 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c_without_the_last_inversion() {
        assert_eq!(!crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(!crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn devices_are_encoded_as_the_kernel_does() {
        assert_eq!(device(8, 1), 0x801);
        assert_eq!(device(0xabc, 0xdefab), 0xdef_abcab);
        assert_eq!(device(0xfff, 0xfffff), 0xffff_ffff);
    }

    #[test]
    fn a_file_has_one_chunk_up_to_eight_tebibytes() {
        let cases = [
            (1, (0, 1)),
            (4096, (0, 1)),
            (4097, (1, 1)),
            (5 << 30, (21, 1)),
            (1 << 43, (31, 1)),
            ((1 << 43) + 1, (31, 2)),
            (1 << 60, (31, 1 << 17)),
        ];
        for (size, expected) in cases {
            assert_eq!(chunks(size), expected, "{size}");
        }
    }

    #[test]
    fn an_inode_keeps_times_before_1970_and_after_2038() {
        let inode = |sec| Inode {
            layout: DataLayout::Chunks,
            xattr_count: 3,
            mode: FileType::Regular.mode() | 0o7777,
            size: 5 << 30,
            data: 21,
            number: 7,
            uid: u32::MAX - 1,
            gid: 1,
            mtime: Timestamp {
                sec,
                nsec: 999_999_999,
            },
            links: 70_000,
        };
        let bytes = inode(-1).encode();
        assert_eq!(bytes[..8], [9, 0, 3, 0, 0xff, 0x8f, 0, 0]);
        assert_eq!(bytes[24..32], [0xfe, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
        assert_eq!(bytes[32..40], [0xff; 8]);
        assert_eq!(bytes[44..48], 70_000u32.to_le_bytes());
        assert_eq!(inode(1 << 33).encode()[32..40], [0, 0, 0, 0, 2, 0, 0, 0]);
    }
}
