//! The two programs, run as their users run them.
#![allow(dead_code)] // Each test program needs a part of it.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use minisign::KeyPair;

/// `reclone`, as this test run built it.
pub fn reclone() -> Command {
    Command::new(env!("CARGO_BIN_EXE_reclone"))
}

/// `reclone-model`, built here if it is not yet: cargo builds only the programs of the package under test.
pub fn reclone_model() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        // What cargo tells this program of its package is not for the other: build scripts that look at it would run
        // again, and half of the dependencies with them.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
                .iter()
                .any(|start| name.starts_with(start))
            {
                build.env_remove(&*name);
            }
        }
        let build = build
            .args(["build", "--quiet", "--package", "reclone-model"])
            .arg("--manifest-path")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
            .status()
            .unwrap();
        assert!(build.success(), "reclone-model can not be built");
        Path::new(env!("CARGO_BIN_EXE_reclone")).with_file_name("reclone-model")
    });
    Command::new(program)
}

/// Runs a program that must succeed, and gives what it printed on standard output and on standard error.
pub fn succeed(command: &mut Command) -> (String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    (stdout, stderr)
}

/// Runs a program that must fail with this status, and gives what it printed on standard error.
pub fn fail(command: &mut Command, expected: i32) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert_eq!(
        status.code(),
        Some(expected),
        "{command:?}: {status}\n{stdout}{stderr}"
    );
    stderr
}

/// Runs a program that must fail with this status, and gives the one line that says why.
pub fn complaint(command: &mut Command, expected: i32) -> String {
    error_line(&fail(command, expected))
}

/// The one line of error in what was said.
pub fn error_line(said: &str) -> String {
    let mut lines = said
        .lines()
        .filter_map(|line| line.strip_prefix("ERROR [reclone] "));
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_owned(),
        _ => panic!("not one line of error:\n{said}"),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A model with its store and key, and a clone's pool, in one folder.
pub struct Site {
    pub tree: PathBuf,
    pub store: PathBuf,
    pub key: PathBuf,
    pub pool: PathBuf,
}

impl Site {
    /// The places below `folder`; nothing is made.
    fn at(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name);
        Self {
            tree: path("tree"),
            store: path("store"),
            key: path("key"),
            pool: path("pool"),
        }
    }

    /// An empty store below `folder` for a test that publishes by itself, with the pair of keys to sign with.
    pub fn by_hand(folder: &Path) -> (Self, KeyPair) {
        let site = Self::at(folder);
        let key = KeyPair::generate_unencrypted_keypair().unwrap();
        for name in ["packs", "heads"] {
            std::fs::create_dir_all(site.store.join(name)).unwrap();
        }
        let public = key.pk.to_box().unwrap().into_string();
        std::fs::write(site.public_key(), public).unwrap();
        (site, key)
    }

    /// A new store below `folder`; the tree is a new folder there.
    pub fn new(folder: &Path) -> Self {
        let site = Self::at(folder);
        std::fs::create_dir_all(&site.tree).unwrap();
        succeed(
            reclone_model()
                .arg("init")
                .arg(&site.store)
                .arg("--key")
                .arg(&site.key)
                .args(["--model", "test"]),
        );
        site
    }

    /// The tree gets what a boot would run first; nothing runs it.
    pub fn add_init(&self) {
        let init = self.tree.join("sbin/init");
        std::fs::create_dir(self.tree.join("sbin")).unwrap();
        std::fs::write(&init, "").unwrap();
        std::fs::set_permissions(&init, Permissions::from_mode(0o755)).unwrap();
    }

    /// The public key.
    pub fn public_key(&self) -> PathBuf {
        self.key.with_extension("pub")
    }

    /// Publishes the tree; gives the number that was printed last, and what was said.
    pub fn publish(&self) -> (u64, String) {
        self.publish_with(&[])
    }

    /// The same with more options.
    pub fn publish_with(&self, options: &[&str]) -> (u64, String) {
        let (stdout, stderr) = succeed(&mut self.publish_command(options));
        (stdout.lines().last().unwrap().parse().unwrap(), stderr)
    }

    /// `reclone-model publish` of the tree to the store.
    pub fn publish_command(&self, options: &[&str]) -> Command {
        let mut command = reclone_model();
        command
            .arg("publish")
            .arg("--from")
            .arg(&self.tree)
            .arg("--key")
            .arg(&self.key)
            .args(options)
            .arg(&self.store);
        command
    }

    /// `reclone sync` of this store into this pool.
    pub fn sync(&self) -> Command {
        self.sync_from(&self.store)
    }

    /// `reclone sync` of the store at this path or URL into this pool.
    pub fn sync_from(&self, location: impl AsRef<OsStr>) -> Command {
        let mut command = reclone();
        command
            .arg("sync")
            .arg("--store")
            .arg(location)
            .arg("--key")
            .arg(self.public_key())
            .arg("--pool")
            .arg(&self.pool);
        command
    }

    /// `reclone fetch` of this store into this pool.
    pub fn fetch(&self) -> Command {
        let mut command = self.verb("fetch");
        command.arg("--store").arg(&self.store);
        command.arg("--key").arg(self.public_key());
        command
    }

    /// `reclone VERB --pool …`.
    pub fn verb(&self, verb: &str) -> Command {
        let mut command = reclone();
        command.arg(verb).arg("--pool").arg(&self.pool);
        command
    }

    /// The pool's status.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&succeed(self.verb("status").arg("--json")).0).unwrap()
    }

    /// The current generation, mounted read-only at `at`.
    pub fn assemble(&self, at: &Path, session: Option<&Path>) -> Assembled {
        self.assemble_with(at, session, &[])
    }

    /// The same with more options.
    pub fn assemble_with(&self, at: &Path, session: Option<&Path>, options: &[&str]) -> Assembled {
        std::fs::create_dir_all(at).unwrap();
        let session = session.unwrap_or(Path::new("none"));
        let mut command = self.verb("assemble");
        succeed(command.args(options).arg("--session").arg(session).arg(at));
        Assembled(at.into())
    }
}

/// An assembled tree, until it is dropped.
pub struct Assembled(pub PathBuf);

impl Drop for Assembled {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        if !std::thread::panicking() {
            assert!(status.unwrap().success(), "umount {}", self.0.display());
        }
    }
}
