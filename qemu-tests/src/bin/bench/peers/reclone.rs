//! reclone itself.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::site::Address;
use super::{Operation, Peer, Place, State};
use crate::measure::measure;

/// The argument that makes this program do what a boot does with the sessions of the one before: what follows is the
/// agent's program, a pool and the folder to mount at.
pub const RESET_FLAG: &str = "--reset";

pub struct Reclone {
    pub place: Place,
    /// `reclone` and `reclone-model` are in it.
    pub programs: PathBuf,
}

/// Sets aside what was written and mounts the generation with a new session.
pub fn end_sessions_and_assemble(words: &[OsString]) -> io::Result<()> {
    let [program, pool, target] = words else {
        return Err(io::Error::other(
            "a program, a pool and a folder are needed",
        ));
    };
    let opened = reclone::pool::Pool::create(Path::new(pool)).map_err(io::Error::other)?;
    reclone::session::end_idle(&opened).map_err(io::Error::other)?;
    let mut assemble = Command::new(program);
    Err(assemble
        .args(["-q", "assemble", "--pool"])
        .arg(pool)
        .arg(target)
        .exec())
}

impl Reclone {
    fn key(&self) -> PathBuf {
        self.place.server.join("key")
    }

    fn store(&self) -> PathBuf {
        self.place.server.join("store")
    }

    fn pool(&self) -> PathBuf {
        self.place.client.join("pool")
    }

    fn agent(&self, verb: &str) -> Command {
        let mut command = Command::new(self.programs.join("reclone"));
        command.args(["-q", verb, "--pool"]).arg(self.pool());
        command
    }

    fn model(&self, verb: &str) -> Command {
        let mut command = Command::new(self.programs.join("reclone-model"));
        command.args(["-q", verb]);
        command
    }

    /// The head as it was when this state was the newest: with its delta packs, which come after `heads/N` is written.
    fn head(&self, state: State) -> PathBuf {
        self.place.server.join(format!("head-{}", state.name()))
    }

    fn unmount(&self) -> io::Result<()> {
        nix::mount::umount(&self.tree()).map_err(io::Error::from)
    }
}

impl Peer for Reclone {
    fn name(&self) -> &'static str {
        "reclone"
    }

    fn version(&self) -> io::Result<String> {
        let program = fs::metadata(self.programs.join("reclone-model"))?;
        Ok(format!("{} bytes, of {}", program.len(), program.mtime()))
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn can(&self, _operation: Operation) -> bool {
        true
    }

    fn publish(&self, state: State) -> Option<Command> {
        if state == State::Release {
            let mut init = self.model("init");
            init.arg("--key").arg(self.key()).args(["--model", "bench"]);
            measure(init.arg(self.store())).expect("an empty folder takes a store");
        }
        let mut publish = self.model("publish");
        publish.arg("--key").arg(self.key()).arg("--from");
        publish.arg(self.place.trees.path(state)).arg(self.store());
        Some(publish)
    }

    fn published(&self, state: State) -> io::Result<()> {
        fs::copy(self.store().join("head"), self.head(state)).map(drop)
    }

    fn announces(&self, state: State) -> Option<PathBuf> {
        Some(self.store().join(format!("heads/{}", state.number())))
    }

    fn offer(&self, state: State) -> io::Result<()> {
        let (wanted, head) = (self.head(state), self.store().join("head"));
        // A new file would have another entity tag.
        if fs::read(&wanted)? == fs::read(&head)? {
            return Ok(());
        }
        let new = self.store().join("head.new");
        fs::copy(wanted, &new)?;
        fs::rename(new, head)
    }

    fn begin(&self) -> io::Result<()> {
        fs::create_dir(self.tree())
    }

    fn fetch(&self, _state: State, address: &Address) -> Command {
        let folder = Path::new(self.place.server.file_name().expect("a name"));
        let mut sync = self.agent("sync");
        sync.arg("--store")
            .arg(format!("{}/{}/store", address.http, folder.display()));
        sync.arg("--key").arg(self.key().with_extension("pub"));
        sync
    }

    fn restore(&self, _address: &Address) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(RESET_FLAG).arg(self.programs.join("reclone"));
        command.arg(self.pool()).arg(self.tree());
        command
    }

    fn settle(&self) -> io::Result<()> {
        // Mounted by `restore`.
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        match mounts.contains(&self.tree().display().to_string()) {
            true => self.unmount(),
            false => Ok(()),
        }
    }

    fn tree(&self) -> PathBuf {
        self.place.client.join("root")
    }

    fn with_tree(
        &self,
        writable: bool,
        look: &mut dyn FnMut(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut assemble = self.agent("assemble");
        if !writable {
            assemble.args(["--session", "none"]);
        }
        measure(assemble.arg(self.tree()))?;
        let looked = look(&self.tree());
        self.unmount()?;
        looked
    }
}
