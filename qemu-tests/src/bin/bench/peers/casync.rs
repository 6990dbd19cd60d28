//! casync: chunks cut by content, over HTTP. It extracts into a new folder with the old one as seed: over the old one it
//! fails as soon as it replaces a file that it is a seed of.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::site::Address;
use super::{Operation, Peer, Place, Renewed, State};
use crate::measure::version;

pub struct Casync {
    pub place: Place,
    pub tree: Renewed,
}

impl Peer for Casync {
    fn name(&self) -> &'static str {
        "casync"
    }

    fn version(&self) -> io::Result<String> {
        version("casync")
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn can(&self, _operation: Operation) -> bool {
        true
    }

    fn publish(&self, state: State) -> Option<Command> {
        let server = &self.place.server;
        let mut command = Command::new("casync");
        command
            .arg("make")
            .arg(format!("--store={}/default.castr", server.display()))
            .arg(server.join(format!("{}.caidx", state.name())))
            .arg(self.place.trees.path(state));
        Some(command)
    }

    fn fetch(&self, state: State, address: &Address) -> Command {
        let mut command = Command::new("casync");
        command.args(["extract", "--seed-output=no"]);
        let current = self.tree.current(&self.place);
        if current.exists() {
            command.arg(format!("--seed={}", current.display()));
        }
        command
            .arg(format!("{}/casync/{}.caidx", address.http, state.name()))
            .arg(self.tree.next(&self.place));
        command
    }

    fn settle(&self) -> io::Result<()> {
        self.tree.settle(&self.place)
    }

    fn tree(&self) -> PathBuf {
        self.tree.current(&self.place)
    }
}
