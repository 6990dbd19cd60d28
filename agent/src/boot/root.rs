//! Which generation becomes the root: the first that can be assembled and has the running kernel's modules.

use std::fs;
use std::path::Path;

use log::warn;

use crate::assemble;
use crate::boot::Places;
use crate::boot::modules::Modules;
use crate::error::{Error, Result};
use crate::keep;
use crate::pool::Pool;
use crate::session::{self, Session};
use crate::state::Generation;
use crate::sys::mount;
use crate::thaw::Thawed;

/// Assembles one of `candidates` at the root's place, the earlier the better, and returns it. A generation without the
/// modules of the running kernel is taken only when none has them: it would come up without network or graphics.
pub fn assemble(pool: &Pool, candidates: &[Generation], places: &Places) -> Result<Generation> {
    let initramfs = Path::new("/");
    let modules = Modules::of_running_kernel(initramfs);
    if let Some(modules) = &modules {
        modules.load(initramfs);
    }
    let root = &places.root;
    let mut without = None;
    let mut failure = Error::NoGeneration(pool.root().into());
    for generation in candidates {
        match mount_generation(pool, generation, places) {
            Err(error) => {
                warn!(
                    "generation {} can not boot: {error}: reclone=reset checks and mends it",
                    generation.number
                );
                failure = error;
            }
            Ok(()) if modules.as_ref().is_none_or(|modules| modules.are_in(root)) => {
                return Ok(*generation);
            }
            Ok(()) => {
                warn!(
                    "generation {} lacks the modules of the running kernel {}",
                    generation.number,
                    modules.as_ref().map_or("", Modules::release)
                );
                mount::unmount(root).map_err(Error::system("can not unmount", root))?;
                without.get_or_insert(generation);
            }
        }
    }
    let Some(generation) = without else {
        return Err(failure);
    };
    let number = generation.number;
    warn!("no generation has them: generation {number} boots, devices may be missing");
    mount_generation(pool, generation, places)?;
    Ok(*generation)
}

/// Mounts the session of a thawed clone once more over its generation, and returns that; nothing where it can not be mounted.
pub fn resume(pool: &Pool, thawed: Thawed, places: &Places) -> Option<Generation> {
    if let Some(modules) = Modules::of_running_kernel(Path::new("/")) {
        modules.load(Path::new("/"));
    }
    match mount_with(pool, &thawed.generation, &thawed.session, places) {
        Ok(()) => Some(thawed.generation),
        Err(error) => {
            warn!("the session of before can not go on: {error}: this boot begins anew");
            None
        }
    }
}

/// Mounts with a new session: an overlay must not meet the traces of another generation. Where the pool's disk is full
/// even after the old sessions are gone, the session is in memory. On an error nothing stays mounted.
fn mount_generation(pool: &Pool, generation: &Generation, places: &Places) -> Result<()> {
    let in_pool =
        || Session::create(pool).and_then(|session| mount_with(pool, generation, &session, places));
    let in_pool = in_pool().or_else(|_| {
        session::remove_ended(pool)?;
        in_pool()
    });
    let Err(error) = in_pool else {
        return Ok(());
    };
    warn!("{error}: trying with what is written in memory");
    let folder = places.own().join("session");
    fs::create_dir_all(&folder).map_err(Error::system("can not make the folder", &folder))?;
    mount::tmpfs(&folder).map_err(Error::system("can not mount a tmpfs at", &folder))?;
    let in_memory = Session::open(&folder.join("this"))
        .and_then(|session| mount_with(pool, generation, &session, places));
    if in_memory.is_err() {
        mount::unmount(&folder).map_err(Error::system("can not unmount", &folder))?;
    }
    in_memory
}

/// Mounts a generation with this session and puts the kept files in place. On an error nothing stays mounted.
fn mount_with(
    pool: &Pool,
    generation: &Generation,
    session: &Session,
    places: &Places,
) -> Result<()> {
    let root = &places.root;
    session.begin_over(generation)?;
    assemble::assemble(pool, generation, Some(session), root)?;
    let placed = keep::place(pool, root);
    if placed.is_err() {
        mount::unmount(root).map_err(Error::system("can not unmount", root))?;
    }
    placed
}
