//! A manifest. Never panics; what reads to its end is written back to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reclone_format::{Entry, ManifestReader, ManifestWriter, Result};

fuzz_target!(|data: &[u8]| {
    let Ok(reader) = ManifestReader::open(data) else {
        return;
    };
    let header = reader.header();
    let entries: Result<Vec<Entry>> = reader.map(|item| item.map(|item| item.entry)).collect();
    let Ok(entries) = entries else { return };
    assert_eq!(entries.len(), header.entries as usize);
    let mut writer = ManifestWriter::create(Vec::new(), header).expect("a header can be written");
    for entry in &entries {
        writer.push(entry).expect("what was read can be written");
    }
    assert_eq!(writer.finish().expect("the header was right"), data);
});
