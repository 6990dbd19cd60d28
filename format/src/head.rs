//! The store's one mutable file: which generation is newest, and how to get it. Written in `docs/format.md`, "Head".
//!
//! Text, so that `curl` shows it and `minisign` checks it: body lines, then the four lines of its signature.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::str::FromStr;

use crate::manifest::MAX_ENTRIES;
use crate::pack::{MIN_INDEX, PackId};
use crate::signature::SIGNATURE_START;
use crate::{Error, ObjectId, PublicKey, Result};

/// The largest head, in bytes.
pub const MAX_HEAD: usize = 1 << 20;
/// The most packs, and the most deltas, that a head names.
pub const MAX_PACKS: usize = 4096;
/// The longest model name, in bytes.
pub const MAX_MODEL_NAME: usize = 64;
const VERSION: u32 = 1;

/// The manifest of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRef {
    /// Its name as an object.
    pub id: ObjectId,
    /// Bytes.
    pub size: u64,
    /// Entries.
    pub entries: u32,
}

/// A pack of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRef {
    /// Its name.
    pub id: PackId,
    /// Bytes.
    pub size: u64,
    /// Bytes from its start that hold header, index and, in a generation's own pack, the manifest's frame.
    pub prelude: u64,
}

/// A delta pack of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaRef {
    /// The generation that a clone must have for this pack.
    pub from: u64,
    /// The pack.
    pub pack: PackRef,
}

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The model's name: letters, digits, `.`, `_` and `-`.
    pub model: String,
    /// Rises with every head that is published.
    pub serial: u64,
    /// The newest generation.
    pub generation: u64,
    /// When it was published, seconds since 1970.
    pub created: i64,
    /// Its manifest.
    pub manifest: ManifestRef,
    /// Bytes of all its regular files.
    pub content: u64,
    /// The packs that hold its objects, newest first; the first holds the manifest.
    pub packs: Vec<PackRef>,
    /// Shorter ways from older generations.
    pub deltas: Vec<DeltaRef>,
}

impl Head {
    /// The body, to be signed; the signature's four lines follow it in the file.
    pub fn encode(&self) -> String {
        let mut text = format!("reclone-head {VERSION}\n");
        let manifest = &self.manifest;
        let _ = writeln!(
            text,
            "model {}\nserial {}\ngeneration {}",
            self.model, self.serial, self.generation
        );
        let _ = writeln!(text, "created {}", self.created);
        let _ = writeln!(
            text,
            "manifest {} {} {}",
            manifest.id, manifest.size, manifest.entries
        );
        let _ = writeln!(text, "content {}", self.content);
        for pack in &self.packs {
            let _ = writeln!(text, "pack {} {} {}", pack.id, pack.size, pack.prelude);
        }
        for DeltaRef { from, pack } in &self.deltas {
            let _ = writeln!(
                text,
                "delta {from} {} {} {}",
                pack.id, pack.size, pack.prelude
            );
        }
        text
    }

    /// Checks the signature, then reads the body; nothing of an unsigned body is looked at.
    pub fn verify(bytes: &[u8], key: &PublicKey) -> Result<Self> {
        let (body, signature) = split(bytes)?;
        key.verify(body.as_bytes(), signature)?;
        Self::parse(body)
    }

    /// Reads a body. Only for bytes whose signature was checked, or of the publisher's own.
    pub fn parse(body: &str) -> Result<Self> {
        let mut lines = Lines {
            lines: body.lines(),
            structure: "head",
        };
        let version: u32 = lines.field("reclone-head")?;
        if version != VERSION {
            return Err(Error::Version {
                structure: "head",
                found: version,
                known: VERSION,
            });
        }
        let model: String = lines.field("model")?;
        let serial = lines.field("serial")?;
        let generation = lines.field("generation")?;
        let created = lines.field("created")?;
        let [id, size, entries] = lines.fields("manifest")?;
        let manifest = ManifestRef {
            id: id.parse()?,
            size: number("manifest", size)?,
            entries: number("manifest", entries)?,
        };
        let content = lines.field("content")?;
        let mut head = Head {
            model,
            serial,
            generation,
            created,
            manifest,
            content,
            packs: Vec::new(),
            deltas: Vec::new(),
        };
        for line in lines.lines {
            head.read_pack(line)?;
        }
        head.check()?;
        match head.encode() == body {
            true => Ok(head),
            false => Err(Error::malformed(
                "head",
                "it is not written in the one accepted form: plain decimal numbers, one newline after each line",
            )),
        }
    }

