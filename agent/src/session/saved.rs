//! Versions of this clone that lost against the model's ([`crate::rebase`]), in one folder for each session that they are of. They are this
//! clone's own, so they outlive that session; the oldest go first.

use super::ended::count;
use super::{Cap, Session, is_folder};
use crate::error::Result;
use crate::pool::{Pool, list};
use crate::session::Size;

/// The folders, oldest first, each by the name of its session.
pub fn saved(pool: &Pool) -> Result<Vec<Session>> {
    if !is_folder(&pool.saved()) {
        return Ok(Vec::new());
    }
    let folders = list(&pool.saved())?
        .into_iter()
        .filter(|root| is_folder(root));
    let mut found: Vec<Session> = folders.map(|root| Session { root }).collect();
    found.sort_by_cached_key(|saved| (saved.saved_at(), saved.name()));
    Ok(found)
}

/// The one of this name.
pub fn find_saved(pool: &Pool, name: &str) -> Option<Session> {
    let found = saved(pool).unwrap_or_default();
    found.into_iter().find(|saved| saved.name() == name)
}

/// Removes all of it; gives how many there were.
pub fn remove_saved(pool: &Pool) -> Result<u64> {
    let found = saved(pool)?;
    found.iter().try_for_each(Session::remove)?;
    Ok(found.len() as u64)
}

/// Removes the oldest until the others are within `cap`; gives how many. The newest stays whatever it takes: nobody may have looked at
/// it yet. Takes time with their size.
pub fn trim_saved(pool: &Pool, cap: &Cap) -> Result<u64> {
    let mut room = Some(cap.bytes);
    let mut removed = 0;
    for (age, saved) in saved(pool)?.iter().rev().enumerate() {
        if room.is_some() {
            let bytes = saved.saved_size()?.bytes;
            room = room.and_then(|room| room.checked_sub(bytes));
        }
        if room.is_none() && age > 0 {
            saved.remove()?;
            removed += 1;
        }
    }
    Ok(removed)
}

impl Session {
    /// When its versions were put aside, by the machine's clock.
    pub fn saved_at(&self) -> Option<std::time::SystemTime> {
        self.root.symlink_metadata().ok()?.modified().ok()
    }

    /// What they take; counted each time.
    pub fn saved_size(&self) -> Result<Size> {
        count(&self.root)
    }
}
