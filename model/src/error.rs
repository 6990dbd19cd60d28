//! The one error of this crate: a sentence per variant, its facts inside.

use std::io;
use std::path::{Path, PathBuf};

use reclone_format::PolicyError;

use crate::serve::ServeError;

/// Everything that can stop a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something.
    #[error("Can not {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the store is not what it should be.
    #[error("{} can not be used", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: reclone_format::Error,
    },
    /// What was to be written breaks a rule of the formats.
    #[error("This tree can not be published")]
    Unpublishable(#[source] reclone_format::Error),
    /// The folder is no store.
    #[error("{} is no store; `reclone-model init STORE --key FILE` makes one", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
    },
    /// There is something already where a new store was to be made.
    #[error("{} is not empty; a new store needs a new or an empty folder", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// The store's own record can not be read.
    #[error("{} can not be read: {reason}", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Someone else works on the store.
    #[error("{} is in use by {holder}; try again when that has ended", store.display())]
    Locked {
        /// The store.
        store: PathBuf,
        /// Command and process that hold the lock.
        holder: String,
    },
    /// The given key is not the store's.
    #[error(
        "{} has the public key {given}, but the store {} is signed by {recorded}; clones that trust the store's key would refuse it",
        key.display(), store.display()
    )]
    WrongKey {
        /// The key file that was given.
        key: PathBuf,
        /// Its public key.
        given: String,
        /// The store.
        store: PathBuf,
        /// The public key recorded in the store.
        recorded: String,
    },
    /// A key file can not be used.
    #[error("The key {} can not be used: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A line of an exclusion file can not be understood.
    #[error("{}, line {line}: {reason}", file.display())]
    Exclude {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The tree's policy can not be understood.
    #[error(transparent)]
    Policy(PolicyError),
    /// Parts of the tree could not be read.
    #[error("{} of the tree can not be published; nothing was published:\n  {}", count(problems.len()), list(problems))]
    Tree {
        /// A sentence each, beginning with the path.
        problems: Vec<String>,
    },
    /// The store has no such generation.
    #[error("{} has no generation {generation}; `reclone-model list` names those it has", store.display())]
    NoGeneration {
        /// The store.
        store: PathBuf,
        /// The number that was asked for.
        generation: u64,
    },
    /// Nothing was published yet.
    #[error("{} has no generation yet; `reclone-model publish` makes the first", store.display())]
    NothingPublished {
        /// The store.
        store: PathBuf,
    },
    /// A folder has published files that are not an earlier copy of the store's.
    #[error("{} is not an earlier head of this store: {reason}; name another folder, or remove head, heads and packs in this one", path.display())]
    Foreign {
        /// The head there.
        path: PathBuf,
        /// What tells.
        reason: String,
    },
    /// A disk is too small.
    #[error("{} needs {needed} more and has {free} free", path.display())]
    NoRoom {
        /// The folder to copy to.
        path: PathBuf,
        /// Bytes wanted.
        needed: String,
        /// Bytes there.
        free: String,
    },
    /// What was copied is not what it should be.
    #[error("What was copied to {} is damaged and was removed; `reclone-model verify` tells whether the store is, else the disk is:\n  {}", path.display(), list(problems))]
    BadCopy {
        /// The folder.
        path: PathBuf,
        /// A sentence each.
        problems: Vec<String>,
    },
    /// systemd did not start what it was told to.
    #[error("`{command}` failed; everything else is done, and `systemctl status` says more")]
    Start {
        /// What was run.
        command: String,
    },
    /// A program of the system failed.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// A value on the command line can not be used.
    #[error("{0}")]
    Usage(String),
    /// The server.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl Error {
    /// The error and what caused it, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds to a system's error what was being done to which file.
pub trait Context<T> {
    /// `doing` is a verb: "open", "write".
    fn context(self, doing: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io {
            doing,
            path: path.to_owned(),
            source: source.into(),
        })
    }
}

/// Adds to a format's error which file it was found in.
pub trait InFile<T> {
    /// The file at `path`.
    fn in_file(self, path: &Path) -> Result<T>;
}

impl<T> InFile<T> for reclone_format::Result<T> {
    fn in_file(self, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Damaged {
            path: path.to_owned(),
            source,
        })
    }
}

/// The most problems that one error lists.
const LISTED: usize = 20;

fn count(problems: usize) -> String {
    match problems {
        1 => "One part".into(),
        n => format!("{n} parts"),
    }
}

fn list(problems: &[String]) -> String {
    let mut text = problems[..problems.len().min(LISTED)].join("\n  ");
    if problems.len() > LISTED {
        text.push_str(&format!("\n  and {} more", problems.len() - LISTED));
    }
    text
}
