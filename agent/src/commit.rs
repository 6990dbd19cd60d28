//! The one step that makes a staged generation current. The order of writes is that of `docs/design.md`, "The commit
//! protocol"; nothing here may be moved without reading it.

use std::fs;
use std::io;
use std::path::Path;

use log::warn;

use crate::barrier::Barrier;
use crate::error::{Error, Result};
use crate::pool::{Pool, list, make_dir};
use crate::stage::Staging;
use crate::state::State;

/// Makes the staged generation `state.current` current. When this returns, it is; when power goes before, the old one
/// is. Syncs: two of the file system, one file, one folder.
pub fn commit(pool: &Pool, staging: Staging, state: &State) -> Result<()> {
    let Some(generation) = state.current else {
        return Err(Error::NoGeneration(pool.root().into()));
    };
    for folder in ["objects", "images", "manifests"] {
        make_dir(&pool.root().join(folder))?;
    }
    // Everything staged is on disk before any of it gets its final name …
    staging.sync(Barrier::Staged)?;
    move_objects(&staging.objects(), &pool.objects())?;
    rename(&staging.manifest(), &pool.manifest(generation.number))?;
    rename(&staging.image(), &pool.image(generation.number))?;
    // … and so are the names before the record relies on them.
    pool.sync(Barrier::Named)?;
    pool.write_state(state)?;
    // The commit is done: what is left over costs space, and the next run removes it.
    if let Err(error) = staging.clear() {
        warn!("{error}");
    }
    Ok(())
}

/// Moves verified objects to their final places. Syncs nothing.
pub fn move_objects(from: &Path, to: &Path) -> Result<()> {
    make_dir(to)?;
    for folder in list(from)? {
        let target = to.join(folder.file_name().unwrap_or_default());
        match fs::rename(&folder, &target) {
            // A folder that is there already and not empty takes the files one by one.
            Err(error) if is_occupied(&error) => {
                for file in list(&folder)? {
                    rename(&file, &target.join(file.file_name().unwrap_or_default()))?;
                }
            }
            renamed => renamed.map_err(Error::system("can not move", &folder))?,
        }
    }
    Ok(())
}

fn is_occupied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
    )
}

/// Gives a file its final name. Syncs nothing.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::system("can not move", from))
}