    fn read_pack(&mut self, line: &str) -> Result<()> {
        let pack = |id: &str, size: &str, prelude: &str| -> Result<PackRef> {
            Ok(PackRef {
                id: id.parse()?,
                size: number(line, size)?,
                prelude: number(line, prelude)?,
            })
        };
        match *line.split(' ').collect::<Vec<_>>() {
            ["pack", id, size, prelude] if self.deltas.is_empty() => {
                self.packs.push(pack(id, size, prelude)?)
            }
            ["delta", from, id, size, prelude] => {
                self.deltas.push(DeltaRef {
                    from: number(line, from)?,
                    pack: pack(id, size, prelude)?,
                });
            }
            _ => return Err(bad(line)),
        }
        Ok(())
    }

    /// Every pack that the head names, the delta packs last.
    pub fn all_packs(&self) -> impl Iterator<Item = &PackRef> {
        let deltas = self.deltas.iter().map(|delta| &delta.pack);
        self.packs.iter().chain(deltas)
    }

    /// The rules between the fields.
    pub fn check(&self) -> Result<()> {
        let name_char =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let mut packs = HashSet::new();
        let mut deltas = HashSet::new();
        let problem = if self.model.is_empty()
            || self.model.len() > MAX_MODEL_NAME
            || !self.model.bytes().all(name_char)
        {
            "its model name is not 1 to 64 letters, digits, `.`, `_` or `-`"
        } else if self.serial == 0 || self.generation == 0 || self.generation > self.serial {
            "its serial and its generation do not fit each other"
        } else if self.manifest.entries == 0
            || self.manifest.entries > MAX_ENTRIES
            || self.manifest.size == 0
        {
            "its manifest is impossibly small or large"
        } else if self.packs.is_empty()
            || self.packs.len() > MAX_PACKS
            || self.deltas.len() > MAX_PACKS
        {
            "it names no pack, or too many"
        } else if self
            .all_packs()
            .any(|pack| pack.prelude < MIN_INDEX || pack.prelude > pack.size)
        {
            "a pack's prelude is longer than the pack, or too short for an index"
        } else if self
            .deltas
            .iter()
            .any(|delta| delta.from == 0 || delta.from >= self.generation)
        {
            "a delta does not come from an older generation"
        } else if !self.packs.iter().all(|pack| packs.insert(pack.id))
            || !self
                .deltas
                .iter()
                .all(|delta| deltas.insert((delta.from, delta.pack.id)))
        {
            "it names a pack or a delta twice"
        } else {
            return Ok(());
        };
        Err(Error::malformed("head", problem))
    }
}

/// Cuts a signed file into its body and its signature's four lines.
pub fn split(bytes: &[u8]) -> Result<(&str, &str)> {
    if bytes.len() > MAX_HEAD {
        return Err(Error::malformed("head", "it is larger than 1 MiB"));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| Error::malformed("head", "it is not text"))?;
    match text.find(&format!("\n{SIGNATURE_START}")) {
        Some(newline) => {
            let (body, signature) = text.split_at(newline + 1);
            check_signature_lines(signature)?;
            Ok((body, signature))
        }
        None => Err(Error::Signature("it carries no signature".into())),
    }
}

/// Nothing signs the first line or what stands around the lines: so there is one way to write it.
fn check_signature_lines(signature: &str) -> Result<()> {
    let lines = signature.bytes().filter(|byte| *byte == b'\n').count();
    if lines == 4 && signature.ends_with('\n') && !signature.contains('\r') {
        return Ok(());
    }
    Err(Error::Signature(
        "its signature is not four lines, each ended by one newline".into(),
    ))
}

struct Lines<'a> {
    lines: std::str::Lines<'a>,
    structure: &'static str,
}

impl<'a> Lines<'a> {
    /// The `N` fields of the next line, which must begin with `word`.
    fn fields<const N: usize>(&mut self, word: &str) -> Result<[&'a str; N]> {
        let line = self.lines.next().unwrap_or_default();
        let mut parts = line.split(' ');
        let first = parts.next();
        match <[&str; N]>::try_from(parts.collect::<Vec<_>>()) {
            Ok(fields) if first == Some(word) => Ok(fields),
            _ => Err(Error::malformed(
                self.structure,
                format!("it has no line `{word}` where one belongs"),
            )),
        }
    }

    fn field<T: FromStr>(&mut self, word: &str) -> Result<T> {
        let [field] = self.fields(word)?;
        field.parse().map_err(|_| {
            Error::malformed(self.structure, format!("its line `{word}` can not be read"))
        })
    }
}

fn number<T: FromStr>(line: &str, field: &str) -> Result<T> {
    field.parse().map_err(|_| bad(line))
}

fn bad(line: &str) -> Error {
    let short: String = line.chars().take(80).collect();
    Error::malformed(
        "head",
        format!("its line `{}` can not be read", short.escape_debug()),
    )
}

#[cfg(test)]
mod tests;
