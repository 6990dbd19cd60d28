//! What need not be read again: for each entry of the last manifest how the kernel told the file apart. Kept in the store's
//! own folder, never served, and never needed: without it, everything is read.
//!
//! Layout, little-endian: magic, version, number of entries, the manifest's id; for each entry 48 bytes (file system, inode,
//! size, mtime, ctime; all zero where the file may have changed without showing it); XXH3 of all that.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::Range;

use reclone_format::wire::{Reader, Writer};
use reclone_format::{Entry, Head, Kind, ManifestReader, ObjectId, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Context, InFile, Result};
use crate::live_tree::Stamp;
use crate::node::Node;
use crate::pack_reader::read_manifest;
use crate::store::Store;

const MAGIC: [u8; 8] = *b"RCLNSTAT";
const VERSION: u32 = 1;
const STRUCTURE: &str = "stat cache";
/// A kernel's clock for file times ticks at least this often, in nanoseconds; twice over.
const TICK: i128 = 20_000_000;
/// Where times have no nanoseconds, they may be whole seconds.
const SECOND: i128 = 1_000_000_000;

/// The last generation's entries and how to recognise their files.
pub struct StatCache {
    entries: Vec<Entry>,
    stamps: Vec<Stamp>,
    folders: HashMap<Vec<u8>, Range<usize>>,
}

/// What is known about the names in one folder.
pub struct Known<'a> {
    cache: &'a StatCache,
    next: usize,
    end: usize,
}

impl StatCache {
    /// What is known about the generation of `head`. Nothing if there is no cache, or if it belongs to another one; a
    /// damaged one is reported and then does as if it were not there.
    pub fn load(store: &Store, head: &Head) -> Result<Option<Self>> {
        let path = store.stat_cache_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("read", &path),
        };
        let stamps = match decode(&bytes, &head.manifest.id) {
            Ok(Some(stamps)) => stamps,
            Ok(None) => return Ok(None),
            Err(error) => {
                log::warn!("{}: {error}; every file is read again", path.display());
                return Ok(None);
            }
        };
        match read_entries(store, head) {
            Ok(entries) if entries.len() == stamps.len() => Ok(Some(Self::new(entries, stamps))),
            Ok(_) => {
                log::warn!(
                    "{}: it does not fit; every file is read again",
                    path.display()
                );
                Ok(None)
            }
            Err(error) => {
                log::warn!("{}; every file is read again", error.chain());
                Ok(None)
            }
        }
    }

    fn new(entries: Vec<Entry>, stamps: Vec<Stamp>) -> Self {
        let mut folders: HashMap<Vec<u8>, Range<usize>> = HashMap::new();
        let mut start = 1;
        for at in 1..entries.len() {
            if at + 1 == entries.len() || entries[at + 1].path.parent() != entries[at].path.parent()
            {
                folders.insert(entries[at].path.parent().to_vec(), start..at + 1);
                start = at + 1;
            }
        }
        Self {
            entries,
            stamps,
            folders,
        }
    }

    /// What is known about the names in `folder`.
    pub fn folder(&self, folder: &[u8]) -> Known<'_> {
        let range = self.folders.get(folder).cloned().unwrap_or(0..0);
        Known {
            cache: self,
            next: range.start,
            end: range.end,
        }
    }

    /// Writes the cache of a generation whose manifest has the entries of `nodes`, scanned from `since` on (nanoseconds
    /// since 1970). Not synced: a lost cache costs a read.
    pub fn save(store: &Store, manifest: &ObjectId, nodes: &[Node], since: i128) -> Result<()> {
        let bytes = encode(manifest, nodes, since).in_file(&store.stat_cache_path())?;
        let mut temp = store.temp("stat-cache")?;
        temp.write(&bytes)?;
        temp.persist_unsynced(&store.stat_cache_path())
    }
}

impl<'a> Known<'a> {
    /// The entry of `name`, if its file is still the same. For a further name of a file: the first name's entry. Names
    /// must be asked for in ascending order, each once.
    pub fn find(&mut self, name: &[u8], stamp: &Stamp) -> Option<&'a Entry> {
        let entries = &self.cache.entries;
        while self.next < self.end && entries[self.next].path.name() < name {
            self.next += 1;
        }
        let at = self.next;
        if at == self.end || self.cache.stamps[at] != *stamp || entries[at].path.name() != name {
            return None;
        }
        match &entries[at] {
            Entry {
                kind: Kind::HardLink { to },
                ..
            } => entries.get(*to as usize),
            entry => Some(entry),
        }
    }
}

/// The last generation's entries.
fn read_entries(store: &Store, head: &Head) -> Result<Vec<Entry>> {
    let manifest = read_manifest(store, head)?;
    let pack = store.pack_path(&head.packs[0].id);
    let reader = ManifestReader::open(&manifest[..]).in_file(&pack)?;
    let entries = reader.map(|item| item.map(|item| item.entry));
    entries
        .collect::<reclone_format::Result<_>>()
        .in_file(&pack)
}

