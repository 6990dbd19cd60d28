//! The record that one rename replaces: which generation is current. Written in `docs/format.md`, section "State".
//!
//! A few lines of text, the last one an XXH3 checksum that finds damage, not malice.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use reclone_format::{Error as FormatError, ObjectId};
use xxhash_rust::xxh3::xxh3_64;

use crate::store::Validators;

/// The version of the record that this program reads and writes.
const VERSION: u32 = 1;
/// The longest record, in bytes.
pub const MAX_STATE: u64 = 64 * 1024;
const STRUCTURE: &str = "state record";

/// A generation in the pool. Its manifest, image and every object were synced before a record named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// The id of its manifest.
    pub manifest: ObjectId,
    /// The entries of its manifest.
    pub entries: u32,
}

/// As a line of a record has it: number, manifest id, entries.
impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.number, self.manifest, self.entries)
    }
}

impl FromStr for Generation {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        generation(text).ok_or_else(|| FormatError::Malformed {
            structure: "generation",
            reason: "it is not `NUMBER MANIFEST ENTRIES`".into(),
        })
    }
}

/// What a pool knows about itself and its store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The model that is followed.
    pub model: Option<String>,
    /// The highest serial accepted; 0 before the first.
    pub serial: u64,
    /// The SHA-256 digest of the head with that serial.
    pub head: Option<ObjectId>,
    /// The generation that boots.
    pub current: Option<Generation>,
    /// The one before.
    pub previous: Option<Generation>,
    /// 0 where the current generation has proved itself; else one more than the boots that it began without a good end.
    pub trial: u32,
    /// The generation that was rolled back and is not to be taken again.
    pub refused: Option<u64>,
    /// The store of the last commit, as it was named.
    pub store: Option<String>,
    /// What that store said about its head.
    pub validators: Validators,
}

impl State {
    /// The record as text.
    pub fn encode(&self) -> String {
        let mut text = format!("reclone-state {VERSION}\n");
        let mut line = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} {value}");
            }
        };
        let generation = Generation::to_string;
        line("model", self.model.clone());
        line("serial", Some(self.serial.to_string()));
        line("head", self.head.map(|id| id.to_string()));
        line("current", self.current.as_ref().map(generation));
        line("previous", self.previous.as_ref().map(generation));
        line("trial", Some(self.trial.to_string()));
        line("refused", self.refused.map(|number| number.to_string()));
        line("store", self.store.clone());
        line("etag", self.validators.etag.clone());
        line("last-modified", self.validators.last_modified.clone());
        let sum = xxh3_64(text.as_bytes());
        let _ = writeln!(text, "sum {sum:016x}");
        text
    }

    /// Reads a record. An unknown version, a wrong sum or any line that [`State::encode`] would not write is refused.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let bad = |reason: &str| FormatError::Malformed {
            structure: STRUCTURE,
            reason: reason.to_owned(),
        };
        let version = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("reclone-state "));
        match version.and_then(|version| version.parse().ok()) {
            Some(VERSION) => {}
            Some(found) => {
                return Err(FormatError::Version {
                    structure: STRUCTURE,
                    found,
                    known: VERSION,
                });
            }
            None => return Err(bad("its first line is not `reclone-state`")),
        }
        let (body, sum) = match text.rfind("\nsum ") {
            Some(newline) => text.split_at(newline + 1),
            None => return Err(bad("it ends early")),
        };
        if sum != format!("sum {:016x}\n", xxh3_64(body.as_bytes())) {
            return Err(bad("its checksum is wrong"));
        }
        let mut state = State::default();
        for line in body.lines().skip(1) {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            state.set(key, value).ok_or_else(|| {
                bad(&format!(
                    "its line `{}` can not be read",
                    key.escape_debug()
                ))
            })?;
        }
        if state.encode() != text {
            return Err(bad("its lines are not in order"));
        }
        Ok(state)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        if !is_plain(value) {
            return None;
        }
        let text = Some(value.to_owned());
        match key {
            "model" => self.model = text,
            "serial" => self.serial = value.parse().ok()?,
            "head" => self.head = Some(value.parse().ok()?),
            "current" => self.current = Some(generation(value)?),
            "previous" => self.previous = Some(generation(value)?),
            "trial" => self.trial = value.parse().ok()?,
            "refused" => self.refused = Some(value.parse().ok()?),
            "store" => self.store = text,
            "etag" => self.validators.etag = text,
            "last-modified" => self.validators.last_modified = text,
            _ => return None,
        }
        Some(())
    }

    /// The generations that must stay, and stay whole.
    pub fn generations(&self) -> impl Iterator<Item = Generation> + use<> {
        self.current.into_iter().chain(self.previous)
    }
}

fn generation(value: &str) -> Option<Generation> {
    let mut fields = value.split(' ');
    let generation = Generation {
        number: fields.next()?.parse().ok()?,
        manifest: fields.next()?.parse().ok()?,
        entries: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(generation)
}

/// A store's name as a record can hold it: control characters would break its lines.
pub fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use reclone_format::object_id_of;

    fn sample() -> State {
        let generation = |number| Generation {
            number,
            manifest: object_id_of(&[number as u8]),
            entries: 70_000,
        };
        State {
            model: Some("lab-a".into()),
            serial: 9,
            head: Some(object_id_of(b"head")),
            current: Some(generation(4)),
            previous: Some(generation(3)),
            trial: 1,
            refused: Some(5),
            store: Some("http://model/store with space".into()),
            validators: Validators {
                etag: Some("\"a b\"".into()),
                last_modified: Some("Mon, 23 Nov 2026 12:00:00 GMT".into()),
            },
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        for state in [sample(), State::default()] {
            assert_eq!(State::parse(&state.encode()).unwrap(), state);
        }
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_found() {
        let text = sample().encode();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let flipped = String::from_utf8(bytes).unwrap();
            assert!(State::parse(&flipped).is_err(), "bit flipped at {at}");
            assert!(State::parse(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_record_says_so() {
        let newer = sample()
            .encode()
            .replace("reclone-state 1", "reclone-state 2");
        assert_eq!(
            State::parse(&newer).unwrap_err().to_string(),
            "The state record has format version 2, this program reads 1: install a newer reclone on this machine"
        );
    }
}
