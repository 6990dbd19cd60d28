//! The second pass over the manifest: writes every inode in the manifest's order to the place it was given, and the names
//! of a directory when they come, which is after its inode.

use std::io::{Read, Seek, Write};

use reclone_format::{Entry, Error, Item, Kind, ManifestReader, Result};

use super::erofs::{BLOCK, DataLayout, FileType, Inode, SLOT, chunks, device};
use super::listing::{Block, Extra, Extras, Size};
use super::plan::Plan;
use super::sink::Sink;
use super::xattrs::Body;

/// An address of a chunk that is a hole.
const HOLE: [u8; 4] = [0xff; 4];

pub(super) struct Render<W> {
    plan: Plan,
    sink: Sink<W>,
    body: Body,
    listing: Listing,
    scratch: Vec<u8>,
}

/// The directory whose names are coming.
struct Listing {
    directory: u32,
    extras: Extras,
    size: Size,
    block: Block,
}

impl<W: Write + Seek> Render<W> {
    pub(super) fn new(plan: Plan, out: W) -> Self {
        Self {
            plan,
            sink: Sink::new(out),
            body: Body::default(),
            listing: Listing {
                directory: 0,
                extras: Extras::of(0),
                size: Size::default(),
                block: Block::default(),
            },
            scratch: Vec::new(),
        }
    }

    /// Writes the whole image and gives its size in bytes.
    pub(super) fn run<R: Read>(mut self, mut manifest: ManifestReader<R>) -> Result<u64> {
        if manifest.header().entries != self.plan.entries() {
            return Err(Error::Malformed {
                structure: "manifest",
                reason: "it was replaced while it was read".to_owned(),
            });
        }
        let superblock = self.plan.superblock.encode();
        self.sink.tail().extend_from_slice(&superblock);
        while let Some(item) = manifest.next_entry()? {
            if item.ordinal > 0 {
                self.name(&item)?;
            }
            if !matches!(item.entry.kind, Kind::HardLink { .. }) {
                self.inode(&item)?;
            }
        }
        self.close()?;
        self.whiteouts()?;
        let xattrs = u64::from(self.plan.superblock.xattr_block) * BLOCK;
        self.sink.go_to(xattrs)?;
        self.sink.tail().extend_from_slice(self.plan.pool.area());
        self.sink.go_to(u64::from(self.plan.data_block) * BLOCK)?;
        self.sink.finish()?;
        Ok(u64::from(self.plan.superblock.blocks) * BLOCK)
    }

    /// Adds an entry to its directory.
    fn name(&mut self, item: &Item) -> Result<()> {
        if item.parent != self.listing.directory {
            self.close()?;
            self.open(item.parent);
        }
        let name = item.entry.path.name();
        self.extras(Some(name))?;
        let inode = match item.entry.kind {
            Kind::HardLink { to } => to,
            _ => item.ordinal,
        };
        let (nid, kind) = (self.plan.nid(inode), self.plan.file_type(inode));
        self.push(name, nid, kind)
    }

    fn open(&mut self, directory: u32) {
        self.listing.directory = directory;
        self.listing.extras = Extras::of(directory);
        self.listing.size = Size::default();
    }

    fn extras(&mut self, name: Option<&[u8]>) -> Result<()> {
        while let Some(extra) = self.listing.extras.next_before(name) {
            let directory = self.listing.directory;
            let (inode, kind) = match extra {
                Extra::Itself => (directory, FileType::Directory),
                Extra::Parent => (self.plan.parent(directory), FileType::Directory),
                Extra::Whiteout(_) => (self.plan.entries(), FileType::CharDevice),
            };
            self.push(extra.name(), self.plan.nid(inode), kind)?;
        }
        Ok(())
    }

    fn push(&mut self, name: &[u8], nid: u32, kind: FileType) -> Result<()> {
        if self.listing.size.add(name) {
            let block = self.listing.size.full - 1;
            self.block(block)?;
        }
        self.listing.block.push(name, nid, kind);
        Ok(())
    }

    /// Writes the gathered names as the directory's block of this number.
    fn block(&mut self, number: u32) -> Result<()> {
        self.listing.block.take(&mut self.scratch);
        self.scratch.resize(BLOCK as usize, 0);
        let content = self.plan.content(self.listing.directory);
        let at = u64::from(content.first_block + number) * BLOCK;
        self.sink.put(at, &self.scratch)
    }

