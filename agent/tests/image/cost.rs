//! What an image costs to write. Prints its figures; run it alone and in a release build:
//! `cargo test --release -p reclone --test image -- --ignored --nocapture`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use reclone_format::{Entry, Kind, ManifestHeader, ManifestWriter, ObjectId};

use crate::tree::path;

const FOLDERS: u32 = 15_000;
const FILES: u32 = 20;

#[test]
#[ignore = "measures memory of the whole process"]
fn an_image_of_300_000_entries_takes_24_bytes_of_memory_an_entry() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("manifest");
    let entries = write_manifest(&manifest);
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let start = Instant::now();
    let out = File::create(folder.path().join("image")).unwrap();
    let size = reclone::image::write(|| File::open(&manifest), out).unwrap();
    let (time, memory) = (start.elapsed(), peak() - before);
    eprintln!("{entries} entries: {time:?}, {memory} bytes of memory, {size} bytes of image");
    assert!(memory < 24 * u64::from(entries) + (1 << 20), "{memory}");
    assert!(size < 240 * u64::from(entries), "{size}");
}

fn write_manifest(to: &Path) -> u32 {
    let header = ManifestHeader {
        entries: 1 + FOLDERS + FOLDERS * FILES,
        content: u64::from(FOLDERS * FILES) * 5000,
    };
    let sink = BufWriter::new(File::create(to).unwrap());
    let mut writer = ManifestWriter::create(sink, header).unwrap();
    let root = Entry::new(path(""), Kind::Directory);
    writer.push(&root).unwrap();
    let folder = |number: u32| format!("folder number {number:05}");
    for number in 0..FOLDERS {
        let entry = Entry::new(path(folder(number)), Kind::Directory);
        writer.push(&entry).unwrap();
    }
    for number in 0..FOLDERS * FILES {
        let name = format!("{}/a file {:02}", folder(number / FILES), number % FILES);
        let mut id = [7; 32];
        id[..4].copy_from_slice(&number.to_le_bytes());
        let kind = Kind::Regular {
            size: 5000,
            id: ObjectId::from_bytes(id),
        };
        writer.push(&Entry::new(path(name), kind)).unwrap();
    }
    writer.finish().unwrap().flush().unwrap();
    header.entries
}

/// The most memory that this process has had in use, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let figure = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    figure.parse::<u64>().unwrap() * 1024
}
