//! A tree, a store and a key in a temporary folder, and the real program to work on them.
#![allow(clippy::unwrap_used, dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reclone_format::{Entry, Head, Kind, ManifestReader, ObjectId};
use reclone_model::pack_reader::{read_index, read_manifest, read_object};
use reclone_model::store::Store;

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_reclone-model");

/// Everything that a test needs; gone with the value.
pub struct Model {
    folder: tempfile::TempDir,
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            output: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Fails the test unless the exit code is this.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// The generation that a publish printed last.
    #[track_caller]
    pub fn generation(&self) -> u64 {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.output.lines().last().unwrap().parse().unwrap()
    }

    /// Fails the test unless standard error has this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.errors.contains(text), "`{text}` is not in {self:?}");
        self
    }
}

/// Runs the program.
pub fn run(arguments: &[&str]) -> Ran {
    Command::new(PROGRAM)
        .args(arguments)
        .output()
        .unwrap()
        .into()
}

impl Model {
    /// An empty tree, and a store for the model `lab`.
    pub fn new() -> Self {
        let model = Self::without_store();
        let (store, key) = (model.store_text(), model.key_text());
        run(&["init", &store, "--key", &key, "--model", "lab"]).expect(0);
        model
    }

    /// An empty tree alone.
    pub fn without_store() -> Self {
        let model = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(model.tree()).unwrap();
        model
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    pub fn store_text(&self) -> String {
        self.text("store")
    }

    pub fn key_text(&self) -> String {
        self.text("key")
    }

    /// Writes a file of the tree and the folders above it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.tree().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The command that publishes the tree, with more options.
    pub fn publishing(&self, more: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("publish").arg("--from").arg(self.tree());
        command.args(["--key", &self.key_text()]).args(more);
        command.arg(self.store());
        command
    }

    pub fn publish(&self, more: &[&str]) -> Ran {
        self.publishing(more).output().unwrap().into()
    }

    pub fn verify(&self) -> Ran {
        run(&["verify", &self.store_text()])
    }

    pub fn head(&self) -> Head {
        Store::open(&self.store()).unwrap().head().unwrap().unwrap()
    }

    /// The entries of the newest generation.
    pub fn entries(&self) -> Vec<Entry> {
        let store = Store::open(&self.store()).unwrap();
        let manifest = read_manifest(&store, &self.head()).unwrap();
        let reader = ManifestReader::open(&manifest[..]).unwrap();
        reader.map(|item| item.unwrap().entry).collect()
    }

    /// The paths of the newest generation, in order, but for the top.
    pub fn paths(&self) -> Vec<String> {
        let entries = self.entries();
        entries[1..]
            .iter()
            .map(|entry| entry.path.to_string())
            .collect()
    }

    pub fn entry(&self, path: &str) -> Entry {
        let mut entries = self.entries().into_iter();
        entries
            .find(|entry| entry.path.to_string() == path)
            .unwrap()
    }

    /// The content of a regular file as the newest generation has it.
    pub fn content(&self, path: &str) -> Vec<u8> {
        match self.entry(path).kind {
            Kind::Regular { size: 0, .. } => Vec::new(),
            Kind::Regular { id, .. } => self.object(id),
            other => panic!("{path} is {other:?}"),
        }
    }

    fn object(&self, id: ObjectId) -> Vec<u8> {
        let store = Store::open(&self.store()).unwrap();
        for pack in self.head().packs {
            let index = read_index(&store, &pack).unwrap();
            let holds =
                |frame: &&reclone_format::Frame| frame.objects.iter().any(|object| object.id == id);
            if let Some(frame) = index.frames().iter().find(holds) {
                return read_object(&store, &pack.id, frame, &[], id).unwrap();
            }
        }
        panic!("no pack holds {id}");
    }
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Bytes that no compressor shrinks, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A mount point; unmounted with the value.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts with the options `how`.
    pub fn new(path: PathBuf, how: &[&str]) -> Self {
        fs::create_dir_all(&path).unwrap();
        let status = Command::new("mount").args(how).arg(&path).status();
        assert!(status.unwrap().success(), "mounting needs root");
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