    /// Writes what is left of the directory's names.
    fn close(&mut self) -> Result<()> {
        self.extras(None)?;
        let directory = self.listing.directory;
        let content = self.plan.content(directory);
        if content.inline {
            self.listing.block.take(&mut self.scratch);
            let at = u64::from(self.plan.nid(directory)) * SLOT + self.plan.head(directory);
            self.sink.put(at, &self.scratch)
        } else {
            self.block(self.listing.size.full)
        }
    }

    fn inode(&mut self, item: &Item) -> Result<()> {
        let (entry, ordinal) = (&item.entry, item.ordinal);
        self.body
            .compose(entry, self.plan.marks(ordinal), &mut self.plan.pool);
        let content = self.plan.content(ordinal);
        let flat = match content.inline {
            true => DataLayout::Inline,
            false => DataLayout::Plain,
        };
        let mut addresses = 0;
        let (layout, size, data) = match &entry.kind {
            Kind::Directory | Kind::Symlink { .. } => {
                (flat, content.size.bytes(), content.first_block)
            }
            Kind::Regular { size: 0, .. } => (DataLayout::Plain, 0, 0),
            Kind::Regular { size, .. } => {
                let (format, count) = chunks(*size);
                addresses = count;
                (DataLayout::Chunks, *size, format)
            }
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                (DataLayout::Plain, 0, device(*major, *minor))
            }
            Kind::Fifo | Kind::Socket | Kind::HardLink { .. } => (DataLayout::Plain, 0, 0),
        };
        self.sink.go_to(u64::from(self.plan.nid(ordinal)) * SLOT)?;
        let inode = self.header(ordinal, entry, layout, size, data);
        let bytes = self.sink.tail();
        bytes.extend_from_slice(&inode.encode());
        self.body.write(bytes);
        (0..addresses).for_each(|_| bytes.extend_from_slice(&HOLE));
        match &entry.kind {
            Kind::Symlink { target } if content.inline => bytes.extend_from_slice(target),
            Kind::Symlink { target } => self.far_target(target, content.first_block)?,
            // Its names are put here later, or now where none will come.
            Kind::Directory => {
                let room = if content.inline { content.size.last } else { 0 };
                bytes.resize(bytes.len() + usize::from(room), 0);
                if content.size == Size::EMPTY {
                    self.empty(ordinal)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn header(
        &self,
        ordinal: u32,
        entry: &Entry,
        layout: DataLayout,
        size: u64,
        data: u32,
    ) -> Inode {
        Inode {
            layout,
            xattr_count: self.body.count(),
            mode: self.plan.file_type(ordinal).mode() | entry.perm,
            size,
            data,
            number: ordinal + 1,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            links: self.plan.links(ordinal),
        }
    }

    /// Writes a link's target that does not fit behind its inode.
    fn far_target(&mut self, target: &[u8], block: u32) -> Result<()> {
        self.scratch.clear();
        self.scratch.extend_from_slice(target);
        self.scratch.resize(BLOCK as usize, 0);
        self.sink.put(u64::from(block) * BLOCK, &self.scratch)
    }

    /// Writes the names of a directory without entries.
    fn empty(&mut self, directory: u32) -> Result<()> {
        let mut listing = Listing {
            directory,
            extras: Extras::of(directory),
            size: Size::default(),
            block: Block::default(),
        };
        std::mem::swap(&mut self.listing, &mut listing);
        let result = self.close();
        self.listing = listing;
        result
    }

    /// Writes the one inode that hides the folders of objects.
    fn whiteouts(&mut self) -> Result<()> {
        let ordinal = self.plan.entries();
        let entry = Entry::new(
            reclone_format::TreePath::ROOT,
            Kind::CharDevice { major: 0, minor: 0 },
        );
        self.sink.go_to(u64::from(self.plan.nid(ordinal)) * SLOT)?;
        self.body = Body::default();
        let inode = self.header(ordinal, &entry, DataLayout::Plain, 0, 0);
        self.sink.tail().extend_from_slice(&inode.encode());
        Ok(())
    }
}
