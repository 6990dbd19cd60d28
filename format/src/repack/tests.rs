//! What is packed by a recipe is what zstd unpacks; what no recipe should say is refused.

#![allow(clippy::unwrap_used)]

use std::io::Write;

use super::parse::Sequence;
use super::recipe::{Block, Compressed, Item, Job, MAX_BLOCK, Packing};
use super::{Engine, Guide, Repacker};
use crate::Result;
use crate::wire::Writer;

/// A frame's magic and header: a window of 4 MiB, nothing else.
const HEAD: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0, 12 << 3];

/// Words in a random order, with a random one now and then.
fn text(size: usize) -> Vec<u8> {
    let (mut text, mut seed) = (Vec::with_capacity(size + 16), 1u64);
    while text.len() < size {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let word = match seed >> 60 {
            0 => seed >> 20,
            _ => (seed >> 52 & 63).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24,
        };
        text.extend(format!("{word:x} ").bytes());
    }
    text.truncate(size);
    text
}

/// Takes every guess, and counts them.
#[derive(Default)]
struct Counted(usize);

impl Guide for Counted {
    fn sequence(&mut self, _: usize, guess: Option<Sequence>) -> Result<Option<Sequence>> {
        self.0 += usize::from(guess.is_some());
        Ok(guess)
    }
}

/// The items of a frame of `content` in blocks of this size, each with as many sequences as are guessed, and how many.
fn items(job: Job, content: &[u8], size: usize) -> (Vec<Item>, usize) {
    let (mut engine, mut all) = (Engine::new(job), 0);
    let mut items = vec![Item::Bytes(HEAD.into()), Item::Frame(job)];
    let count = content.chunks(size).count();
    for (at, content) in content.chunks(size).enumerate() {
        let mut compressed = Compressed {
            // Literals as they are, of any number.
            literals: 0b1100,
            ..Compressed::default()
        };
        engine.begin_block();
        engine.add(content);
        let mut guide = Counted::default();
        let mut block = Block {
            is_last: at + 1 == count,
            size: content.len(),
            packing: Packing::Compressed(compressed.clone()),
        };
        engine.write(&block, &mut guide, &mut Vec::new()).unwrap();
        compressed.count = guide.0 as u16;
        all += guide.0;
        block.packing = Packing::Compressed(compressed);
        items.push(Item::Block(block));
    }
    items.push(Item::End);
    (items, all)
}

fn written(items: &[Item]) -> Vec<u8> {
    let mut fields = Writer::new(Vec::new());
    items
        .iter()
        .for_each(|item| item.write(&mut fields).unwrap());
    fields.into_inner()
}

/// What a recipe makes of `content`, which comes in pieces of this size.
fn repacked(recipe: &[u8], content: &[u8], piece: usize) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut repacker = Repacker::new(recipe, &mut out).map_err(std::io::Error::other)?;
    content
        .chunks(piece)
        .try_for_each(|piece| repacker.write_all(piece))?;
    repacker.finish().map_err(std::io::Error::other)?;
    Ok(out)
}

/// Why a recipe is refused.
fn refusal(items: &[Item], content: &[u8]) -> String {
    let error = repacked(&written(items), content, content.len().max(1)).unwrap_err();
    error.to_string()
}

#[test]
fn what_is_guessed_unpacks_to_the_content_at_every_level() {
    let content = text(400_000);
    let mut counts = Vec::new();
    for level in 5..=11 {
        let job = Job::of_level(level).unwrap();
        let (items, count) = items(job, &content, MAX_BLOCK);
        let packed = repacked(&written(&items), &content, 10_007).unwrap();
        assert_eq!(zstd::decode_all(&packed[..]).unwrap(), content, "{level}");
        assert_eq!(
            packed,
            repacked(&written(&items), &content, 400_000).unwrap()
        );
        counts.push(count);
    }
    assert!(counts.iter().all(|count| *count > 10_000), "{counts:?}");
    assert!(Job::of_level(4).is_none() && Job::of_level(12).is_none());
}

