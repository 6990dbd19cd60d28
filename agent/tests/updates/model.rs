//! A model that publishes delta packs as its test asks: a store, its heads and packs, from trees of plain files.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use minisign::{KeyPair, sign};
use reclone_format::pack::{HEADER, PackHeader};
use reclone_format::{DeltaRef, Head, ManifestRef, ObjectId, PackRef, patch};

use crate::programs::Site;
use crate::raw::{self, RawFrame};
use crate::server::FaultyServer;

/// A tree: files at its top, by name.
pub type Tree = BTreeMap<&'static str, Vec<u8>>;

pub struct Model {
    pub site: Site,
    key: KeyPair,
    serial: u64,
    generations: Vec<Generation>,
}

struct Generation {
    tree: Tree,
    manifest: Vec<u8>,
    pack: PackRef,
    deltas: Vec<DeltaRef>,
}

impl Model {
    pub fn new(folder: &Path) -> Self {
        let (site, key) = Site::by_hand(folder);
        Self {
            site,
            key,
            serial: 0,
            generations: Vec::new(),
        }
    }

    /// Publishes a generation without deltas.
    pub fn publish(&mut self, tree: Tree) {
        let manifest = manifest(&tree);
        let known: HashSet<&[u8]> = self
            .generations
            .iter()
            .flat_map(|it| it.tree.values().map(Vec::as_slice))
            .collect();
        let new = tree
            .values()
            .filter(|content| !known.contains(&content[..]));
        let frames = new.map(|content| whole(content));
        let frames: Vec<RawFrame> = [whole(&manifest)].into_iter().chain(frames).collect();
        let pack = self.put(&frames);
        self.generations.push(Generation {
            tree,
            manifest,
            pack,
            deltas: Vec::new(),
        });
        self.announce();
    }

    /// Publishes a delta pack to the newest generation with these frames, the manifest's before them; and a new head of the
    /// same generation.
    pub fn publish_delta(&mut self, from: usize, frames: &[RawFrame]) -> PackRef {
        let newest = self.generations.last().unwrap();
        let old = &self.generations[from - 1].manifest;
        let first = prefixed(&[old], &[&newest.manifest]);
        let pack = self.put(&[&[first], frames].concat());
        let newest = self.generations.last_mut().unwrap();
        newest.deltas.push(DeltaRef {
            from: from as u64,
            pack: pack.clone(),
        });
        self.announce();
        pack
    }

    /// The same with a frame for each new file: a patch where there was one of its name, else whole.
    pub fn publish_patches(&mut self, from: usize) -> PackRef {
        let (old, new) = (&self.generations[from - 1].tree, self.newest());
        let changed = new
            .iter()
            .filter(|(name, content)| old.get(*name) != Some(content));
        let frames = changed.map(|(name, content)| match old.get(name) {
            Some(old) => patched(old, content),
            None => whole(content),
        });
        let frames: Vec<RawFrame> = frames.collect();
        self.publish_delta(from, &frames)
    }

    pub fn newest(&self) -> &Tree {
        &self.generations.last().unwrap().tree
    }

    /// The first pack of the newest head.
    pub fn newest_pack(&self) -> PackRef {
        self.generations.last().unwrap().pack.clone()
    }

    fn put(&self, frames: &[RawFrame]) -> PackRef {
        let (bytes, id) = raw::pack(frames);
        fs::write(self.site.store.join(id.store_path()), &bytes).unwrap();
        let index = PackHeader::parse(&bytes[..HEADER]).unwrap().index_end();
        PackRef {
            id,
            size: bytes.len() as u64,
            prelude: index + frames[0].payload.len() as u64,
        }
    }

    /// Signs the head of the newest generation under the next serial.
    pub fn announce(&mut self) {
        self.serial += 1;
        let newest = self.generations.last().unwrap();
        let (id, size) = raw::named(&newest.manifest);
        let head = Head {
            model: "test".into(),
            serial: self.serial,
            generation: self.generations.len() as u64,
            created: 1_700_000_000,
            manifest: ManifestRef {
                id,
                size,
                entries: newest.tree.len() as u32 + 1,
            },
            content: newest
                .tree
                .values()
                .map(|content| content.len() as u64)
                .sum(),
            packs: self
                .generations
                .iter()
                .rev()
                .map(|it| it.pack.clone())
                .collect(),
            deltas: newest.deltas.clone(),
        };
        let body = head.encode();
        let said = Some("reclone head");
        let signature = sign(
            Some(&self.key.pk),
            &self.key.sk,
            body.as_bytes(),
            said,
            None,
        );
        let signed = format!("{body}{}", signature.unwrap().into_string());
        let store = &self.site.store;
        fs::write(store.join(format!("heads/{}", head.generation)), &signed).unwrap();
        fs::write(store.join("head"), &signed).unwrap();
    }

    /// Has a server give what the store holds now.
    pub fn serve(&self, server: &FaultyServer) {
        let store = &self.site.store;
        server.put("head", &fs::read(store.join("head")).unwrap());
        for folder in ["packs", "heads"] {
            for entry in fs::read_dir(store.join(folder)).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                let content = fs::read(entry.path()).unwrap();
                server.put(&format!("{folder}/{name}"), &content);
            }
        }
    }

    /// The pool's newest generation is the model's, each object whole.
    #[track_caller]
    pub fn assert_followed(&self) {
        let status = self.site.status();
        let number = self.generations.len() as u64;
        assert_eq!(status["current"].as_u64(), Some(number));
        assert_eq!(status["staging"].as_bool(), Some(false));
        for (name, content) in self.newest() {
            let id = raw::named(content).0;
            let path = self.object(&id);
            assert!(fs::read(path).unwrap() == *content, "{name}");
        }
    }

    /// Where the pool has an object.
    pub fn object(&self, id: &ObjectId) -> std::path::PathBuf {
        self.site.pool.join("objects").join(id.pool_path())
    }
}

fn manifest(tree: &Tree) -> Vec<u8> {
    let files = tree.iter().map(|(name, content)| {
        let (id, size) = raw::named(content);
        (name.as_bytes(), size, id)
    });
    let mut before: &[u8] = b"";
    let mut parts = vec![raw::top()];
    let mut sum = 0;
    for (name, size, id) in files {
        let shared = name.iter().zip(before).take_while(|(a, b)| a == b).count();
        parts.push(raw::file(shared as u16, &name[shared..], size, &id));
        before = name;
        sum += size;
    }
    raw::manifest(parts.len() as u32, sum, &parts)
}

/// A frame of one content, without bases.
pub fn whole(content: &[u8]) -> RawFrame {
    // A level that is worth it takes longer to begin with than a small file.
    if content.len() < 100 {
        return raw::frame(0, &[], &[content], content);
    }
    raw::frame(1, &[], &[content], &raw::compress(content, &[]))
}

/// A frame of these contents, with these bases for a prefix.
pub fn prefixed(bases: &[&[u8]], contents: &[&[u8]]) -> RawFrame {
    let payload = raw::compress(&contents.concat(), &bases.concat());
    raw::frame(1, bases, contents, &payload)
}

/// A frame of one content, as a patch of one base: what both have at their start is compared, the rest inserted.
pub fn patched(base: &[u8], content: &[u8]) -> RawFrame {
    let both = base.len().min(content.len());
    let pairs = content.iter().zip(base);
    let difference: Vec<u8> = pairs.map(|(new, old)| new.wrapping_sub(*old)).collect();
    let step = (both as u64, (content.len() - both) as u64, 0);
    let payload = patch::encode(&[step], &difference, &content[both..], 17).unwrap();
    raw::frame(2, &[base], &[content], &payload)
}
