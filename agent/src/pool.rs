//! The clone's local folder: objects, manifests, images, sessions and the record that names the current generation.
//! Layout and promises: `docs/format.md`, section "Pool", and `docs/design.md`, "The commit protocol".

mod files;
mod notes;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use log::warn;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::syncfs;
use reclone_format::{Error as FormatError, ObjectId};

use crate::barrier::Barrier;
use crate::error::{Error, Result};
use crate::state::{Generation, MAX_STATE, State};
pub use files::{
    create_new, list, make_dir, make_own_dir, make_private_dir, remove_any, remove_dir, replace,
};

/// What helps when the record is damaged.
const LOST_RECORD: &str = "boot with reclone=reset, or remove this file and run `reclone sync`: both find the objects again";

/// A pool. Nothing is held open; whoever changes it holds its [`Lock`].
#[derive(Clone, Debug)]
pub struct Pool {
    root: PathBuf,
}

/// The right to change a pool, until it is dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] Flock<File>);

impl Pool {
    /// The pool in the folder `root`, which must exist.
    pub fn open(root: &Path) -> Result<Self> {
        match root.is_dir() {
            true => Ok(Self { root: root.into() }),
            false => Err(Error::NoPool(root.into())),
        }
    }

    /// The pool in the folder `root`; the folder is made, for root's eyes only, where it is missing.
    pub fn create(root: &Path) -> Result<Self> {
        make_dir(root)?;
        Self::open(root)
    }

    /// The pool that is or will be in the folder `root`, to look at.
    pub fn at(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes the lock, or fails at once where another process has it.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.root.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options
            .open(&path)
            .map_err(Error::system("can not open", &path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Lock(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(Error::Busy(self.root.clone())),
            Err((_, error)) => Err(Error::system("can not lock", &path)(error)),
        }
    }

    /// The folder of verified objects.
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// Where the object `id` is, if the pool has it.
    pub fn object(&self, id: &ObjectId) -> PathBuf {
        self.objects().join(id.pool_path())
    }

    /// The image of a generation.
    pub fn image(&self, number: u64) -> PathBuf {
        self.root.join("images").join(number.to_string())
    }

    /// The manifest of a generation.
    pub fn manifest(&self, number: u64) -> PathBuf {
        self.root.join("manifests").join(number.to_string())
    }

    /// What an unfinished sync left. Nothing may rely on it.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// Where an object is staged, if it is.
    pub fn staged_object(&self, id: &ObjectId) -> PathBuf {
        self.staging().join("objects").join(id.pool_path())
    }

    /// The folder of sessions.
    pub fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// The folder of what a clone keeps over every reset.
    pub fn keep(&self) -> PathBuf {
        self.root.join("keep")
    }

    /// The folders that a clone keeps over every reset, each under its path with `/` as `%2f` and `%` as `%25`.
    pub fn folders(&self) -> PathBuf {
        self.root.join("folders")
    }

    /// The clone's own rules.
    pub fn policy(&self) -> PathBuf {
        self.root.join("policy")
    }

    /// Versions of this clone that lost against the model's, by session.
    pub fn saved(&self) -> PathBuf {
        self.root.join("saved")
    }

    /// The last good copies of rules.
    pub fn policies(&self) -> PathBuf {
        self.root.join("policies")
    }

    /// The folder of notes for people.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    fn state_path(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The state record; the default one where none was written yet.
    pub fn state(&self) -> Result<State> {
        let path = self.state_path();
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_STATE).read_to_end(&mut bytes));
        match read {
            Ok(_) => State::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| {
                let newer = matches!(error, FormatError::Version { .. });
                let reason = match newer {
                    true => error.to_string(),
                    false => format!("{error}: {LOST_RECORD}"),
                };
                Error::BadState {
                    path,
                    newer,
                    reason,
                }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(Error::system("can not read", &path)(error)),
        }
    }

    /// Sets a damaged state record aside, where it can be looked at. The next sync finds out anew what is current; that the
    /// store went back in time, it can not see. Syncs nothing.
    pub fn drop_damaged_state(&self) -> Result<()> {
        let _lock = self.lock()?;
        match self.state() {
            Err(error @ Error::BadState { newer: false, .. }) => {
                warn!("{error}: setting it aside as state.damaged");
                let (path, aside) = (self.state_path(), self.root.join("state.damaged"));
                fs::rename(&path, &aside).map_err(Error::system("can not move", &path))
            }
            _ => Ok(()),
        }
    }

    /// Sets the state record aside, so that no boot finds a generation here. Durable when this returns.
    pub fn set_state_aside(&self) -> Result<()> {
        let (path, aside) = (self.state_path(), self.root.join("state.unenrolled"));
        let moved = fs::rename(&path, &aside).and_then(|()| File::open(&self.root)?.sync_all());
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::system("can not move", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Replaces the state record. When this returns the new one is on disk; until then the old one is.
    pub fn write_state(&self, state: &State) -> Result<()> {
        let path = self.state_path();
        let new = self.root.join("state.new");
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(state.encode().as_bytes())?;
            Barrier::StateWritten.pass(|| file.sync_all())?;
            fs::rename(&new, &path)?;
            Barrier::StateNamed.pass(|| File::open(&self.root)?.sync_all())
        };
        write().map_err(Error::system("can not write", &path))
    }

    /// The current generation.
    pub fn current(&self) -> Result<Generation> {
        let state = self.state()?;
        state
            .current
            .ok_or_else(|| Error::NoGeneration(self.root.clone()))
    }

    /// Writes everything of the pool's file system to disk, and waits: this barrier.
    pub fn sync(&self, barrier: Barrier) -> Result<()> {
        let sync = || -> io::Result<()> { Ok(syncfs(File::open(&self.root)?)?) };
        barrier
            .pass(sync)
            .map_err(Error::system("can not sync", &self.root))
    }

    /// Bytes that may still be written to the pool's file system.
    pub fn free(&self) -> Result<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.root).map_err(Error::system(
            "can not ask for the free space of",
            &self.root,
        ))?;
        Ok(stat.blocks_available() * stat.fragment_size())
    }

    /// The same for a pool that may not be there yet.
    pub fn free_where_it_will_be(&self) -> Result<u64> {
        let path = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        let there = path.ancestors().find(|folder| folder.is_dir());
        Self::at(there.unwrap_or(&path)).free()
    }

    /// Bytes that the pool's file system has in all.
    pub fn capacity(&self) -> Result<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.root)
            .map_err(Error::system("can not ask for the size of", &self.root))?;
        Ok(stat.blocks() * stat.fragment_size())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_one_worker_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::create(&folder.path().join("pool")).unwrap();
        let lock = pool.lock().unwrap();
        assert!(matches!(pool.lock(), Err(Error::Busy(_))));
        drop(lock);
        pool.lock().unwrap();
    }

    #[test]
    fn the_record_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::create(folder.path()).unwrap();
        assert_eq!(pool.state().unwrap(), State::default());
        let state = State {
            serial: 7,
            ..State::default()
        };
        pool.write_state(&state).unwrap();
        assert_eq!(pool.state().unwrap(), state);
        fs::write(folder.path().join("state"), "reclone-state 1\n").unwrap();
        assert_eq!(pool.state().unwrap_err().exit_status(), 8);
    }
}
