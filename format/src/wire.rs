//! Little-endian fields with bounds. The one place where bytes become numbers and back.

use std::io::{self, Read, Write};

use crate::{Error, Result};

/// Reads fields from a byte source; every failure names the structure being read.
pub struct Reader<R> {
    inner: R,
    structure: &'static str,
}

impl<R: Read> Reader<R> {
    /// Reads fields of `structure` (its name in `docs/format.md`) from `inner`.
    pub fn new(inner: R, structure: &'static str) -> Self {
        Self { inner, structure }
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Fills `bytes` or fails.
    pub fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.inner
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.bad("it ends early"),
                _ => Error::Io(error),
            })
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian, two's complement.
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// `length` bytes into a new vector; refused above `limit` before anything is allocated.
    pub fn bytes(&mut self, length: usize, limit: usize, what: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.append(length, limit, what, &mut bytes)?;
        Ok(bytes)
    }

    /// The same at the end of a vector.
    pub fn append(
        &mut self,
        length: usize,
        limit: usize,
        what: &str,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        if length > limit {
            return Err(self.bad(format!(
                "{what} has {length} bytes, at most {limit} are allowed"
            )));
        }
        let start = bytes.len();
        bytes.reserve_exact(length);
        bytes.resize(start + length, 0);
        self.fill(&mut bytes[start..])
    }

    /// Whether the source is at its end; reads one byte to find out, so it is the last call.
    pub fn at_end(&mut self) -> Result<bool> {
        let mut byte = [0];
        loop {
            match self.inner.read(&mut byte) {
                Ok(count) => return Ok(count == 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Io(error)),
            }
        }
    }

    /// The error for this structure.
    pub fn bad(&self, reason: impl Into<String>) -> Error {
        Error::malformed(self.structure, reason)
    }

    /// Gives the source back.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

/// Writes fields; the twin of [`Reader`].
pub struct Writer<W> {
    inner: W,
}

impl<W: Write> Writer<W> {
    /// Writes fields to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner }
    }

    /// These bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.inner.write_all(bytes)?)
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> Result<()> {
        self.bytes(&[value])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, value: u16) -> Result<()> {
        self.bytes(&value.to_le_bytes())
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) -> Result<()> {
        self.bytes(&value.to_le_bytes())
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) -> Result<()> {
        self.bytes(&value.to_le_bytes())
    }

    /// Eight bytes, little-endian, two's complement.
    pub fn i64(&mut self, value: i64) -> Result<()> {
        self.bytes(&value.to_le_bytes())
    }

    /// Gives the sink back.
    pub fn into_inner(self) -> W {
        self.inner
    }
}
