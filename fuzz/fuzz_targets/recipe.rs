//! A recipe and the content that it is for. Never panics; yields the same in whatever pieces the content comes; what is read
//! of it is written back as it was.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use reclone_format::repack::Repacker;
use reclone_format::repack::recipe::Item;
use reclone_format::wire::{Reader, Writer};

/// All items up to the end, if they can be read, and how many bytes they are.
fn items(recipe: &[u8]) -> Option<(Vec<Item>, usize)> {
    let (mut fields, mut items) = (Reader::new(recipe, "recipe"), Vec::new());
    while items.last() != Some(&Item::End) {
        items.push(Item::read(&mut fields).ok()?);
    }
    Some((items, recipe.len() - fields.into_inner().len()))
}

fn repacked(recipe: &[u8], content: &[u8], piece: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut repacker = Repacker::new(recipe, &mut out).ok()?;
    for piece in content.chunks(piece) {
        repacker.write_all(piece).ok()?;
    }
    repacker.finish().ok()?;
    Some(out)
}

fuzz_target!(|data: &[u8]| {
    let (length, rest) = data.split_at(data.len().min(2));
    let length = usize::from(length.iter().fold(0, |sum: u16, byte| sum << 8 | u16::from(*byte)));
    let (content, recipe) = rest.split_at(length.min(rest.len()));
    // Some repetition, which a fuzzer finds too rarely.
    let content = [content, content, content].concat();
    if let Some((items, used)) = items(recipe) {
        let mut written = Writer::new(Vec::new());
        items.iter().for_each(|item| item.write(&mut written).expect("a vector takes all"));
        assert_eq!(written.into_inner(), recipe[..used]);
    }
    let whole = repacked(recipe, &content, content.len().max(1));
    assert_eq!(repacked(recipe, &content, 7), whole);
});
