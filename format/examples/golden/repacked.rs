//! A pack with an object that is compressed itself: bytes as they are, then a zstd frame, whose content has two bases in it.

use std::io::Write;

use reclone_format::patch;
use reclone_format::repack::Repacker;
use reclone_format::repack::recipe::{Block, Compressed, Item, Packing};
use reclone_format::wire::Writer;

use crate::Golden;
use crate::support::{compress, frame, noise, pack};

/// The object's content, and the recipe that makes the object of it.
pub struct Sample {
    /// The bases.
    pub bases: [Vec<u8>; 2],
    /// `head`, the bases with some bytes around them, `tail`.
    pub content: Vec<u8>,
    /// What the content does not tell.
    pub items: Vec<Item>,
}

/// The sample. Its one compressed block has one sequence: after six literals, twelve bytes from six before.
pub fn sample() -> Sample {
    let words = |seed| -> Vec<u8> {
        let word = |byte: u8| [b"model ", b"clone ", b"state ", b"stage "][usize::from(byte >> 6)];
        let random = noise(60, seed).into_iter();
        [128; 3]
            .into_iter()
            .chain(random)
            .flat_map(word)
            .copied()
            .collect()
    };
    let bases = [words(4), words(5)];
    let content = [b"head", &bases[0][..], b"--", &bases[1], b"tail"].concat();
    let compressed = Compressed {
        // As they are, their number in 12 bits.
        literals: 0b0100,
        codes: Vec::new(),
        // One sequence; three tables of one symbol: 6 literals, an offset of 8 and three bits, 9 + 3 bytes; the bits, 1, and the end.
        sequences: vec![1, 0b01_01_01_00, 6, 3, 9, 0b1001],
    };
    let size = content.len() - 8;
    let block = |packing, size, is_last| Block {
        is_last,
        size,
        packing,
    };
    let items = vec![
        Item::Plain(4),
        Item::Bytes(vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x60]),
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
    with("nothing", |items| items.insert(2, Item::Bytes(Vec::new())));
    with("too-short", |items| drop(items.remove(3)));
    with("too-long", |items| items.insert(4, Item::Plain(1)));
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
