//! The recording of a disk by QEMU's `blklogwrites` driver, in the format of Linux's dm-log-writes
//! (`drivers/md/dm-log-writes.c`): a sector about the log, then each write as a sector about it and its data.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use super::steps::MARK;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: usize = 512;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
/// No request of a disk is larger, in sectors.
const LONGEST: u64 = 1 << 17;

/// A write to the disk.
pub struct Write {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// What was written.
    pub data: Vec<u8>,
}

/// The writes between two flushes. Those of earlier epochs are on the disk; of these, any may be.
#[derive(Default)]
pub struct Epoch {
    /// In the order in which they were sent.
    pub writes: Vec<Write>,
    /// How many steps the machine had done when the epoch ended.
    pub done: usize,
    /// The machine's id, once it had one.
    pub id: String,
}

/// Reads the log of a disk of which only the first `size` bytes are a file system; what is written behind them is marks.
/// The last epoch is the one that no flush ended.
pub fn read(path: &Path, size: u64) -> io::Result<Vec<Epoch>> {
    let mut log = BufReader::with_capacity(1 << 20, File::open(path)?);
    let about = sector(&mut log)?;
    if number(&about, 0) != MAGIC || number(&about, 8) != 1 {
        return Err(bad("it is not a log of writes"));
    }
    let mut epochs = vec![Epoch::default()];
    for _ in 0..number(&about, 16) {
        let entry = sector(&mut log)?;
        let (start, length, flags) = (number(&entry, 0), number(&entry, 8), number(&entry, 16));
        if flags & FUA != 0 {
            return Err(bad(
                "a write that is its own flush is not expected of virtio",
            ));
        }
        if flags & FLUSH != 0 {
            let (done, id) = epochs
                .last()
                .map_or((0, String::new()), |last| (last.done, last.id.clone()));
            epochs.push(Epoch {
                writes: Vec::new(),
                done,
                id,
            });
        }
        if flags & DISCARD != 0 || length == 0 {
            continue;
        }
        if length > LONGEST {
            return Err(bad("a write is longer than any"));
        }
        let mut data = vec![0; length as usize * SECTOR];
        log.read_exact(&mut data)?;
        let Some(epoch) = epochs.last_mut() else {
            continue;
        };
        match start * SECTOR as u64 {
            offset if offset < size => epoch.writes.push(Write { offset, data }),
            _ => (epoch.done, epoch.id) = mark(&data)?,
        }
    }
    Ok(epochs)
}

/// How many steps are done, and the machine's id.
fn mark(data: &[u8]) -> io::Result<(usize, String)> {
    let line = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.strip_prefix(MARK));
    let (step, id) = text
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| bad("a mark is none"))?;
    let step: usize = step.parse().map_err(|_| bad("a mark has no number"))?;
    Ok((step + 1, id.to_owned()))
}

fn sector(log: &mut impl Read) -> io::Result<[u8; SECTOR]> {
    let mut sector = [0; SECTOR];
    log.read_exact(&mut sector)?;
    Ok(sector)
}

fn number(sector: &[u8; SECTOR], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&sector[at..at + 8]);
    u64::from_le_bytes(bytes)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the recording: {what}"))
}
