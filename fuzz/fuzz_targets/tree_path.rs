//! Paths and their order. Never panics; what is accepted stays below the top, and the order is the one that
//! `docs/format.md` describes.
#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use reclone_format::TreePath;

/// Section "Path", word by word.
fn plain_order(a: &[u8], b: &[u8]) -> Ordering {
    let key = |path: &[u8]| -> (bool, Vec<Vec<u8>>, Vec<u8>) {
        let mut names: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(Vec::from).collect();
        let name = names.pop().unwrap_or_default();
        (!path.is_empty(), names, name)
    };
    key(a).cmp(&key(b))
}

fuzz_target!(|data: &[u8]| {
    let lines = data.split(|byte| *byte == b'\n').take(16);
    let paths: Vec<TreePath> = lines
        .filter_map(|line| TreePath::from_bytes(line.to_vec()).ok())
        .collect();
    for path in &paths {
        let names = path.as_bytes().split(|byte| *byte == b'/');
        for name in names.filter(|_| !path.is_root()) {
            assert!(!matches!(name, b"" | b"." | b".."));
            assert!(name.len() <= 255 && !name.contains(&0));
        }
        assert!(path.as_bytes().len() <= 4095);
        let parent = TreePath::from_bytes(path.parent().to_vec()).expect("a parent is a path");
        if !path.is_root() {
            assert!(parent < *path);
            assert_eq!(parent.join(path.name()).expect("it was one"), *path);
            assert_eq!(path.depth(), parent.depth() + 1);
        }
        for other in &paths {
            assert_eq!(
                path.cmp(other),
                plain_order(path.as_bytes(), other.as_bytes())
            );
        }
    }
});