/// Whether a change at or after `since` would show in the stamp's times. As git's index does, a file that was touched in
/// the same tick of the clock as it was read in is not trusted.
fn is_settled(stamp: &Stamp, since: i128) -> bool {
    let changed = i128::from(stamp.ctime.sec) * SECOND + i128::from(stamp.ctime.nsec);
    let grain = if stamp.ctime.nsec == 0 {
        2 * SECOND
    } else {
        TICK
    };
    changed + grain < since
}

fn encode(manifest: &ObjectId, nodes: &[Node], since: i128) -> reclone_format::Result<Vec<u8>> {
    let mut fields = Writer::new(Vec::with_capacity(64 + nodes.len() * 48));
    fields.bytes(&MAGIC)?;
    fields.u32(VERSION)?;
    fields.u32(nodes.len() as u32)?;
    fields.bytes(manifest.as_bytes())?;
    for node in nodes {
        let stamp = match is_settled(&node.stamp, since) {
            true => node.stamp,
            false => Stamp::default(),
        };
        fields.u64(stamp.dev)?;
        fields.u64(stamp.ino)?;
        fields.u64(stamp.size)?;
        for time in [stamp.mtime, stamp.ctime] {
            fields.i64(time.sec)?;
            fields.u32(time.nsec)?;
        }
    }
    let mut bytes = fields.into_inner();
    let sum = xxh3_64(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// The stamps; none if they belong to another manifest.
fn decode(bytes: &[u8], manifest: &ObjectId) -> reclone_format::Result<Option<Vec<Stamp>>> {
    let (bytes, sum) = bytes.split_last_chunk::<8>().unwrap_or((&[], &[0; 8]));
    let mut fields = Reader::new(bytes, STRUCTURE);
    if xxh3_64(bytes) != u64::from_le_bytes(*sum) {
        return Err(fields.bad("its checksum is wrong"));
    }
    if fields.array()? != MAGIC || fields.u32()? != VERSION {
        return Err(fields.bad("it is of another version"));
    }
    let count = fields.u32()?;
    if fields.array()? != *manifest.as_bytes() {
        return Ok(None);
    }
    let mut stamps = Vec::new();
    for _ in 0..count {
        let (dev, ino, size) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let mut time = || -> reclone_format::Result<Timestamp> {
            Ok(Timestamp {
                sec: fields.i64()?,
                nsec: fields.u32()?,
            })
        };
        let (mtime, ctime) = (time()?, time()?);
        stamps.push(Stamp {
            dev,
            ino,
            size,
            mtime,
            ctime,
        });
    }
    Ok(Some(stamps))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reclone_format::{TreePath, object_id_of};

    use super::*;

    fn node(path: &str, ctime: (i64, u32)) -> Node {
        Node {
            entry: Entry::new(TreePath::from_bytes(path.into()).unwrap(), Kind::Directory),
            stamp: Stamp {
                dev: 1,
                ino: 2,
                size: 3,
                mtime: Timestamp { sec: -4, nsec: 5 },
                ctime: Timestamp {
                    sec: ctime.0,
                    nsec: ctime.1,
                },
            },
            known: true,
            first_name: None,
        }
    }

    #[test]
    fn stamps_come_back_but_for_those_that_are_too_young() {
        let nodes = [node("", (100, 1)), node("a", (200, 1))];
        let id = object_id_of(b"manifest");
        let bytes = encode(&id, &nodes, 150 * SECOND).unwrap();
        let stamps = decode(&bytes, &id).unwrap().unwrap();
        assert_eq!(stamps, [nodes[0].stamp, Stamp::default()]);
        assert_eq!(decode(&bytes, &object_id_of(b"other")).unwrap(), None);
    }

    #[test]
    fn a_cache_that_was_touched_is_refused() {
        let id = object_id_of(b"manifest");
        let bytes = encode(&id, &[node("", (100, 1))], 150 * SECOND).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(decode(&bad, &id).is_err(), "byte {at}");
            assert!(decode(&bytes[..at], &id).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_that_could_have_changed_in_the_same_tick_is_not_trusted() {
        let second = SECOND;
        for (ctime, since, settled) in [
            ((10, 500_000_000), 10 * second + 600_000_000, true),
            ((10, 500_000_000), 10 * second + 510_000_000, false),
            ((10, 500_000_000), 10 * second, false),
            // A file system that knows whole seconds alone.
            ((10, 0), 11 * second, false),
            ((10, 0), 13 * second, true),
            ((-10, 1), 0, true),
        ] {
            let stamp = node("", ctime).stamp;
            assert_eq!(is_settled(&stamp, since), settled, "{ctime:?} {since}");
        }
    }
}
