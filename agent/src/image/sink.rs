//! Where the image's bytes go: mostly one after the other, now and then back to a place that was left free, or ahead.

use std::io::{Seek, SeekFrom, Write};

use reclone_format::{Error, Result};

/// What is gathered before it is written, in bytes.
const BUFFER: usize = 1 << 18;

pub(super) struct Sink<W> {
    out: W,
    /// Where `buffer` belongs.
    start: u64,
    buffer: Vec<u8>,
}

impl<W: Write + Seek> Sink<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            start: 0,
            buffer: Vec::with_capacity(2 * BUFFER),
        }
    }

    /// Goes on at `offset`, with zeros up to there.
    pub(super) fn go_to(&mut self, offset: u64) -> Result<()> {
        let gap = offset.checked_sub(self.start + self.buffer.len() as u64);
        // Gaps are shorter than a block where both passes saw the same manifest.
        let Some(gap) = gap.filter(|gap| *gap < super::erofs::BLOCK) else {
            return Err(Error::Malformed {
                structure: "manifest",
                reason: "it was changed while it was read".to_owned(),
            });
        };
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        self.buffer.resize(self.buffer.len() + gap as usize, 0);
        Ok(())
    }

    /// The end of what was written in order, to be appended to.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes `bytes` at `offset`, which lies ahead or was left free, but not both.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let place = offset
            .checked_sub(self.start)
            .and_then(|at| self.buffer.get_mut(at as usize..at as usize + bytes.len()));
        match place {
            Some(place) => place.copy_from_slice(bytes),
            None => {
                self.out.seek(SeekFrom::Start(offset))?;
                self.out.write_all(bytes)?;
                self.out.seek(SeekFrom::Start(self.start))?;
            }
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.out.write_all(&self.buffer)?;
        self.start += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        Ok(self.out.flush()?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn bytes_reach_their_place_before_and_after_a_flush() {
        let mut out = Cursor::new(Vec::new());
        let mut sink = Sink::new(&mut out);
        sink.tail().extend_from_slice(b"abc...");
        sink.flush().unwrap();
        sink.go_to(8).unwrap();
        sink.tail().extend_from_slice(b"...x");
        sink.put(3, b"def").unwrap();
        sink.put(8, b"ghi").unwrap();
        sink.put(14, b"far").unwrap();
        sink.go_to(14).unwrap();
        sink.finish().unwrap();
        assert_eq!(out.into_inner(), b"abcdef\0\0ghix\0\0far");
    }

    #[test]
    fn going_back_is_an_error() {
        let mut sink = Sink::new(Cursor::new(Vec::new()));
        sink.tail().push(0);
        assert!(sink.go_to(0).is_err());
        assert!(sink.go_to(4097).is_err());
        assert!(sink.go_to(4096).is_ok());
    }
}
