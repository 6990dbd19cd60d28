//! What is packed by a recipe is what zstd unpacks; what no recipe should say is refused. What zstd itself packs is made again
//! in the model's tests, which take it apart.

#![allow(clippy::unwrap_used)]

use std::io::Write;

use super::Repacker;
use super::recipe::{Block, Compressed, Item, MAX_BLOCK, Packing};
use crate::wire::Writer;

/// A frame's magic and header: a window of 4 MiB, nothing else.
const HEAD: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0, 12 << 3];
/// One sequence: after four literals, eight bytes from four before. Its tables have one symbol each: 4 literals, an offset of 4
/// and two bits, 5 + 3 bytes; then these bits, 3, and the end.
const REPEAT: [u8; 6] = [1, 0b01_01_01_00, 4, 2, 5, 0b111];
/// What that yields, and four literals.
const REPEATED: &[u8] = b"abcdabcdabcdwxyz";

fn block(packing: Packing, size: usize, is_last: bool) -> Item {
    Item::Block(Block {
        is_last,
        size,
        packing,
    })
}

/// A compressed block.
fn compressed(literals: u8, codes: &[u8], sequences: &[u8], content: &[u8], is_last: bool) -> Item {
    let compressed = Compressed {
        literals,
        codes: codes.to_vec(),
        sequences: sequences.to_vec(),
    };
    block(Packing::Compressed(compressed), content.len(), is_last)
}

