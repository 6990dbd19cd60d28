//! The power-cut explorer: records every write of a clone's disk, rebuilds the disk as it could be after a cut at any moment,
//! and boots the next time from it.

pub mod boot_loader;
pub mod check;
pub mod cuts;
pub mod explore;
pub mod fat;
pub mod image;
pub mod plain;
pub mod record;
pub mod replayed;
pub mod steps;
pub mod stores;
pub mod write_log;

use std::io;

use crate::image::project;
use crate::site::program;
use explore::Workshop;
use record::Recorder;
use stores::Stores;

/// All that a run begins with, below `target/qemu/power-cut`. Call it before there are threads.
pub fn prepare() -> io::Result<(Workshop, Stores, Recorder)> {
    let folder = project().join("target/qemu/power-cut");
    let workshop = Workshop::open(&folder.join("memory"), &program("reclone"))?;
    let stores = Stores::build(&folder.join("model"))?;
    let recorder = Recorder::prepare(&folder, &stores)?;
    Ok((workshop, stores, recorder))
}

/// What the agent's own tests compare trees with.
#[allow(missing_docs, clippy::unwrap_used)]
#[path = "../../agent/tests/support/tree_compare.rs"]
mod tree_compare;
