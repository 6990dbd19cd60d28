//! The examples in `docs/format.md` are the bytes of the golden files.
#![allow(clippy::unwrap_used)]

use std::path::Path;

/// A line `OFFSET  HEX HEX .. | note` holds if these bytes stand at that offset.
fn check(line: &str, bytes: &[u8]) {
    let (hex, _) = line
        .split_once('|')
        .expect("a hex line has bytes and a note");
    let mut words = hex.split_whitespace();
    let offset = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
    let wanted: Vec<u8> = words
        .take_while(|word| *word != "..")
        .map(|word| u8::from_str_radix(word, 16).unwrap())
        .collect();
    assert!(!wanted.is_empty(), "{line}");
    assert_eq!(
        bytes.get(offset..offset + wanted.len()),
        Some(&wanted[..]),
        "{line}"
    );
}

#[test]
fn the_examples_are_the_bytes_of_the_golden_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("../docs/format.md")).unwrap();
    let (mut checked, mut file) = (0, None);
    for line in document.lines() {
        if let Some(path) = line.strip_prefix("```hex ") {
            file = Some(std::fs::read(root.join("testdata/v1").join(path)).unwrap());
        } else if line == "```" {
            file = None;
        } else if let Some(bytes) = &file {
            check(line, bytes);
            checked += 1;
        }
    }
    assert!(checked >= 50, "{checked} lines");
    for example in ["head/first", "state/full"] {
        let text = std::fs::read_to_string(root.join("testdata/v1").join(example)).unwrap();
        let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
        assert!(document.contains(&indented), "{example}");
    }
}
