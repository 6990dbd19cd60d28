//! A clone that is thawed: its session goes on for a number of boots, over the very same generation and image, and no new generation
//! is taken meanwhile.

use std::fs;
use std::io;
use std::path::PathBuf;

use log::{info, warn};

use crate::config::Mode;
use crate::error::{Error, Result};
use crate::keep;
use crate::manifest::has_id;
use crate::policy;
use crate::pool::{Lock, Pool, replace};
use crate::running;
use crate::session::Session;
use crate::state::Generation;

/// Which session goes on and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thaw {
    /// The name of its folder.
    pub session: String,
    /// The boots still to come in which it does.
    pub boots: u32,
}

fn path(pool: &Pool) -> PathBuf {
    pool.root().join("thaw")
}

/// What is noted in the pool; what can not be read is nothing.
pub fn read(pool: &Pool) -> Option<Thaw> {
    let text = fs::read_to_string(path(pool)).ok()?;
    let (boots, session) = text.strip_suffix('\n')?.split_once(' ')?;
    Some(Thaw {
        session: session.to_owned(),
        boots: boots.parse().ok()?,
    })
}

/// How many boots are still to keep what is written; nothing where the next one begins anew.
pub fn boots_left(pool: &Pool) -> Option<u32> {
    read(pool).map(|thaw| thaw.boots).filter(|boots| *boots > 0)
}

fn write(pool: &Pool, thaw: &Thaw) -> Result<()> {
    replace(&path(pool), &format!("{} {}\n", thaw.boots, thaw.session))
}

/// Has the session that runs go on for the next `boots` boots. When this returns it is on disk.
pub fn thaw(pool: &Pool, _: &Lock, boots: u32) -> Result<Generation> {
    let session = running::sessions(pool).into_iter().next();
    let session = session.ok_or_else(|| {
        Error::Usage(format!(
            "No session of the pool {} is mounted that could go on: this is done in the running clone, and not where its session is in memory",
            pool.root().display()
        ))
    })?;
    let generation = session.generation().and_then(|it| boots_from(pool, it));
    let generation = generation.ok_or_else(|| {
        Error::Usage(
            "This session is over a generation that the pool does not boot any more".into(),
        )
    })?;
    let thaw = Thaw {
        session: session.name(),
        boots,
    };
    write(pool, &thaw)?;
    Ok(generation)
}

/// The generation, if a boot can still have it.
fn boots_from(pool: &Pool, generation: Generation) -> Option<Generation> {
    let state = pool.state().ok()?;
    state.generations().find(|it| *it == generation)
}

/// Ends that: the next boot begins anew. Says whether there was something to end. Syncs nothing: after a power cut the clone may
/// still be thawed.
pub fn freeze(pool: &Pool, _: &Lock) -> Result<bool> {
    let path = path(pool);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed
            .map(|()| true)
            .map_err(Error::system("can not remove", &path)),
    }
}

/// A session that goes on, and what it is over.
pub struct Thawed {
    /// The session.
    pub session: Session,
    /// Its generation.
    pub generation: Generation,
}

/// What goes on in this boot, which is taken off those to come; on disk when this returns. A boot for something else than
/// the current tree leaves the session alone, and a reset ends it. A boot that goes on in another kernel was taken off before.
pub fn begin_boot(pool: &Pool, mode: Mode, goes_on: bool) -> Option<Thawed> {
    let thaw = read(pool)?;
    let is_over = (thaw.boots == 0 && !goes_on) || matches!(mode, Mode::Reset { .. });
    if mode == Mode::Rollback && !is_over {
        return None;
    }
    let thawed = match is_over {
        true => None,
        false => resume(pool, &thaw),
    };
    let Some(thawed) = thawed else {
        if !is_over {
            warn!("the session that was to go on is not there: this boot begins anew");
        }
        let _ = fs::remove_file(path(pool));
        return None;
    };
    let boots = thaw.boots - u32::from(!goes_on);
    info!("thawed: the last session goes on; boots to come in which it does: {boots}");
    // Should the note stay as it was, one boot too many goes on.
    let noted = write(pool, &Thaw { boots, ..thaw });
    // What makes the clone itself is put into the tree anew.
    let saved = keep::files::save(pool, &policy::last(pool), &thawed.session);
    for error in [noted.err(), saved.err()].into_iter().flatten() {
        warn!("{error}");
    }
    Some(thawed)
}

/// The session, if it is there and the image is the one that it was over.
fn resume(pool: &Pool, thaw: &Thaw) -> Option<Thawed> {
    // A name, and not a way to elsewhere.
    let is_name = !thaw.session.contains('/') && !thaw.session.starts_with('.');
    let root = pool.sessions().join(&thaw.session);
    if !is_name || !fs::symlink_metadata(&root).is_ok_and(|it| it.is_dir()) {
        return None;
    }
    let session = Session::open(&root).ok()?;
    let generation = boots_from(pool, session.generation()?)?;
    let is_same = has_id(&pool.manifest(generation.number), &generation.manifest);
    is_same.ok().filter(|is_same| *is_same)?;
    Some(Thawed {
        session,
        generation,
    })
}
