//! Someone who has the model's secret key and means harm: signs any head, writes any pack.

use std::fs;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, sign};
use reclone_format::pack::{HEADER, PackHeader};
use reclone_format::{Head, ManifestRef, ObjectId, PackId, PackRef};

use crate::programs::{Site, reclone};
use crate::raw;

/// A store and a clone's pool in one folder, and the key that the clone trusts.
pub struct Forger {
    pub site: Site,
    key: KeyPair,
}

/// A pack to be published: what is in it, and what a head says about it.
pub struct Pack {
    pub bytes: Vec<u8>,
    pub said: PackRef,
}

impl Pack {
    /// A pack of these frames; the first is the manifest's.
    pub fn new(frames: &[raw::RawFrame]) -> Self {
        let (bytes, id) = raw::pack(frames);
        let index_end =
            PackHeader::parse(&bytes[..HEADER]).map_or(HEADER as u64, |it| it.index_end());
        let first = frames.first().map_or(0, |frame| frame.payload.len());
        Self {
            said: PackRef {
                id,
                size: bytes.len() as u64,
                prelude: index_end + first as u64,
            },
            bytes,
        }
    }

    /// The same pack with other bytes in its index, under the name that these give it.
    pub fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        let end = self.said.prelude.min(self.bytes.len() as u64) as usize;
        let end =
            PackHeader::parse(&self.bytes[..HEADER]).map_or(end, |it| it.index_end() as usize);
        let index = &self.bytes[..end.min(self.bytes.len())];
        self.said.id = PackId::from_bytes(reclone_format::object_id::sha256(index));
        self
    }
}

impl Forger {
    pub fn new(folder: &Path) -> Self {
        let (site, key) = Site::by_hand(folder);
        Self { site, key }
    }

    /// A head for this manifest and these packs, all figures right; generation 2, serial 2.
    pub fn head(&self, manifest: &[u8], entries: u32, packs: &[&Pack]) -> Head {
        let (id, size) = raw::named(manifest);
        Head {
            model: "test".into(),
            serial: 2,
            generation: 2,
            created: 1_700_000_000,
            manifest: ManifestRef { id, size, entries },
            content: manifest
                .get(16..24)
                .map_or(0, |field| u64::from_le_bytes(field.try_into().unwrap())),
            packs: packs.iter().map(|pack| pack.said.clone()).collect(),
            deltas: Vec::new(),
        }
    }

    /// Writes the packs into the store.
    pub fn put(&self, packs: &[&Pack]) {
        for pack in packs {
            fs::write(self.site.store.join(pack.said.id.store_path()), &pack.bytes).unwrap();
        }
    }

    /// `body` and the right signature for it.
    pub fn signed(&self, body: &str) -> String {
        signed_with(&self.key, body)
    }

    /// Replaces the store's head.
    pub fn publish(&self, head: impl AsRef<[u8]>) {
        fs::write(self.site.store.join("head"), head).unwrap();
    }

    /// Publishes an honest generation with one file.
    pub fn publish_honestly(&self, generation: u64, content: &[u8]) {
        let (manifest, pack) = honest(content);
        self.put(&[&pack]);
        let head = Head {
            serial: generation,
            generation,
            ..self.head(&manifest, 2, &[&pack])
        };
        self.publish(self.signed(&head.encode()));
    }

    /// `reclone sync` with 512 MiB of address space.
    pub fn sync(&self) -> std::process::Command {
        let sync = self.site.sync();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "ulimit -v 524288; exec \"$0\" \"$@\""])
            .arg(reclone().get_program())
            .args(sync.get_args());
        command
    }

    /// The record that says which generation is current.
    pub fn record(&self) -> PathBuf {
        self.site.pool.join("state")
    }
}

pub fn signed_with(key: &KeyPair, body: &str) -> String {
    let signature = sign(
        Some(&key.pk),
        &key.sk,
        body.as_bytes(),
        Some("reclone head"),
        None,
    );
    format!("{body}{}", signature.unwrap().into_string())
}

/// The manifest of a tree with one file, and the pack for it.
pub fn honest(content: &[u8]) -> (Vec<u8>, Pack) {
    let manifest = one_file(&raw::named(content).0, content.len() as u64);
    let pack = Pack::new(&[
        raw::frame(0, &[], &[&manifest], &manifest),
        raw::frame(0, &[], &[content], content),
    ]);
    (manifest, pack)
}

/// The manifest of a tree with the file `file`.
pub fn one_file(id: &ObjectId, size: u64) -> Vec<u8> {
    raw::manifest(2, size, &[raw::top(), raw::file(0, b"file", size, id)])
}