#[test]
fn after_a_job_only_its_end_is_referred_to() {
    let mut job = Job::of_level(9).unwrap();
    (job.size_log, job.overlap_log) = (17, 12);
    let part = text(6_000);
    let content = [&part[..], &text(MAX_BLOCK - 6_000), &part].concat();
    let packed = |job| {
        let (items, _) = items(job, &content, MAX_BLOCK);
        repacked(&written(&items), &content, 4_096).unwrap()
    };
    let (cut, whole) = (packed(job), packed(Job::of_level(9).unwrap()));
    assert_eq!(zstd::decode_all(&cut[..]).unwrap(), content);
    assert_eq!(zstd::decode_all(&whole[..]).unwrap(), content);
    assert!(
        cut.len() > whole.len() + 1_000,
        "{} {}",
        cut.len(),
        whole.len()
    );
}

#[test]
fn blocks_of_all_kinds_and_what_stands_around_them_are_written() {
    let job = Job::of_level(9).unwrap();
    let block = |packing, size, is_last| {
        Item::Block(Block {
            is_last,
            size,
            packing,
        })
    };
    let items = [
        Item::Plain(5),
        Item::Bytes(HEAD.into()),
        Item::Frame(job),
        block(Packing::Raw, 3, false),
        block(Packing::Run, 1_000, false),
        block(Packing::Raw, 0, true),
        Item::Bytes(b"tail".into()),
        Item::Plain(2),
        Item::End,
    ];
    let content = [&b"plainraw"[..], &[7; 1_000], b"ab"].concat();
    for piece in [1, 7, 2_000] {
        let packed = repacked(&written(&items), &content, piece).unwrap();
        let frame = packed.strip_prefix(b"plain").unwrap();
        let frame = frame.strip_suffix(b"tailab").unwrap();
        assert_eq!(zstd::decode_all(frame).unwrap(), content[5..1_008]);
    }
}

#[test]
fn a_correction_takes_the_place_of_a_guess() {
    let content = text(50_000);
    let job = Job::of_level(6).unwrap();
    let (mut items, count) = items(job, &content, MAX_BLOCK);
    let right = repacked(&written(&items), &content, 50_000).unwrap();
    let Item::Block(Block {
        packing: Packing::Compressed(block),
        ..
    }) = &mut items[2]
    else {
        panic!("the third is a block");
    };
    let literals = content.len() as u32 - 8;
    let repeated = Sequence {
        literals,
        offset: 3 + 4,
        length: 4,
    };
    block.count = 1;
    block.corrections = vec![(0, repeated)];
    let mut short = content.clone();
    short.copy_within(literals as usize - 4..literals as usize, literals as usize);
    let other = repacked(&written(&items), &short, 50_000).unwrap();
    assert_eq!(zstd::decode_all(&other[..]).unwrap(), short);
    assert_ne!(other, right);
    assert!(count > 1_000, "{count}");
}

