//! A pack's header and index, under the name that they have. Never panics; what parses is written back to the same
//! bytes, and its frames follow each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reclone_format::object_id::sha256;
use reclone_format::{PackHeader, PackId, PackIndex};

fuzz_target!(|data: &[u8]| {
    let Ok(header) = PackHeader::parse(data) else {
        return;
    };
    let end = header.index_end();
    let index = &data[..data.len().min(end as usize)];
    let id = PackId::from_bytes(sha256(index));
    let Ok(parsed) = PackIndex::parse(data, &id) else {
        return;
    };
    assert_eq!(parsed.encode().expect("it was read"), (index.to_vec(), id));
    let mut at = end;
    for frame in parsed.frames() {
        assert_eq!(frame.offset, at);
        assert!(frame.content() > 0);
        at += frame.length;
    }
    assert_eq!(parsed.pack_size(), at);
});