/// Codes of one bit for `a` and `b`: 97 weights of 0, one of 1, and the last one, which goes without saying.
fn codes() -> Vec<u8> {
    let mut codes = vec![0; 50];
    (codes[0], codes[49]) = (127 + 98, 1);
    codes
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

/// What zstd unpacks of a frame of these blocks, in whatever pieces their content comes.
fn unpacked(blocks: &[Item], content: &[u8]) -> Vec<u8> {
    let items = [&[Item::Bytes(HEAD.into())], blocks, &[Item::End]].concat();
    let recipe = written(&items);
    let packed = repacked(&recipe, content, content.len()).unwrap();
    for piece in [1, 7] {
        assert_eq!(repacked(&recipe, content, piece).unwrap(), packed);
    }
    zstd::decode_all(&packed[..]).unwrap()
}

/// Why a recipe is refused.
fn refusal(items: &[Item], content: &[u8]) -> String {
    refusal_of(&written(items), content)
}

fn refusal_of(recipe: &[u8], content: &[u8]) -> String {
    let error = repacked(recipe, content, content.len().max(1)).unwrap_err();
    error.to_string()
}

#[test]
fn literals_are_what_is_in_no_match() {
    for literals in [0b0000, 0b0100, 0b1100] {
        let block = compressed(literals, &[], &REPEAT, REPEATED, true);
        assert_eq!(unpacked(&[block], REPEATED), REPEATED, "{literals}");
    }
    // One literal many times.
    let content = [b'x'; 1_000];
    let block = compressed(0b0101, &[], &[0], &content, true);
    assert_eq!(unpacked(&[block], &content), content);
}

#[test]
fn literals_are_written_with_the_codes_of_the_block_or_of_the_one_before() {
    let letter = |at: u32| b'a' + (at * at % 7 % 2) as u8;
    let content: Vec<u8> = (0..2_000).map(letter).collect();
    let (first, rest) = content.split_at(1_000);
    let (second, third) = rest.split_at(500);
    // Four streams; one; four with more bits for their lengths.
    let blocks = [
        compressed(0b0110, &codes(), &[0], first, false),
        compressed(0b0011, &[], &[0], second, false),
        compressed(0b1011, &[], &[0], third, true),
    ];
    assert_eq!(unpacked(&blocks, &content), content);
}

#[test]
fn a_table_is_used_again_where_a_block_says_so() {
    let again = [1, 0b11_11_11_00, 0b111];
    let blocks = [
        compressed(0b0100, &[], &REPEAT, REPEATED, false),
        compressed(0b0100, &[], &again, REPEATED, true),
    ];
    let content = REPEATED.repeat(2);
    assert_eq!(unpacked(&blocks, &content), content);
}

#[test]
fn blocks_of_all_kinds_and_what_stands_around_them_are_written() {
    let items = [
        Item::Plain(5),
        Item::Bytes(HEAD.into()),
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
fn recipes_that_lead_astray_are_refused_with_these_words() {
    let of = |literals, codes: &[u8], sequences: &[u8]| {
        let block = compressed(literals, codes, sequences, REPEATED, true);
        refusal(&[block, Item::End], REPEATED)
    };
    let raw = |sequences: &[u8]| of(0b0100, &[], sequences);
    let cases = [
        (raw(&[]), "sequences are cut off"),
        (raw(&REPEAT[..4]), "sequences are cut off"),
        (raw(&REPEAT[..5]), "a stream has no end"),
        (raw(&[1, 0x54, 4, 2, 5, 0]), "a stream has no end"),
        (raw(&[1, 0x54, 4, 2, 5, 0b11]), "sequences are cut off"),
        (
            raw(&[1, 0x54, 4, 32, 5, 0b111]),
            "a sequence has a code that there is not",
        ),
        (raw(&[1, 0xfc, 0b111]), "a table is missing"),
        (
            raw(&[1, 0x80, 0xff, 0xff, 0xff]),
            "an entropy table is not valid",
        ),
        (
            raw(&[1, 0x54, 17, 2, 0, 0b1111]),
            "a sequence leads out of its block",
        ),
        (
            raw(&[1, 0x54, 4, 2, 10, 0b111]),
            "a sequence leads out of its block",
        ),
        (of(2, &[], &REPEAT), "a table of codes is cut off"),
        (of(3, &[], &REPEAT), "codes are missing"),
        (of(2, &codes(), &REPEAT), "a literal has no code"),
        (
            refusal(&[Item::End], b"x"),
            "it ends before the content does",
        ),
        (
            refusal(&[Item::Plain(2), Item::End], b"x"),
            "it goes on after the content",
        ),
        (refusal(&[Item::Plain(2)], b"xx"), "it ends early"),
    ];
    for (found, words) in cases {
        assert_eq!(found, format!("The recipe is malformed: {words}"));
    }
}

#[test]
fn figures_out_of_bounds_are_refused_before_memory_is_taken() {
    for (bad, words) in [
        (&[3u8][..], "it has an item of the unknown kind 3"),
        (&[10], "it has an item of the unknown kind 10"),
        (&[1, 0, 0], "an item yields nothing"),
        (&[2, 0, 0, 0, 0, 0, 0, 0, 0], "an item yields nothing"),
        (&[4, 1, 0, 2, 0], "a block has a size that is not allowed"),
        (&[6, 0, 0, 0, 0], "a block has a size that is not allowed"),
        (
            &[8, 1, 0, 0, 0, 16],
            "a header of literals has more than four bits",
        ),
        (
            &[8, 1, 0, 0, 0, 4, 0, 1],
            "a description of codes has 256 bytes, at most 255 are allowed",
        ),
        (
            &[8, 1, 0, 0, 0, 4, 0, 0, 1, 0, 2, 0],
            "a section of sequences has 131073 bytes, at most 131072 are allowed",
        ),
    ] {
        assert_eq!(
            refusal_of(bad, b""),
            format!("The recipe is malformed: {words}")
        );
    }
    let all = [0; MAX_BLOCK];
    let items = [block(Packing::Raw, MAX_BLOCK, true), Item::End];
    assert!(repacked(&written(&items), &all, MAX_BLOCK).is_ok());
}

#[test]
fn a_damaged_recipe_is_refused_or_makes_other_bytes_and_does_no_harm() {
    let content = [REPEATED, &b"ab".repeat(600)].concat();
    let items = [
        Item::Bytes(HEAD.into()),
        compressed(0b0100, &[], &REPEAT, REPEATED, false),
        compressed(0b0110, &codes(), &[0], &content[REPEATED.len()..], true),
        Item::End,
    ];
    let good = written(&items);
    let whole = repacked(&good, &content, 512).unwrap();
    let (mut refused, mut other) = (0, 0);
    for at in 0..good.len() {
        for change in [0x01, 0x10, 0xff] {
            let mut damaged = good.clone();
            damaged[at] ^= change;
            match repacked(&damaged, &content, 512) {
                Ok(packed) => {
                    other += 1;
                    assert_ne!(packed, whole, "byte {at}");
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 50 && other > 10, "{refused} and {other}");
}
