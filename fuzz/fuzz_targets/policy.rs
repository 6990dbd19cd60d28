//! A policy, and a path that it is asked about. Never panics; an error names a place in the file; a folder that is kept, seeded or excluded is so
//! with everything in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reclone_format::{Policy, Rule};

fuzz_target!(|data: (&[u8], &[u8])| {
    let (text, path) = data;
    let mut policy = Policy::built_in();
    if let Err(error) = policy.add("policy", text) {
        assert!(error.line >= 1 && error.line <= text.len() + 1 && error.column >= 1);
    }
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    let path = parts.collect::<Vec<_>>().join(&b'/');
    let rule = policy.rule(&path, true);
    if matches!(rule, Rule::Keep | Rule::Seed | Rule::Exclude) && !path.is_empty() {
        assert_eq!(policy.rule(&[&path[..], b"/below"].concat(), false), rule);
    }
});
