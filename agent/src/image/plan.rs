//! The first pass over the manifest: where each inode will lie. Fields of entries are kept in arrays by ordinal, 19
//! bytes an entry in all, and nothing else grows with the tree but 16 bytes for each entry that fills blocks of its own.

use std::collections::BTreeMap;
use std::io::Read;

use reclone_format::{Entry, Error, Item, Kind, ManifestReader, Result, showable};

use super::erofs::{BLOCK, FileType, INODE, SLOT, Superblock, chunks};
use super::listing::{Extras, Size, WHITEOUTS, is_object_folder};
use super::xattrs::{Body, Marks, Pool, has_inner_opaque};
use crate::wanted::room;

/// The type of the file, as a number.
const TYPE: u8 = 0x07;
/// The content lies in blocks to its end, because it does not fit behind the inode.
const PLAIN: u8 = 0x08;
/// A further name; it has no inode of its own.
const LINK: u8 = 0x10;
/// Of a file: it stands for a whiteout of the tree.
const WHITEOUT: u8 = 0x20;
/// Of a directory: it has the name of a folder of objects.
const OPAQUE: u8 = 0x20;
/// Of a directory: it has files that stand for whiteouts, and the image says so.
const WHITEOUT_PARENT: u8 = 0x40;
/// Of a directory: the tree says already whether it has whiteouts.
const INNER_OPAQUE: u8 = 0x80;

/// Where an inode's content lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) size: Size,
    /// Whether the last block follows the inode.
    pub(super) inline: bool,
    /// The first block, where there is one.
    pub(super) first_block: u32,
}

/// Blocks of an inode's content.
#[derive(Clone, Copy, Default)]
struct Extent {
    /// Blocks before the last one.
    full: u32,
    first: u32,
}

/// Where everything lies.
pub(super) struct Plan {
    /// The shared xattrs.
    pub(super) pool: Pool,
    pub(super) superblock: Superblock,
    /// The first block after inodes and shared xattrs.
    pub(super) data_block: u32,
    flags: Vec<u8>,
    /// Bytes of inode, xattrs and chunks' addresses.
    heads: Vec<u32>,
    /// Bytes of the last block of a directory's or symbolic link's content.
    lasts: Vec<u16>,
    links: Vec<u32>,
    parents: Vec<u32>,
    nids: Vec<u32>,
    extents: BTreeMap<u32, Extent>,
}

impl Plan {
    pub(super) fn read<R: Read>(mut manifest: ManifestReader<R>) -> Result<Self> {
        // One more for the inode of all whiteouts.
        let count = room(&manifest.header()) + 1;
        let mut plan = Self {
            pool: Pool::new(),
            superblock: Superblock {
                root: 0,
                inodes: 0,
                blocks: 0,
                xattr_block: 0,
            },
            data_block: 0,
            flags: Vec::with_capacity(count),
            heads: Vec::with_capacity(count),
            lasts: Vec::with_capacity(count),
            links: Vec::with_capacity(count),
            parents: Vec::with_capacity(count),
            nids: Vec::with_capacity(count),
            extents: BTreeMap::new(),
        };
        let mut body = Body::default();
        let mut listing = Listing::of(0);
        let mut whiteouts = WHITEOUTS;
        while let Some(item) = manifest.next_entry()? {
            plan.add(&item, &mut body);
            if item.ordinal > 0 {
                if item.parent != listing.directory {
                    plan.close(listing);
                    listing = Listing::of(item.parent);
                }
                let name = item.entry.path.name();
                listing.add(name);
                whiteouts -= u32::from(item.parent == 0 && is_object_folder(name));
            }
        }
        plan.close(listing);
        plan.push(FileType::CharDevice as u8, INODE, 0, whiteouts, 0);
        plan.place()?;
        Ok(plan)
    }

    fn add(&mut self, item: &Item, body: &mut Body) {
        let entry = &item.entry;
        let is_directory = entry.kind == Kind::Directory;
        if let Kind::HardLink { to } = entry.kind {
            self.links[to as usize] += 1;
            let flags = self.flags[to as usize];
            if flags & WHITEOUT != 0 {
                self.mark_whiteout_parent(item.parent as usize);
            }
            self.push(flags & TYPE | LINK, 0, 0, 0, 0);
            return;
        }
        let mut flags = file_type(entry) as u8;
        if is_directory && item.parent == 0 && is_object_folder(entry.path.name()) {
            flags |= OPAQUE;
        }
        if is_directory && has_inner_opaque(entry) {
            flags |= INNER_OPAQUE;
        }
        if showable::is_whiteout(entry) {
            flags |= WHITEOUT;
            self.mark_whiteout_parent(item.parent as usize);
        }
        if is_directory && item.ordinal > 0 {
            self.links[item.parent as usize] += 1;
        }
        body.compose(entry, marks(flags), &mut self.pool);
        let (last, addresses) = match &entry.kind {
            Kind::Directory => (Size::EMPTY.last, 0),
            Kind::Symlink { target } => (target.len() as u16, 0),
            Kind::Regular { size: 1.., .. } => (0, 4 * chunks(size_of(entry)).1 as usize),
            _ => (0, 0),
        };
        let head = INODE + body.len() + addresses;
        self.push(flags, head, last, 1 + u32::from(is_directory), item.parent);
    }

    fn push(&mut self, flags: u8, head: usize, last: u16, links: u32, parent: u32) {
        self.flags.push(flags);
        self.heads.push(head as u32);
        self.lasts.push(last);
        self.links.push(links);
        self.parents.push(parent);
    }

