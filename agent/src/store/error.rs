//! What can go wrong with a store: one kind that callers branch on, one sentence for people.

use std::io;
use std::time::Duration;

/// What a caller may want to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no such file: a pack that was pruned, or a store that is empty or elsewhere.
    NotFound,
    /// The store will not give it to us (no right, a bad request); asking again does not help.
    Refused,
    /// Out of reach or out of order for now; asking again may help.
    Temporary,
    /// Nothing came for too long; asking again may help.
    Timeout,
    /// The server could not prove who it is.
    Tls,
    /// The store's answer makes no sense, or the file changed under the read.
    Corrupt,
    /// The file ends before the wanted range does.
    Short,
    /// The time for everything is over.
    Deadline,
    /// Wrong options, or a fault of this machine.
    Other,
}

/// A failure to get something from a store.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{location}: {what}")]
pub struct StoreError {
    kind: Kind,
    location: String,
    what: String,
    retry_after: Option<Duration>,
}

impl StoreError {
    /// A failure of `kind` at `location` (a URL or a path); `what` says what happened and the way out.
    pub fn new(kind: Kind, location: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            kind,
            location: location.into(),
            what: what.into(),
            retry_after: None,
        }
    }

    /// The same failure, with the pause that the server asked for.
    pub(super) fn after(mut self, pause: Option<Duration>) -> Self {
        self.retry_after = pause;
        self
    }

    /// What a caller may want to do about it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is of one file: others may be all right.
    pub fn is_of_the_file(&self) -> bool {
        matches!(self.kind, Kind::NotFound | Kind::Corrupt | Kind::Short)
    }

    /// Where it failed: a URL or a path.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// What failed and the way out, without the place.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The pause that the server asked for before the next request.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether asking again may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self.kind, Kind::Temporary | Kind::Timeout)
    }

    /// The failure inside an error of a store's reader, if it is one.
    pub fn from_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind {
            Kind::NotFound => io::ErrorKind::NotFound,
            Kind::Timeout | Kind::Deadline => io::ErrorKind::TimedOut,
            Kind::Short => io::ErrorKind::UnexpectedEof,
            Kind::Corrupt => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
