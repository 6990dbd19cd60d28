//! A pack with an object that is compressed itself: bytes as they are, then a zstd frame, whose content has two bases in it.

use std::io::Write;

use reclone_format::repack::parse::{Guide, Sequence};
use reclone_format::repack::recipe::{Block, Compressed, Item, Job, Packing};
use reclone_format::repack::{Engine, Repacker};
use reclone_format::wire::Writer;
use reclone_format::{Result, patch};

use crate::Golden;
use crate::support::{compress, frame, noise, pack};

/// The object's content, and the recipe that makes the object of it.
pub struct Sample {
    /// The bases.
    pub bases: [Vec<u8>; 2],
    /// `head`, the bases with some bytes around them, `tail`.
    pub content: Vec<u8>,
    /// What can not be guessed.
    pub items: Vec<Item>,
}

/// Takes every guess, and counts them.
struct Counted(u16);

impl Guide for Counted {
    fn sequence(&mut self, _: usize, guess: Option<Sequence>) -> Result<Option<Sequence>> {
        self.0 += u16::from(guess.is_some());
        Ok(guess)
    }
}

/// The sample. In its one compressed block the first sequence is not as guessed: it is a byte shorter.
pub fn sample() -> Sample {
    let words = |seed| -> Vec<u8> {
        let word = |byte: u8| [b"model ", b"clone ", b"state ", b"stage "][usize::from(byte >> 6)];
        noise(60, seed)
            .into_iter()
            .flat_map(word)
            .copied()
            .collect()
    };
    let bases = [words(4), words(5)];
    let content = [b"head", &bases[0][..], b"--", &bases[1], b"tail"].concat();
    let job = Job::of_level(9).unwrap();
    let mut compressed = Compressed {
        literals: 0b0100,
        count: 1,
        ..Compressed::default()
    };
    let size = content.len() - 8;
    let block = |packing, size, is_last| Block {
        is_last,
        size,
        packing,
    };
    let mut engine = Engine::new(job);
    engine.begin_block();
    engine.add(&content[4..4 + size]);
    let mut first = First(None);
    let guessed = block(Packing::Raw, size, false);
    engine.write(&guessed, &mut first, &mut Vec::new()).unwrap();
    let mut shorter = first.0.unwrap();
    shorter.length -= 1;
    compressed.corrections.push((0, shorter));
    let mut engine = Engine::new(job);
    engine.begin_block();
    engine.add(&content[4..4 + size]);
    let mut count = Corrected(shorter, Counted(0));
    engine.write(&guessed, &mut count, &mut Vec::new()).unwrap();
    compressed.count = count.1.0;
    let items = vec![
        Item::Plain(4),
        Item::Bytes(vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x60]),
        Item::Frame(job),
        Item::Block(block(Packing::Compressed(compressed), size, false)),
        Item::Block(block(Packing::Raw, 4, true)),
        Item::End,
    ];
    Sample {
        bases,
        content,
        items,
    }
}

/// Keeps the first guess.
struct First(Option<Sequence>);

impl Guide for First {
    fn sequence(&mut self, _: usize, guess: Option<Sequence>) -> Result<Option<Sequence>> {
        self.0 = self.0.or(guess);
        Ok(guess)
    }
}

/// Has another first sequence than the guess.
struct Corrected(Sequence, Counted);

impl Guide for Corrected {
    fn sequence(&mut self, at: usize, guess: Option<Sequence>) -> Result<Option<Sequence>> {
        let guess = self.1.sequence(at, guess)?;
        Ok(if at == 0 { Some(self.0) } else { guess })
    }
}

/// A recipe's bytes.
pub fn written(items: &[Item]) -> Vec<u8> {
    let mut fields = Writer::new(Vec::new());
    items
        .iter()
        .for_each(|item| item.write(&mut fields).unwrap());
    fields.into_inner()
}

/// A frame's bytes: lengths, the recipe, the patch of the bases into `content`.
pub fn payload(sample: &Sample, recipe: &[u8]) -> Vec<u8> {
    let sizes = sample.bases.each_ref().map(|base| base.len() as u64);
    let steps = [(0, 4, 0), (sizes[0], 2, 0), (sizes[1], 4, 0)];
    let same = vec![0; (sizes[0] + sizes[1]) as usize];
    let patch = patch::encode(&steps, &same, b"head--tail", 17).unwrap();
    let recipe = compress(recipe, &[]);
    let numbers = [recipe.len(), sample.content.len()].map(|number| (number as u64).to_le_bytes());
    [&numbers.concat()[..], &recipe, &patch].concat()
}

/// The object.
pub fn object(sample: &Sample) -> Vec<u8> {
    let (recipe, mut object) = (written(&sample.items), Vec::new());
    let mut repacker = Repacker::new(&recipe[..], &mut object).unwrap();
    repacker.write_all(&sample.content).unwrap();
    repacker.finish().unwrap();
    object
}

/// Writes `recipe/first`, `pack/repacked` and `refused/recipe/…`.
pub fn write(golden: &Golden) {
    let sample = sample();
    let recipe = written(&sample.items);
    golden.write("recipe/first", &recipe);
    let bases = [&sample.bases[0][..], &sample.bases[1]];
    let object = object(&sample);
    let whole = |content: &[u8]| frame(0, &[], &[content], content);
    let frames = |payload: &[u8]| {
        let last = frame(3, &bases, &[&object], payload);
        pack(&[whole(bases[0]), whole(bases[1]), last]).0
    };
    let good = payload(&sample, &recipe);
    golden.write("pack/repacked", &frames(&good));
    let refused = |name: &str, payload: &[u8]| {
        golden.write(&format!("refused/recipe/{name}"), &frames(payload));
    };
    let with = |name: &str, change: fn(&mut Vec<Item>)| {
        let mut items = sample.items.clone();
        change(&mut items);
        refused(name, &payload(&sample, &written(&items)));
    };
    with("no-frame", |items| drop(items.remove(2)));
    with("too-short", |items| drop(items.remove(4)));
    with("too-long", |items| items.insert(5, Item::Plain(1)));
    with("no-end", |items| drop(items.pop()));
    refused("goes-on", &payload(&sample, &[&recipe[..], b"x"].concat()));
    refused("unknown-item", &payload(&sample, b"\x0a"));
    let large = [&(65u64 << 20).to_le_bytes()[..], &good[8..]].concat();
    refused("length", &large);
    let large = [&good[..8], &((1u64 << 30) + 1).to_le_bytes(), &good[16..]].concat();
    refused("content", &large);
    let mut other = good.clone();
    other[8] -= 1;
    refused("content-ends-early", &other);
}
