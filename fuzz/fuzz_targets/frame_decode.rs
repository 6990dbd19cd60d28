//! All frames of a pack. Never panics; memory stays within a window and the bases; nothing is completed that is not what
//! its id says; never more comes than the index declares, whatever the payload would decompress to.
#![no_main]

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use reclone_format::frame::{self, Sink};
use reclone_format::object_id::sha256;
use reclone_format::{Frame, ObjectId, PackHeader, PackId, PackIndex, PackedObject, object_id_of};

/// Its objects are bases of the golden delta.
const FIRST: &[u8] = include_bytes!("../../format/testdata/v1/pack/first");
/// The sink's disk.
const DISK: u64 = 1 << 20;

type Known = HashMap<ObjectId, Vec<u8>>;

struct Checked<'a> {
    known: &'a mut Known,
    open: Vec<u8>,
    written: &'a Cell<u64>,
    wants: bool,
}

impl Sink for Checked<'_> {
    fn start(&mut self, _: &PackedObject) -> io::Result<bool> {
        self.open.clear();
        Ok(self.wants)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert!(self.wants);
        self.written.set(self.written.get() + bytes.len() as u64);
        match self.written.get() > DISK {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => {
                self.open.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn complete(&mut self, object: &PackedObject) -> io::Result<()> {
        assert_eq!(object_id_of(&self.open), object.id);
        assert_eq!(self.open.len() as u64, object.size);
        self.known.insert(object.id, std::mem::take(&mut self.open));
        Ok(())
    }
}

fn index(pack: &[u8]) -> Option<PackIndex> {
    let end = PackHeader::parse(pack).ok()?.index_end() as usize;
    let id = PackId::from_bytes(sha256(pack.get(..end)?));
    PackIndex::parse(pack, &id).ok()
}

/// What the bases hold; of unknown ones, some other bytes.
fn base(frame: &Frame, known: &Known) -> Vec<u8> {
    let content = |base: &PackedObject| match known.get(&base.id) {
        Some(content) => content.clone(),
        None => vec![b'o'; base.size.min(4096) as usize],
    };
    frame.bases.iter().flat_map(content).collect()
}

fn decode(pack: &[u8], known: &mut Known) {
    for frame in index(pack).iter().flat_map(PackIndex::frames) {
        let start = usize::try_from(frame.offset).unwrap_or(usize::MAX);
        let payload = pack.get(start..).unwrap_or_default();
        let base = base(frame, known);
        for wants in [true, false] {
            // Nothing is written of what is not wanted, so only the declared size ends it.
            if !wants && frame.content() > DISK {
                continue;
            }
            let written = Cell::new(0);
            let mut sink = Checked {
                known: &mut *known,
                open: Vec::new(),
                written: &written,
                wants,
            };
            let result = frame::decode(frame, payload, &base, &mut sink);
            assert!(written.get() <= frame.content());
            if wants && result.is_ok() {
                assert_eq!(written.get(), frame.content());
            }
        }
    }
}

/// What is known before the input comes; unpacked once.
fn first() -> Known {
    static FIRST_OBJECTS: OnceLock<Known> = OnceLock::new();
    let unpack = || {
        let mut known = HashMap::from([(object_id_of(b"old"), b"old".to_vec())]);
        decode(FIRST, &mut known);
        assert_eq!(known.len(), 5);
        known
    };
    FIRST_OBJECTS.get_or_init(unpack).clone()
}

fuzz_target!(|data: &[u8]| decode(data, &mut first()));
