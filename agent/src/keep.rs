//! What a clone keeps whatever the model says: the paths that `keep` and `seed` rules name. They live in the pool, outside of
//! generations and sessions, so that neither a reset nor a rollback changes them.
//!
//! Single files lie below `keep/` under their own paths; each new session begins with copies of them, and what it changes in them comes back
//! when it ends ([`files`]). A file that the clone removed has the mark of an overlay there, a character device 0:0, and stays away.
//! Folders lie below `folders/` and are mounted where they belong ([`folders`]).

pub mod files;
pub mod folders;
pub mod identity;
pub mod matches;
mod torn;

use std::fs;
use std::io;
use std::path::Path;

use reclone_format::{Policy, Rule, TreePath};

use crate::error::{Error, Result};
use crate::policy;
use crate::pool::{Pool, remove_dir};
use crate::session;

/// Whether a path of the tree is the clone's own, and not the model's to say.
pub fn is_own(policy: &Policy, path: &TreePath) -> bool {
    let is_own = |is_folder| {
        let rule = policy.rule(path.as_bytes(), is_folder);
        matches!(rule, Rule::Keep | Rule::Seed)
    };
    is_own(false) || is_own(true)
}

/// Ends every session that nobody is in, once what it changed in kept files is saved; gives how many ended. One that goes on at the next boot
/// does not end. Where the disk is too full for that, what else was written makes room; where that does not help, the session stays as it is, for the next try.
pub fn end_sessions(pool: &Pool) -> Result<usize> {
    let policy = policy::last(pool);
    let mut outcome = Ok(0);
    for session in session::idle(pool)? {
        let saved =
            files::save(pool, &policy, &session).or_else(|error| match error.is_full_disk() {
                true => {
                    session::remove_ended(pool)?;
                    files::shed_others(pool, &policy, &session)?;
                    files::save(pool, &policy, &session)
                }
                false => Err(error),
            });
        if session.follows() {
            outcome = outcome.and_then(|count| saved.map(|()| count));
            continue;
        }
        let ended = match &saved {
            Err(error) if error.is_full_disk() => Ok(()),
            _ => session.end(pool),
        };
        outcome = outcome.and_then(|count| saved.and(ended).map(|()| count + 1));
    }
    outcome
}

/// Removes everything kept. The next boot takes from the plain root again what that still has: files, of which only copies were kept, but of
/// folders those alone that were copied, too. Of the files, all or none.
pub fn forget(pool: &Pool) -> Result<()> {
    set_aside(&pool.folders())?;
    set_aside(&pool.keep())
}

/// Removes a folder that must not be there in part.
fn set_aside(folder: &Path) -> Result<()> {
    let old = folder.with_extension("old");
    remove_dir(&old)?;
    match fs::rename(folder, &old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => {
            renamed.map_err(Error::system("can not move", folder))?;
            remove_dir(&old)
        }
    }
}
