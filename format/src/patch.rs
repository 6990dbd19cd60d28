//! A patch of a base into a content, after Colin Percival's bsdiff ("Naive differences of executable code", 2003):
//! steps that add a difference to a run of the base, then insert new bytes, then move on in the base. Layout of the
//! three streams: `docs/format.md`, section "Patch".

use std::io::{self, BufRead, BufWriter, Read, Write};

use crate::wire::{Reader, Writer};
use crate::{Error, Result};

/// The most bytes of control and difference as they stand in a patch: they are held in memory while the rest streams.
pub const MAX_PATCH: u64 = 64 << 20;
const STRUCTURE: &str = "patch";
const PIECE: usize = 64 * 1024;

/// One step: bytes to add to the base's, bytes to insert, where to go on in the base relative to the end of the run.
pub type Step = (u64, u64, i64);

/// What a patch goes out from. It is read where the steps lead, so it need not be in memory.
pub trait Base {
    /// Bytes.
    fn size(&self) -> u64;
    /// Fills `buffer` with the bytes from `at` on; the caller stays within the size.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl Base for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(at).ok();
        let run = start.and_then(|start| self.get(start..)?.get(..buffer.len()));
        buffer.copy_from_slice(run.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Applies the patch in `payload`, which ends with it, to `base`, writing `size` bytes to `out`. Memory: what
/// [`MAX_PATCH`] allows, and three zstd windows.
pub fn apply(
    payload: &mut impl BufRead,
    base: &(impl Base + ?Sized),
    window_log: u8,
    size: u64,
    out: &mut impl Write,
) -> Result<()> {
    let mut fields = Reader::new(payload, STRUCTURE);
    let (control_length, diff_length) = (fields.u64()?, fields.u64()?);
    if control_length.saturating_add(diff_length) > MAX_PATCH {
        return Err(fields.bad("its control and difference are larger than 64 MiB"));
    }
    let control = fields.bytes(
        control_length as usize,
        MAX_PATCH as usize,
        "the control stream",
    )?;
    let diff = fields.bytes(
        diff_length as usize,
        MAX_PATCH as usize,
        "the difference stream",
    )?;
    let mut control = decoder(&control[..], window_log)?;
    let mut diff = decoder(&diff[..], window_log)?;
    let mut extra = decoder(fields.into_inner(), window_log)?;
    let (mut at, mut left) = (0i64, size);
    let (mut buffer, mut old) = (vec![0; PIECE], vec![0; PIECE]);
    // Most steps are short, and a write to a file is not.
    let mut out = BufWriter::with_capacity(PIECE, out);
    while left > 0 {
        let (add, insert, seek) = (control.u64()?, control.u64()?, control.i64()?);
        left = match add
            .checked_add(insert)
            .and_then(|step| left.checked_sub(step).filter(|_| step > 0))
        {
            Some(left) => left,
            None => return Err(control.bad("a step is empty, or longer than the object")),
        };
        let end = u64::try_from(at).ok().and_then(|at| at.checked_add(add));
        if end.is_none_or(|end| end > base.size()) {
            return Err(control.bad("a step leads out of the base"));
        }
        add_to(
            base,
            at as u64,
            add,
            &mut diff,
            [&mut buffer, &mut old],
            &mut out,
        )?;
        copy(&mut extra, insert, &mut buffer, &mut out)?;
        at = match (at + add as i64).checked_add(seek) {
            Some(at) => at,
            None => return Err(control.bad("a step leads out of the base")),
        };
    }
    out.flush()?;
    end(control)?;
    end(diff)?;
    end(extra)
}

/// Yields `count` bytes: those of the base from `at` on, each with one of the difference added.
fn add_to(
    base: &(impl Base + ?Sized),
    mut at: u64,
    mut count: u64,
    diff: &mut Reader<impl Read>,
    [buffer, old]: [&mut [u8]; 2],
    out: &mut impl Write,
) -> Result<()> {
    while count > 0 {
        let piece = buffer
            .len()
            .min(usize::try_from(count).unwrap_or(usize::MAX));
        let (buffer, old) = (&mut buffer[..piece], &mut old[..piece]);
        diff.fill(buffer)?;
        base.read_at(at, old)?;
        buffer
            .iter_mut()
            .zip(old)
            .for_each(|(byte, old)| *byte = byte.wrapping_add(*old));
        out.write_all(buffer)?;
        at += piece as u64;
        count -= piece as u64;
    }
    Ok(())
}

fn copy(
    source: &mut Reader<impl Read>,
    mut count: u64,
    buffer: &mut [u8],
    out: &mut impl Write,
) -> Result<()> {
    while count > 0 {
        let piece = buffer
            .len()
            .min(usize::try_from(count).unwrap_or(usize::MAX));
        source.fill(&mut buffer[..piece])?;
        out.write_all(&buffer[..piece])?;
        count -= piece as u64;
    }
    Ok(())
}

/// Checks that a stream has been used up, both what it decompresses to and its bytes in the patch.
fn end(mut stream: Decoder<impl BufRead>) -> Result<()> {
    let used = stream.at_end()?;
    match used && stream.into_inner().finish().fill_buf()?.is_empty() {
        true => Ok(()),
        false => Err(Error::malformed(
            STRUCTURE,
            "it has bytes that no step uses",
        )),
    }
}

type Decoder<R> = Reader<zstd::stream::read::Decoder<'static, R>>;

fn decoder<R: BufRead>(stream: R, window_log: u8) -> Result<Decoder<R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(stream)?.single_frame();
    decoder.window_log_max(u32::from(window_log))?;
    Ok(Reader::new(decoder, STRUCTURE))
}

/// The steps as bytes: what the control stream decompresses to.
pub fn control(steps: &[Step]) -> Result<Vec<u8>> {
    let mut control = Writer::new(Vec::with_capacity(steps.len() * 24));
    for (add, insert, seek) in steps {
        control.u64(*add)?;
        control.u64(*insert)?;
        control.i64(*seek)?;
    }
    Ok(control.into_inner())
}

/// A patch of its three streams, each one zstd frame.
pub fn join(control: &[u8], diff: &[u8], extra: &[u8]) -> Result<Vec<u8>> {
    let mut fields = Writer::new(Vec::with_capacity(
        16 + control.len() + diff.len() + extra.len(),
    ));
    fields.u64(control.len() as u64)?;
    fields.u64(diff.len() as u64)?;
    for stream in [control, diff, extra] {
        fields.bytes(stream)?;
    }
    Ok(fields.into_inner())
}

/// The bytes of a patch: what [`apply`] reads.
pub fn encode(steps: &[Step], diff: &[u8], extra: &[u8], window_log: u8) -> Result<Vec<u8>> {
    let compress = |stream: &[u8]| -> Result<Vec<u8>> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 19)?;
        encoder.window_log(u32::from(window_log))?;
        encoder.write_all(stream)?;
        Ok(encoder.finish()?)
    };
    join(
        &compress(&control(steps)?)?,
        &compress(diff)?,
        &compress(extra)?,
    )
}
