//! The power-cut explorer: records every write of a clone's disk, rebuilds the disk as it could be after a cut at any moment,
//! and boots the next time from it.

pub mod check;
pub mod cuts;
pub mod explore;
pub mod image;
pub mod record;
pub mod steps;
pub mod stores;
pub mod write_log;

/// What the agent's own tests compare trees with.
#[allow(missing_docs, clippy::unwrap_used)]
#[path = "../../agent/tests/support/tree_compare.rs"]
mod tree_compare;
