//! A generation's manifest: a header and every entry in the order of [`TreePath`]. Written in `docs/format.md`,
//! section "Manifest". Reader and writer stream; both check every rule, so that what was written can be read.

mod codec;
mod order;

use std::io::{Read, Write};

use crate::wire::{Reader, Writer};
use crate::{Entry, Error, Kind, Result};
use order::Order;

const MAGIC: [u8; 8] = *b"RCLNMANI";
const VERSION: u32 = 1;
/// The most entries of one manifest.
pub const MAX_ENTRIES: u32 = 1 << 26;
const STRUCTURE: &str = "manifest";

/// What a manifest says about itself before its first entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestHeader {
    /// The number of entries, the top of the tree included.
    pub entries: u32,
    /// The sum of the sizes of all regular files in bytes, each hard-linked file counted once.
    pub content: u64,
}

/// An entry with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number, counted from 0 (the top of the tree).
    pub ordinal: u32,
    /// The ordinal of the directory that holds it; 0 for the top itself.
    pub parent: u32,
    /// The entry.
    pub entry: Entry,
}

/// Reads a manifest entry by entry. Memory does not grow with the manifest but for one bit an entry and the names of
/// directories whose children have not come yet.
pub struct ManifestReader<R> {
    fields: Reader<R>,
    header: ManifestHeader,
    order: Order,
}

impl<R: Read> ManifestReader<R> {
    /// Reads the header. `source` is read in small pieces: give it a buffer.
    pub fn open(source: R) -> Result<Self> {
        let mut fields = Reader::new(source, STRUCTURE);
        if fields.array()? != MAGIC {
            return Err(fields.bad("its first bytes are not those of a manifest"));
        }
        match fields.u32()? {
            VERSION => {}
            found => {
                return Err(Error::Version {
                    structure: STRUCTURE,
                    found,
                    known: VERSION,
                });
            }
        }
        let entries = fields.u32()?;
        let content = fields.u64()?;
        if fields.u64()? != 0 {
            return Err(fields.bad("a reserved field is not zero"));
        }
        if entries == 0 || entries > MAX_ENTRIES {
            return Err(fields.bad(format!(
                "it has {entries} entries, 1 to {MAX_ENTRIES} are allowed"
            )));
        }
        Ok(Self {
            fields,
            header: ManifestHeader { entries, content },
            order: Order::new(),
        })
    }

    /// The header.
    pub fn header(&self) -> ManifestHeader {
        self.header
    }

    /// The next entry, or none after the last. After the last the whole manifest has been checked: number of
    /// entries, sum of contents, no byte too many.
    pub fn next_entry(&mut self) -> Result<Option<Item>> {
        if self.order.count() == self.header.entries {
            if self.order.content() != self.header.content {
                return Err(self
                    .fields
                    .bad("the sum of its contents is not what its header says"));
            }
            return match self.fields.at_end()? {
                true => Ok(None),
                false => Err(self.fields.bad("it goes on after its last entry")),
            };
        }
        let entry = codec::read(&mut self.fields, self.order.path())?;
        let (ordinal, parent) = self.order.accept(&entry)?;
        Ok(Some(Item {
            ordinal,
            parent,
            entry,
        }))
    }
}

/// Every entry of the manifest, and an error as the last item where there is one.
impl<R: Read> Iterator for ManifestReader<R> {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

/// Writes a manifest entry by entry. Syncs nothing.
pub struct ManifestWriter<W> {
    fields: Writer<W>,
    header: ManifestHeader,
    order: Order,
}

impl<W: Write> ManifestWriter<W> {
    /// Writes the header; its figures must come true.
    pub fn create(sink: W, header: ManifestHeader) -> Result<Self> {
        let mut fields = Writer::new(sink);
        fields.bytes(&MAGIC)?;
        fields.u32(VERSION)?;
        fields.u32(header.entries)?;
        fields.u64(header.content)?;
        fields.u64(0)?;
        Ok(Self {
            fields,
            header,
            order: Order::new(),
        })
    }

    /// Adds the next entry and gives its ordinal.
    pub fn push(&mut self, entry: &Entry) -> Result<u32> {
        codec::check(entry)?;
        codec::write(&mut self.fields, entry, self.order.path())?;
        Ok(self.order.accept(entry)?.0)
    }

    /// Checks the figures of the header and gives the sink back.
    pub fn finish(self) -> Result<W> {
        let found = ManifestHeader {
            entries: self.order.count(),
            content: self.order.content(),
        };
        if found != self.header {
            return Err(Error::malformed(
                STRUCTURE,
                format!("{found:?} was written under {:?}", self.header),
            ));
        }
        Ok(self.fields.into_inner())
    }
}

/// The figures that go into the header of a manifest of `entries`.
pub fn header_of<'a>(entries: impl Iterator<Item = &'a Entry>) -> ManifestHeader {
    entries.fold(
        ManifestHeader {
            entries: 0,
            content: 0,
        },
        |sum, entry| ManifestHeader {
            entries: sum.entries + 1,
            content: sum.content
                + match entry.kind {
                    Kind::Regular { size, .. } => size,
                    _ => 0,
                },
        },
    )
}

#[cfg(test)]
mod tests;
