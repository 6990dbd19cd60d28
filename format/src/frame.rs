//! A frame's bytes → its objects, each checked against its id on the way. Streams: holds a zstd window and a buffer.

use std::io::{self, BufRead, BufReader, Read, Write};

use crate::pack::{Codec, Frame, PackedObject};
use crate::patch::Base;
use crate::{Error, ObjectHasher, Result, patch, repack};

const BUFFER: usize = 128 * 1024;

/// Where decoded objects go. For each object of the frame, in order: one `start`; and, where that said yes, `write`
/// until all its bytes came, and `complete` after its id was found right.
pub trait Sink {
    /// An object begins; whether it is wanted. What is not wanted is neither hashed nor written.
    fn start(&mut self, object: &PackedObject) -> io::Result<bool>;
    /// The next bytes of the object.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The object is whole and verified.
    fn complete(&mut self, object: &PackedObject) -> io::Result<()>;
}

/// Reads `frame` from `payload`, which yields exactly its bytes in the pack. `base` is the content of all its bases,
/// one after the other. Fails at the first object that is not what its id says, as all do of bases that are not theirs.
pub fn decode<S: Sink>(frame: &Frame, payload: impl Read, base: &[u8], sink: &mut S) -> Result<()> {
    decode_with(frame, payload, sink, |payload, objects| match frame.codec {
        Codec::Stored => objects.copy_from(payload),
        Codec::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_ref_prefix(payload, base)?.single_frame();
            decoder.window_log_max(u32::from(frame.window_log))?;
            objects.copy_from(&mut decoder)
        }
        Codec::Patch | Codec::Repacked => apply(frame, payload, base, objects),
    })
}

/// As [`decode`], of a frame that is a patch or has one: its bases are read where that leads and need not be in memory.
pub fn decode_patch<S: Sink>(
    frame: &Frame,
    payload: impl Read,
    base: &impl Base,
    sink: &mut S,
) -> Result<()> {
    if !matches!(frame.codec, Codec::Patch | Codec::Repacked) {
        return Err(Error::malformed("frame", "it is no patch"));
    }
    decode_with(frame, payload, sink, |payload, objects| {
        apply(frame, payload, base, objects)
    })
}

fn apply(
    frame: &Frame,
    payload: &mut impl BufRead,
    base: &(impl Base + ?Sized),
    out: &mut impl Write,
) -> Result<()> {
    match frame.codec {
        Codec::Repacked => repack::apply(payload, base, frame.window_log, out),
        _ => patch::apply(payload, base, frame.window_log, frame.content(), out),
    }
}

fn decode_with<S: Sink, R: Read>(
    frame: &Frame,
    payload: R,
    sink: &mut S,
    read: impl FnOnce(&mut BufReader<Source<io::Take<R>>>, &mut Objects<S>) -> Result<()>,
) -> Result<()> {
    let source = Source {
        inner: payload.take(frame.length),
        failed: false,
    };
    let mut payload = BufReader::with_capacity(BUFFER, source);
    let mut objects = Objects::new(frame, sink);
    let decoded = read(&mut payload, &mut objects);
    objects.outcome(decoded.map_err(|error| match error {
        Error::Io(error) if !payload.get_ref().failed => {
            Error::malformed("frame", format!("it does not decompress: {error}"))
        }
        other => other,
    }))?;
    match payload.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(Error::malformed(
            "frame",
            "it goes on after its last object",
        )),
    }
}

/// Remembers whether reading itself failed: any other failure is of the bytes that were read.
struct Source<R> {
    inner: R,
    failed: bool,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(buffer);
        self.failed |= result.is_err();
        result
    }
}

/// Cuts a stream of bytes into the objects of a frame.
struct Objects<'a, S> {
    left: std::slice::Iter<'a, PackedObject>,
    current: Option<Current<'a>>,
    sink: &'a mut S,
    error: Option<Error>,
}

struct Current<'a> {
    object: &'a PackedObject,
    missing: u64,
    hasher: Option<ObjectHasher>,
}

impl<'a, S: Sink> Objects<'a, S> {
    fn new(frame: &'a Frame, sink: &'a mut S) -> Self {
        Self {
            left: frame.objects.iter(),
            current: None,
            sink,
            error: None,
        }
    }

    /// Takes everything `source` yields.
    fn copy_from(&mut self, source: &mut impl Read) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.write_all(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.current.is_none() {
                self.start()?;
            }
            let Some(current) = &mut self.current else {
                return Err(Error::malformed(
                    "frame",
                    "it yields more bytes than its objects have",
                ));
            };
            let count = usize::try_from(current.missing)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            if let Some(hasher) = &mut current.hasher {
                hasher.update(&bytes[..count]);
                self.sink.write(&bytes[..count])?;
            }
            current.missing -= count as u64;
            bytes = &bytes[count..];
            if current.missing == 0 {
                self.finish_object()?;
            }
        }
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        if let Some(object) = self.left.next() {
            let hasher = self.sink.start(object)?.then(ObjectHasher::new);
            self.current = Some(Current {
                object,
                missing: object.size,
                hasher,
            });
        }
        Ok(())
    }

    fn finish_object(&mut self) -> Result<()> {
        let Some(Current {
            object,
            hasher: Some(hasher),
            ..
        }) = self.current.take()
        else {
            return Ok(());
        };
        match hasher.finish() {
            found if found == object.id => Ok(self.sink.complete(object)?),
            found => Err(Error::Damaged {
                expected: object.id,
                found,
            }),
        }
    }

    /// The first thing that went wrong: with the objects, else with the decoder, else that bytes are missing.
    fn outcome(self, decoded: Result<()>) -> Result<()> {
        match self.error {
            Some(error) => Err(error),
            None => decoded.and_then(|()| match (self.current, self.left.len()) {
                (None, 0) => Ok(()),
                _ => Err(Error::malformed(
                    "frame",
                    "it ends before its last object does",
                )),
            }),
        }
    }
}

/// So that decoders can write into it; the precise error is kept for [`Objects::outcome`].
impl<S: Sink> Write for Objects<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes).map(|()| bytes.len()).map_err(|error| {
            self.error = Some(error);
            io::ErrorKind::Other.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
