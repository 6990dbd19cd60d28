//! A patch, made of steps that the input chooses. Never panics; is accepted exactly when the plain rules of
//! `docs/format.md` accept it, and yields what they yield. The input itself, taken for a patch, does no harm either.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reclone_format::patch::{self, Step};

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    /// Small numbers mostly, and the extremes.
    fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX,
            254 => 1 << 63,
            253 => (1 << 63) - 1,
            small => u64::from(small),
        }
    }

    fn seek(&mut self) -> i64 {
        match self.byte() {
            128 => i64::MIN,
            127 => i64::MAX,
            small => i64::from(small as i8),
        }
    }
}

/// Section "Patch", word by word.
fn plain(steps: &[Step], diff: &[u8], extra: &[u8], base: &[u8], size: usize) -> Option<Vec<u8>> {
    let (mut steps, mut diff, mut extra) = (steps.iter(), diff.iter(), extra.iter());
    let (mut out, mut at) = (Vec::new(), 0i128);
    while out.len() < size {
        let &(add, insert, seek) = steps.next()?;
        let total = i128::from(add) + i128::from(insert);
        if total == 0 || total > (size - out.len()) as i128 {
            return None;
        }
        let start = usize::try_from(at).ok().filter(|at| *at <= base.len())?;
        let run = base.get(start..start + add as usize)?;
        for old in run {
            out.push(old.wrapping_add(*diff.next()?));
        }
        for _ in 0..insert {
            out.push(*extra.next()?);
        }
        at += i128::from(add) + i128::from(seek);
        i64::try_from(at).ok()?;
    }
    let unused = steps.len() + diff.len() + extra.len();
    (unused == 0).then_some(out)
}

/// A zstd frame with a window of 1 KiB that holds `content`, at most as long, uncompressed: quick to make.
fn frame(content: &[u8]) -> Vec<u8> {
    let last_raw_block = (content.len() as u32) << 3 | 1;
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0, 0];
    [&head[..], &last_raw_block.to_le_bytes()[..3], content].concat()
}

fn encode(steps: &[Step], diff: &[u8], extra: &[u8]) -> Vec<u8> {
    let step = |(add, insert, seek): &Step| {
        [add.to_le_bytes(), insert.to_le_bytes(), seek.to_le_bytes()].concat()
    };
    let (control, diff) = (
        frame(&steps.iter().flat_map(step).collect::<Vec<u8>>()),
        frame(diff),
    );
    let lengths = [control.len(), diff.len()].map(|length| (length as u64).to_le_bytes());
    [&lengths.concat()[..], &control, &diff, &frame(extra)].concat()
}

fn apply(payload: &[u8], base: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let result = patch::apply(&mut &payload[..], base, 10, size as u64, &mut out);
    assert!(out.len() <= size);
    result.ok().map(|()| out)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let base = input.bytes();
    let size = usize::from(input.byte()) + 1;
    apply(input.0, base, size);
    let (diff, extra) = (input.bytes(), input.bytes());
    let mut steps = Vec::new();
    while !input.0.is_empty() && steps.len() < 16 {
        steps.push((input.number(), input.number(), input.seek()));
    }
    let payload = encode(&steps, diff, extra);
    let expected = plain(&steps, diff, extra, base, size);
    assert_eq!(apply(&payload, base, size), expected);
});
