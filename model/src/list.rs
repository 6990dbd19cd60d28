//! `reclone-model list` and `show`: what a store holds. Both only read, and take no lock.

use std::io::{self, Write};
use std::path::PathBuf;

use reclone_format::{DeltaRef, Entry, Head, Kind, ManifestReader, PackRef, TreePath};
use serde_json::{Value, json};
use time::UtcDateTime;

use crate::error::{Error, InFile, Result};
use crate::pack_reader::read_manifest;
use crate::progress::bytes;
use crate::store::Store;

/// Whether people or programs read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Columns and lines.
    Text,
    /// JSON.
    Json,
}

/// Every generation that the store has a head of, oldest first.
pub fn list(store: &Store, form: Form) -> Result<String> {
    let newest = store.head()?.map(|head| head.generation);
    let mut heads = Vec::new();
    for generation in store.generations()? {
        heads.extend(store.head_of(generation)?);
    }
    if form == Form::Json {
        let rows = heads.iter().map(|head| facts(head, newest)).collect();
        return Ok(format!("{:#}\n", Value::Array(rows)));
    }
    let mut text = String::from(
        "generation  published            paths     content  packs      stored  deltas\n",
    );
    for head in &heads {
        let mark = if newest == Some(head.generation) {
            "  newest"
        } else {
            ""
        };
        text.push_str(&format!(
            "{:>10}  {}  {:>8}  {:>10}  {:>5}  {:>10}  {:>6}{mark}\n",
            head.generation,
            date(head.created),
            head.manifest.entries,
            bytes(head.content),
            head.packs.len(),
            bytes(stored(head)),
            head.deltas.len(),
        ));
    }
    Ok(text)
}

/// What the head of one generation says; of the newest without a number.
pub fn show(store: &Store, generation: Option<u64>, form: Form) -> Result<String> {
    let newest = store.head()?.map(|head| head.generation);
    let head = head_of(store, generation)?;
    if form == Form::Json {
        return Ok(format!("{:#}\n", facts(&head, newest)));
    }
    let mut text = format!(
        "generation  {}{}\nmodel       {}\nserial      {}\npublished   {}\n",
        head.generation,
        if newest == Some(head.generation) {
            " (newest)"
        } else {
            ""
        },
        head.model,
        head.serial,
        date(head.created),
    );
    let manifest = &head.manifest;
    text.push_str(&format!(
        "manifest    {}, {}\npaths       {}\ncontent     {}\n",
        manifest.id,
        bytes(manifest.size),
        manifest.entries,
        bytes(head.content)
    ));
    for PackRef { id, size, .. } in &head.packs {
        text.push_str(&format!("pack        {id}, {}\n", bytes(*size)));
    }
    for delta in &head.deltas {
        let PackRef { id, size, .. } = &delta.pack;
        text.push_str(&format!(
            "delta       from {}: {id}, {}\n",
            delta.from,
            bytes(*size)
        ));
    }
    Ok(text)
}

/// Writes one line for each path of a generation: type and mode, owner, group, size, time, path.
pub fn list_files(store: &Store, generation: Option<u64>, output: &mut impl Write) -> Result<()> {
    let head = head_of(store, generation)?;
    let manifest = read_manifest(store, &head)?;
    let pack = store.pack_path(&head.packs[0].id);
    let mut reader = ManifestReader::open(&manifest[..]).in_file(&pack)?;
    let mut paths: Vec<TreePath> = Vec::new();
    while let Some(item) = reader.next_entry().in_file(&pack)? {
        let line = line(&item.entry, &paths);
        match output.write_all(line.as_bytes()) {
            Ok(()) => {}
            // The reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(source) => {
                return Err(Error::Io {
                    doing: "write to",
                    path: PathBuf::from("standard output"),
                    source,
                });
            }
        }
        paths.push(item.entry.path);
    }
    Ok(())
}

fn line(entry: &Entry, paths: &[TreePath]) -> String {
    let path = &entry.path;
    let (letter, size, more) = match &entry.kind {
        Kind::HardLink { to } => {
            let first = paths.get(*to as usize).map(TreePath::to_string);
            return format!("h {path} = {}\n", first.unwrap_or_default());
        }
        Kind::Directory => ('d', "0".into(), String::new()),
        Kind::Regular { size, .. } => ('-', size.to_string(), String::new()),
        Kind::Symlink { target } => ('l', "0".into(), format!(" -> {}", target.escape_ascii())),
        Kind::CharDevice { major, minor } => ('c', format!("{major}:{minor}"), String::new()),
        Kind::BlockDevice { major, minor } => ('b', format!("{major}:{minor}"), String::new()),
        Kind::Fifo => ('p', "0".into(), String::new()),
        Kind::Socket => ('s', "0".into(), String::new()),
    };
    format!(
        "{letter}{:04o} {} {} {size} {}.{:09} {path}{more}\n",
        entry.perm, entry.uid, entry.gid, entry.mtime.sec, entry.mtime.nsec,
    )
}

fn head_of(store: &Store, generation: Option<u64>) -> Result<Head> {
    let missing = || match generation {
        Some(generation) => Error::NoGeneration {
            store: store.root().to_owned(),
            generation,
        },
        None => Error::NothingPublished {
            store: store.root().to_owned(),
        },
    };
    match generation {
        Some(generation) => store.head_of(generation)?,
        None => store.head()?,
    }
    .ok_or_else(missing)
}

fn facts(head: &Head, newest: Option<u64>) -> Value {
    let pack = |pack: &PackRef| json!({"id": pack.id.to_string(), "size": pack.size});
    let delta = |delta: &DeltaRef| {
        let PackRef { id, size, .. } = &delta.pack;
        json!({"from": delta.from, "id": id.to_string(), "size": size})
    };
    json!({
        "generation": head.generation,
        "newest": newest == Some(head.generation),
        "model": head.model,
        "serial": head.serial,
        "created": head.created,
        "manifest": head.manifest.id.to_string(),
        "paths": head.manifest.entries,
        "content": head.content,
        "stored": stored(head),
        "packs": head.packs.iter().map(pack).collect::<Vec<_>>(),
        "deltas": head.deltas.iter().map(delta).collect::<Vec<_>>(),
    })
}

fn stored(head: &Head) -> u64 {
    head.packs.iter().map(|pack| pack.size).sum()
}

fn date(seconds: i64) -> String {
    match UtcDateTime::from_unix_timestamp(seconds) {
        Ok(time) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute()
        ),
        Err(_) => format!("{seconds} s"),
    }
}