    /// The directory gets a mark that its own entry did not tell of.
    fn mark_whiteout_parent(&mut self, directory: usize) {
        if self.flags[directory] & (WHITEOUT_PARENT | INNER_OPAQUE) == 0 {
            self.flags[directory] |= WHITEOUT_PARENT;
            let first = self.heads[directory] as usize == INODE;
            self.heads[directory] += if first { 16 } else { 4 };
        }
    }

    fn close(&mut self, listing: Listing) {
        let (directory, size) = listing.finish();
        self.lasts[directory as usize] = size.last;
        if size.full > 0 {
            self.extents.entry(directory).or_default().full = size.full;
        }
    }

    /// Gives every inode its place, then the blocks after them.
    fn place(&mut self) -> Result<()> {
        let mut at = BLOCK;
        for index in 0..self.flags.len() {
            if self.flags[index] & LINK != 0 {
                self.nids.push(0);
                continue;
            }
            let head = u64::from(self.heads[index]);
            let mut inline = u64::from(self.lasts[index]);
            if inline > 0 && head + inline > BLOCK {
                self.flags[index] |= PLAIN;
                self.extents.entry(index as u32).or_default();
                inline = 0;
            }
            // Kernels before 6.12 want inode, xattrs and what follows in one block. An inode alone must not be cut.
            let undivided = if inline > 0 {
                head + inline
            } else {
                INODE as u64
            };
            if at % BLOCK + undivided > BLOCK {
                at = at.next_multiple_of(BLOCK);
            }
            self.nids.push(bounded(at / SLOT)?);
            at = (at + head + inline).next_multiple_of(SLOT);
        }
        let xattr_block = at.div_ceil(BLOCK);
        self.data_block = bounded(xattr_block + (self.pool.area().len() as u64).div_ceil(BLOCK))?;
        let mut block = u64::from(self.data_block);
        for (ordinal, extent) in &mut self.extents {
            extent.first = bounded(block)?;
            let last = self.flags[*ordinal as usize] & PLAIN != 0;
            block += u64::from(extent.full) + u64::from(last);
        }
        let inodes = self.flags.iter().filter(|flags| **flags & LINK == 0);
        self.superblock = Superblock {
            root: (BLOCK / SLOT) as u16,
            inodes: inodes.count() as u64,
            blocks: bounded(block)?,
            xattr_block: bounded(xattr_block)?,
        };
        Ok(())
    }

    /// The number of entries, which is also the ordinal of the whiteouts' inode.
    pub(super) fn entries(&self) -> u32 {
        self.flags.len() as u32 - 1
    }

    /// The inode's number.
    pub(super) fn nid(&self, ordinal: u32) -> u32 {
        self.nids[ordinal as usize]
    }

    pub(super) fn file_type(&self, ordinal: u32) -> FileType {
        FileType::of_number(self.flags[ordinal as usize] & TYPE)
    }

    pub(super) fn marks(&self, ordinal: u32) -> Marks {
        marks(self.flags[ordinal as usize])
    }

    pub(super) fn links(&self, ordinal: u32) -> u32 {
        self.links[ordinal as usize]
    }

    /// The directory's parent; the top is its own.
    pub(super) fn parent(&self, directory: u32) -> u32 {
        self.parents[directory as usize]
    }

    /// Bytes of the inode with its xattrs.
    pub(super) fn head(&self, ordinal: u32) -> u64 {
        u64::from(self.heads[ordinal as usize])
    }

    /// Where the content of a directory or symbolic link lies.
    pub(super) fn content(&self, ordinal: u32) -> Content {
        let extent = self.extents.get(&ordinal).copied().unwrap_or_default();
        Content {
            size: Size {
                full: extent.full,
                last: self.lasts[ordinal as usize],
            },
            inline: self.flags[ordinal as usize] & PLAIN == 0,
            first_block: extent.first,
        }
    }
}

/// A directory whose names are being counted.
struct Listing {
    directory: u32,
    extras: Extras,
    size: Size,
}

impl Listing {
    fn of(directory: u32) -> Self {
        Self {
            directory,
            extras: Extras::of(directory),
            size: Size::default(),
        }
    }

    fn add(&mut self, name: &[u8]) {
        while let Some(extra) = self.extras.next_before(Some(name)) {
            self.size.add(extra.name());
        }
        self.size.add(name);
    }

    fn finish(mut self) -> (u32, Size) {
        while let Some(extra) = self.extras.next_before(None) {
            self.size.add(extra.name());
        }
        (self.directory, self.size)
    }
}

fn marks(flags: u8) -> Marks {
    let is_directory = flags & TYPE == FileType::Directory as u8;
    Marks {
        opaque: is_directory && flags & OPAQUE != 0,
        whiteouts: is_directory && flags & WHITEOUT_PARENT != 0,
    }
}

/// The type that the image shows: a whiteout of the tree is an empty file in it.
fn file_type(entry: &Entry) -> FileType {
    match entry.kind {
        _ if showable::is_whiteout(entry) => FileType::Regular,
        Kind::Directory => FileType::Directory,
        Kind::Regular { .. } => FileType::Regular,
        Kind::Symlink { .. } => FileType::Symlink,
        Kind::CharDevice { .. } => FileType::CharDevice,
        Kind::BlockDevice { .. } => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::HardLink { .. } => FileType::Regular,
    }
}

fn size_of(entry: &Entry) -> u64 {
    entry.object().map_or(0, |(_, size)| size)
}

fn bounded(number: u64) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::Malformed {
        structure: "manifest",
        reason: "its image would be larger than 128 GiB".to_owned(),
    })
}
