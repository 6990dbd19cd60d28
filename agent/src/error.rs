//! The one error of the agent: a sentence per variant, and the exit status that scripts may branch on.

use std::io;
use std::path::{Path, PathBuf};

use reclone_format::ObjectId;

use crate::store::{self, StoreError};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that keeps a verb from doing its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be asked, or gave no usable answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no network to reach the store over.
    #[error("The network did not come up: {0}")]
    Network(String),
    /// What was published can not be read or is not trusted.
    #[error("{place}: {source}")]
    Published {
        /// Where it came from.
        place: String,
        /// What is wrong with it.
        source: reclone_format::Error,
    },
    /// The store went back in time.
    #[error(
        "The head has serial {found}, this clone has already seen {known}: an old copy of the store is refused; publish again on the model"
    )]
    Older {
        /// The head's serial.
        found: u64,
        /// The highest serial seen.
        known: u64,
    },
    /// Two different heads have one serial.
    #[error(
        "The head is not the one that this clone saw under the same serial {0}: two models publish with one key; publish again on the right one"
    )]
    Forked(u64),
    /// One number has two generations.
    #[error(
        "The store's generation {0} is not the one that this clone has under the same number: publish again on the model"
    )]
    Renumbered(u64),
    /// The store is another model's.
    #[error(
        "The store publishes the model `{found}`, this clone follows `{wanted}`: name the right store, or the model with --model or reclone.model="
    )]
    OtherModel {
        /// The model wanted.
        wanted: String,
        /// The model found.
        found: String,
    },
    /// The store promises an object and has it nowhere.
    #[error("The store has no usable copy of object {0}: run `reclone-model verify` on the store")]
    Absent(ObjectId),
    /// There is nothing to boot, show or go back to.
    #[error("The pool {0} has no generation yet: run `reclone sync` first")]
    NoGeneration(PathBuf),
    /// There is no generation to go back to.
    #[error("The pool {0} keeps no previous generation to go back to")]
    NoPrevious(PathBuf),
    /// The generation has no such path.
    #[error("Generation {generation} has no {path}: `reclone diff` tells what was added since")]
    NoPath {
        /// The path.
        path: String,
        /// The generation.
        generation: u64,
    },
    /// The pool has nothing of that name.
    #[error("The pool {pool} has no {what}")]
    Unknown {
        /// What was asked for.
        what: String,
        /// The pool.
        pool: PathBuf,
    },
    /// There is no pool.
    #[error("There is no pool at {0}: mount the disk that holds it, or name it with --pool")]
    NoPool(PathBuf),
    /// The disk is too small for what has to be stored.
    #[error(
        "{path}: {needed} MiB are needed, {free} MiB are free: make room on this disk, or put the pool on a larger one with pool-device"
    )]
    Full {
        /// The pool.
        path: PathBuf,
        /// MiB wanted.
        needed: u64,
        /// MiB there.
        free: u64,
    },
    /// Another process works on the pool.
    #[error("{0}: another reclone works on this pool; try again when it is done")]
    Busy(PathBuf),
    /// A file of the pool is not what it should be.
    #[error("{path}: {reason}: run `reclone verify --repair`")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The record that says which generation is current can not be read; no store can mend it.
    #[error("{path}: {reason}")]
    BadState {
        /// The record.
        path: PathBuf,
        /// Whether it is a whole one of a newer program.
        newer: bool,
        /// What is wrong with it, and the way out.
        reason: String,
    },
    /// `verify` found damage that it did not mend.
    #[error("The pool {path} has {count} damaged or missing files: run `reclone verify --repair`")]
    Unsound {
        /// The pool.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The initramfs could not be made anew.
    #[error("{what}: {left}")]
    Initramfs {
        /// What went wrong.
        what: String,
        /// How the machine was left.
        left: String,
    },
    /// The boot loader can not be had start the generation's kernel.
    #[error("{0}")]
    Loader(String),
    /// What was compared is not the same.
    #[error("{0} paths differ")]
    Differs(usize),
    /// A program of the administrator says that this system is not well.
    #[error("The health check {program} failed: {failure}")]
    Unhealthy {
        /// The program.
        program: PathBuf,
        /// How it ended.
        failure: String,
    },
    /// The command line or the configuration lacks something or contradicts itself.
    #[error("{0}")]
    Usage(String),
    /// A system call failed.
    #[error("{what} {path}: {source}{}", way_out(source))]
    System {
        /// What was tried, in lower case: `can not open`.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// The exit status of a program that ends with this error; the manual page lists them.
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::NoGeneration(_)
            | Error::NoPrevious(_)
            | Error::NoPool(_)
            | Error::NoPath { .. }
            | Error::Unknown { .. } => 3,
            // The store gave something, and it was not what it has to be.
            Error::Store(error)
                if matches!(error.kind(), store::Kind::Corrupt | store::Kind::Short) =>
            {
                5
            }
            Error::Store(_) | Error::Network(_) => 4,
            Error::Published { .. }
            | Error::Older { .. }
            | Error::Forked(_)
            | Error::Renumbered(_)
            | Error::OtherModel { .. }
            | Error::Absent(_) => 5,
            Error::Full { .. } => 6,
            Error::System { .. } if self.is_full_disk() => 6,
            Error::Busy(_) => 7,
            Error::Damaged { .. } | Error::BadState { .. } | Error::Unsound { .. } => 8,
            Error::Differs(_) => 9,
            Error::Unhealthy { .. } => 10,
            Error::System { .. } | Error::Initramfs { .. } | Error::Loader(_) => 1,
        }
    }

    /// For `map_err`: an error of the system with what was tried on which file.
    pub fn system<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Error::System {
            what,
            path,
            source: source.into(),
        }
    }

    /// For `map_err`: an error of the format crate with the place it was read from. A store's failure inside it comes
    /// out again as what it is.
    pub fn published(place: &str) -> impl FnOnce(reclone_format::Error) -> Self {
        let place = place.to_owned();
        move |source| match &source {
            reclone_format::Error::Io(error) => match StoreError::from_io(error) {
                Some(store) => Error::Store(store.clone()),
                None => Error::Published { place, source },
            },
            _ => Error::Published { place, source },
        }
    }

    /// Like [`Error::published`], where what is read is written to `path`, too: what can not be written is this machine's
    /// fault, not the store's.
    pub fn passed_on(place: &str, path: &Path) -> impl FnOnce(reclone_format::Error) -> Self {
        let (place, path) = (place.to_owned(), path.to_owned());
        move |source| match source {
            reclone_format::Error::Io(error) if error.raw_os_error().is_some() => {
                Error::system("can not write", &path)(error)
            }
            source => Error::published(&place)(source),
        }
    }

    /// The same error, of a disk that was moved from one folder to another.
    pub fn moved(mut self, from: &Path, to: &Path) -> Self {
        let path = match &mut self {
            Error::NoGeneration(path)
            | Error::NoPrevious(path)
            | Error::NoPool(path)
            | Error::Busy(path)
            | Error::Full { path, .. }
            | Error::Damaged { path, .. }
            | Error::BadState { path, .. }
            | Error::Unsound { path, .. }
            | Error::System { path, .. } => path,
            _ => return self,
        };
        if let Ok(rest) = path.strip_prefix(from) {
            *path = to.join(rest);
        }
        self
    }

    /// Whether the disk has no room, for bytes or for names.
    pub fn is_full_disk(&self) -> bool {
        match self {
            Error::Full { .. } => true,
            Error::System { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    /// Whether the time for everything was over.
    pub fn is_deadline(&self) -> bool {
        matches!(self, Error::Store(error) if error.kind() == store::Kind::Deadline)
    }
}

/// What helps against failures of a disk, behind the words of the system.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => {
            ": make room for bytes (`df -h`) or files (`df -i`), or put the pool on a larger disk with pool-device"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            ": nobody can write to this disk; if that was not asked for, `dmesg` tells why"
        }
        _ if error.raw_os_error() == Some(libc::EIO) => ": the disk fails; `dmesg` tells where",
        _ => "",
    }
}
