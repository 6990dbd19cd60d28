//! What a user would pick instead of reclone, and reclone, on the same trees in the same run: a real upgrade of Debian 12.

mod archive;
mod casync;
mod compare;
mod counts;
mod floor;
mod inline;
mod link;
mod ostree;
mod reclone;
mod rounds;
mod rsync;
mod sample;
mod site;
mod table;
mod zsync;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use reclone::{RESET_FLAG, end_sessions_and_assemble};
pub use rounds::{Wanted, run};
use site::Address;

/// The level at which reclone publishes by itself; the archive's, too.
const LEVEL: &str = "9";

/// The three trees, each the successor of the one before: see `qemu-tests/upgrade`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Release,
    Updated,
    Touched,
}

/// In their order.
const STATES: [State; 3] = [State::Release, State::Updated, State::Touched];

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Release => "release",
            State::Updated => "updated",
            State::Touched => "touched",
        }
    }

    fn before(self) -> Option<State> {
        STATES.into_iter().rfind(|&state| state < self)
    }

    fn number(self) -> u64 {
        1 + self as u64
    }
}

/// What a client does, in the order of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Clone,
    Update,
    Small,
    Nothing,
    Drift,
}

const OPERATIONS: [Operation; 5] = [
    Operation::Clone,
    Operation::Update,
    Operation::Small,
    Operation::Nothing,
    Operation::Drift,
];

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Clone => "clone",
            Operation::Update => "update",
            Operation::Small => "small",
            Operation::Nothing => "nothing",
            Operation::Drift => "drift",
        }
    }

    /// What the client has afterwards.
    fn target(self) -> State {
        match self {
            Operation::Clone => State::Release,
            Operation::Update => State::Updated,
            Operation::Small | Operation::Nothing | Operation::Drift => State::Touched,
        }
    }
}

/// Where the trees are.
pub struct Trees {
    root: PathBuf,
}

impl Trees {
    fn path(&self, state: State) -> PathBuf {
        self.root.join(state.name())
    }
}

/// The folders of one peer.
pub struct Place {
    trees: Trees,
    /// What it serves, below nginx' root.
    server: PathBuf,
    /// What its client has.
    client: PathBuf,
}

/// A way to bring trees to other machines. Every step is one command; what it costs is measured from outside.
pub trait Peer {
    fn name(&self) -> &'static str;

    /// What changes whenever what it publishes may be other than before.
    fn version(&self) -> io::Result<String>;

    fn place(&self) -> &Place;

    fn can(&self, operation: Operation) -> bool;

    /// Publishes this state after the one before it. None: there is nothing to do.
    fn publish(&self, state: State) -> Option<Command>;

    /// Makes a server that has nothing.
    fn clear(&self) -> io::Result<()> {
        crate::trees::remove(&self.place().server)?;
        std::fs::create_dir_all(&self.place().server)
    }

    /// What is to be remembered of a state that was just published.
    fn published(&self, _state: State) -> io::Result<()> {
        Ok(())
    }

    /// The file that is there once clients can get this state, if that is before the end.
    fn announces(&self, _state: State) -> Option<PathBuf> {
        None
    }

    /// Makes this state the one that clients get.
    fn offer(&self, _state: State) -> io::Result<()> {
        Ok(())
    }

    /// Makes a client that has nothing; its folder is there and empty.
    fn begin(&self) -> io::Result<()> {
        Ok(())
    }

    /// Brings the client to this state, which is offered.
    fn fetch(&self, state: State, address: &Address) -> Command;

    /// Brings the client back to the state that it had before its files were changed.
    fn restore(&self, address: &Address) -> Command {
        self.fetch(State::Touched, address)
    }

    /// Tidies up after a fetch, outside of the measured time.
    fn settle(&self) -> io::Result<()> {
        Ok(())
    }

    /// Where the client's tree is, of which there is none while it is not unpacked or mounted.
    fn tree(&self) -> PathBuf {
        self.place().client.join("tree")
    }

    /// Calls `look` with the client's tree, to be read or, for a session's writes, changed.
    fn with_tree(
        &self,
        _writable: bool,
        look: &mut dyn FnMut(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        look(&self.tree())
    }

    /// Whether its trees have the times of the model's.
    fn keeps_times(&self) -> bool {
        true
    }

    /// Whether it takes a file of the model's size and time for the model's, whatever is in it.
    fn trusts_times(&self) -> bool {
        false
    }
}

/// A client's tree that is made anew each time: `tree-1`, `tree-2`, ….
#[derive(Default)]
struct Renewed(std::cell::Cell<usize>);

impl Renewed {
    fn current(&self, place: &Place) -> PathBuf {
        place.client.join(format!("tree-{}", self.0.get()))
    }

    fn next(&self, place: &Place) -> PathBuf {
        place.client.join(format!("tree-{}", self.0.get() + 1))
    }

    /// If there is a new one, the old one goes.
    fn settle(&self, place: &Place) -> io::Result<()> {
        if self.next(place).exists() {
            crate::trees::remove(&self.current(place))?;
            self.0.set(self.0.get() + 1);
        }
        Ok(())
    }
}
