//! The whole tree as one tar file, compressed with zstd: `curl | zstd -d | tar -x`. An update is a whole new tree.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::site::Address;
use super::{LEVEL, Operation, Peer, Place, Renewed, State};
use crate::measure::{shell, version};

pub struct Archive {
    pub place: Place,
    pub tree: Renewed,
}

impl Peer for Archive {
    fn name(&self) -> &'static str {
        "tar"
    }

    fn version(&self) -> io::Result<String> {
        Ok(format!("{}, {}", version("tar")?, version("zstd")?))
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn can(&self, operation: Operation) -> bool {
        operation <= Operation::Update
    }

    fn publish(&self, state: State) -> Option<Command> {
        let (tree, name) = (self.place.trees.path(state), state.name());
        let script = format!(
            "tar --xattrs --xattrs-include='*' -C {} -c . | zstd -{LEVEL} -T0 -q -f -o {}/{name}.tar.zst",
            tree.display(),
            self.place.server.display()
        );
        Some(shell(script.as_ref()))
    }

    fn fetch(&self, state: State, address: &Address) -> Command {
        let next = self.tree.next(&self.place);
        let script = format!(
            "mkdir {0}; curl -sf {1}/tar/{2}.tar.zst | zstd -dcq | tar --xattrs --xattrs-include='*' --numeric-owner -C {0} -x",
            next.display(),
            address.http,
            state.name()
        );
        shell(script.as_ref())
    }

    fn settle(&self) -> io::Result<()> {
        self.tree.settle(&self.place)
    }

    fn tree(&self) -> PathBuf {
        self.tree.current(&self.place)
    }
}
