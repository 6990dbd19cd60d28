//! The state records of `format/testdata/v1`: what is good reads and writes back as it was, what is malformed is refused
//! with these words.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use reclone::state::State;

fn read(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../format/testdata/v1");
    std::fs::read_to_string(folder.join(path)).unwrap()
}

#[test]
fn records_write_back_as_they_were() {
    let empty = read("state/empty");
    assert_eq!(State::parse(&empty).unwrap(), State::default());
    assert_eq!(State::default().encode(), empty);
    let full = read("state/full");
    let state = State::parse(&full).unwrap();
    assert_eq!(state.encode(), full);
    assert_eq!((state.serial, state.trial, state.refused), (3, 1, Some(5)));
    assert_eq!(state.current.unwrap().number, 2);
    assert_eq!(state.previous.unwrap().entries, 13);
    assert_eq!(state.store.unwrap(), "http://model.lab/a store");
    assert_eq!(state.validators.etag.unwrap(), "\"a b\"");
}

#[test]
fn malformed_records_are_refused_with_these_words() {
    let cases = [
        ("checksum", "malformed: its checksum is wrong"),
        ("cut", "malformed: its checksum is wrong"),
        (
            "generation-short",
            "malformed: its line `previous` can not be read",
        ),
        ("leading-zero", "malformed: its lines are not in order"),
        ("line-twice", "malformed: its lines are not in order"),
        ("no-checksum", "malformed: it ends early"),
        (
            "other-file",
            "malformed: its first line is not `reclone-state`",
        ),
        ("out-of-order", "malformed: its lines are not in order"),
        (
            "unknown-line",
            "malformed: its line `colour` can not be read",
        ),
    ];
    for (name, words) in cases {
        let error = State::parse(&read(&format!("refused/state/{name}"))).unwrap_err();
        assert_eq!(error.to_string(), format!("The state record is {words}"));
    }
    assert_eq!(
        State::parse(&read("refused/state/version-2"))
            .unwrap_err()
            .to_string(),
        "The state record has format version 2, this program reads 1: install a newer reclone on this machine"
    );
}
