//! The state record of a pool, with its own checksum and with the right one. Never panics; what parses is written back to
//! the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reclone::state::State;
use xxhash_rust::xxh3::xxh3_64;

fn check(text: &str) {
    if let Ok(state) = State::parse(text) {
        assert_eq!(state.encode(), text);
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    check(text);
    let body = text.rfind("\nsum ").map_or(text, |at| &text[..=at]);
    check(&format!("{body}sum {:016x}\n", xxh3_64(body.as_bytes())));
});