#[test]
fn recipes_that_lead_astray_are_refused_with_these_words() {
    let job = Job::of_level(9).unwrap();
    let content = text(5_000);
    let compressed = |change: &dyn Fn(&mut Compressed)| {
        let (mut items, _) = items(job, &content, MAX_BLOCK);
        if let Item::Block(Block {
            packing: Packing::Compressed(block),
            ..
        }) = &mut items[2]
        {
            change(block);
        }
        refusal(&items, &content)
    };
    let corrected = |at: u16, [literals, offset, length]: [u32; 3]| {
        let sequence = Sequence {
            literals,
            offset,
            length,
        };
        compressed(&|block| block.corrections = vec![(at, sequence)])
    };
    let cases = [
        (
            compressed(&|block| block.count = u16::MAX),
            "a block has fewer sequences than it says",
        ),
        (
            corrected(0, [u32::MAX, 4, 3]),
            "a sequence leads out of its block",
        ),
        (corrected(0, [0, 0, 3]), "a sequence leads out of its block"),
        (
            corrected(u16::MAX, [0, 4, 3]),
            "a correction is of no sequence",
        ),
        (
            compressed(&|block| block.literals = 2),
            "a table of codes is cut off",
        ),
        (compressed(&|block| block.literals = 3), "codes are missing"),
        (
            compressed(&|block| block.modes = 0xff),
            "a table is missing",
        ),
        (
            compressed(&|block| block.modes = 0x40),
            "a table has no symbol",
        ),
        (
            compressed(&|block| {
                block.modes = 0x40;
                block.tables[0] = vec![0];
            }),
            "an entropy table lacks a symbol",
        ),
        (
            compressed(&|block| {
                block.modes = 0x80;
                block.tables[0] = vec![0xff; 9];
            }),
            "an entropy table is not valid",
        ),
        (
            refusal(&[Item::End], b"x"),
            "it ends before the content does",
        ),
        (
            refusal(&[Item::Plain(2), Item::End], b"x"),
            "it goes on after the content",
        ),
        (refusal(&[Item::Plain(2)], b"xx"), "it ends early"),
        (
            refusal(&[items(job, &content, 5_000).0[2].clone()], b"x"),
            "it has a block before its frame",
        ),
        (
            refusal(&vec![Item::Frame(job); 65], b"x"),
            "it has too many frames",
        ),
    ];
    for (found, words) in cases {
        assert_eq!(found, format!("The recipe is malformed: {words}"));
    }
}

#[test]
fn figures_out_of_bounds_are_refused_before_memory_is_taken() {
    let good = written(&[Item::Frame(Job::of_level(11).unwrap())]);
    assert_eq!(good, [3, 22, 22, 6, 5, 2, 24, 20]);
    for (at, figure) in [
        (1, 9),
        (1, 23),
        (2, 13),
        (2, 23),
        (3, 0),
        (3, 7),
        (4, 3),
        (4, 7),
        (5, 3),
        (6, 16),
        (6, 25),
        (7, 9),
        (7, 24),
    ] {
        let mut bad = good.clone();
        bad[at] = figure;
        let error = repacked(&bad, b"", 1).unwrap_err().to_string();
        let words = "a frame was compressed with figures that are not allowed";
        assert_eq!(
            error,
            format!("The recipe is malformed: {words}"),
            "{at} {figure}"
        );
    }
    for (bad, words) in [
        (&[10u8][..], "it has an item of the unknown kind 10"),
        (&[4, 1, 0, 2, 0], "a block has a size that is not allowed"),
        (&[6, 0, 0, 0, 0], "a block has a size that is not allowed"),
    ] {
        let error = repacked(bad, b"", 1).unwrap_err().to_string();
        assert_eq!(error, format!("The recipe is malformed: {words}"));
    }
}

#[test]
fn a_damaged_recipe_is_refused_or_makes_other_bytes_and_does_no_harm() {
    let content = text(3_000);
    let (mut items, _) = items(Job::of_level(5).unwrap(), &content, 1_000);
    // A table of each kind, so that their descriptions are damaged too: one code for all, and counts of 16, 8, 8.
    for (at, item) in items.iter_mut().enumerate() {
        if let Item::Block(Block {
            packing: Packing::Compressed(block),
            ..
        }) = item
        {
            let symbol = Sequence {
                literals: 4,
                offset: 7,
                length: 4,
            };
            block.corrections = vec![(0, symbol)];
            block.tables[at % 3] = vec![0x10, 0x4a, 0x52];
            block.modes = 0x80 >> (2 * (at % 3));
        }
    }
    let recipe = written(&items);
    let (mut refused, mut other) = (0, 0);
    for at in 0..recipe.len() {
        for flipped in [1, 0x10, 0x80, 0xff] {
            let mut damaged = recipe.clone();
            damaged[at] ^= flipped;
            match repacked(&damaged, &content, 512) {
                Ok(_) => other += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100, "{refused} and {other}");
}
