//! rsync against its daemon, whose modules are the trees themselves: nothing is published.

use std::io;
use std::process::Command;

use super::site::Address;
use super::{Operation, Peer, Place, State};
use crate::measure::version;

pub struct Rsync {
    pub place: Place,
    /// Compresses what it sends.
    pub compressed: bool,
    /// Compares contents, not sizes and times.
    pub checksum: bool,
}

impl Peer for Rsync {
    fn name(&self) -> &'static str {
        match (self.compressed, self.checksum) {
            (true, _) => "rsync-z",
            (_, true) => "rsync-c",
            _ => "rsync",
        }
    }

    fn version(&self) -> io::Result<String> {
        version("rsync")
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn can(&self, operation: Operation) -> bool {
        !self.checksum || operation >= Operation::Nothing
    }

    fn trusts_times(&self) -> bool {
        !self.checksum
    }

    fn publish(&self, _state: State) -> Option<Command> {
        None
    }

    fn fetch(&self, state: State, address: &Address) -> Command {
        let mut command = Command::new("rsync");
        command.args(["-aHAX", "--numeric-ids", "--delete"]);
        if self.compressed {
            command.arg("-z");
        }
        if self.checksum {
            command.arg("-c");
        }
        command
            .arg(format!("{}/{}/", address.rsync, state.name()))
            .arg(self.tree());
        command
    }
}
