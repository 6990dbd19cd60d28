//! The one error of this crate: a sentence per variant, its facts inside.

use std::io;

/// Everything that can be wrong with published bytes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A structure ends early, holds a reserved value, or breaks a rule of `docs/format.md`.
    #[error("The {structure} is malformed: {reason}")]
    Malformed {
        /// Which structure, as `docs/format.md` calls it.
        structure: &'static str,
        /// Which rule is broken.
        reason: String,
    },
    /// The structure is of a version that this program does not know.
    #[error(
        "The {structure} has format version {found}, this program reads {known}: install a newer reclone on this machine"
    )]
    Version {
        /// Which structure.
        structure: &'static str,
        /// The version found.
        found: u32,
        /// The version this program reads.
        known: u32,
    },
    /// A content is not what its name says.
    #[error("Object {expected} is damaged: its content has the id {found}")]
    Damaged {
        /// The id that was asked for.
        expected: crate::ObjectId,
        /// The id of what was read.
        found: crate::ObjectId,
    },
    /// A signature is missing, made by another key, or wrong.
    #[error("The head is not signed by the trusted key: {0}")]
    Signature(String),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn malformed(structure: &'static str, reason: impl Into<String>) -> Self {
        Error::Malformed {
            structure,
            reason: reason.into(),
        }
    }
}
