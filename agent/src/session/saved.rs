//! Versions of this clone that lost against the model's ([`crate::rebase`]), in one folder for each session that they are of. They are this
//! clone's own, so they outlive that session; the oldest go first.

use super::ended::count;
use super::{Cap, Session, Size, by_time, is_folder};
use crate::error::Result;
use crate::pool::{Pool, list};

/// The folders, oldest first, each by the name of its session.
pub fn saved(pool: &Pool) -> Result<Vec<Session>> {
    let mut found = match is_folder(&pool.saved()) {
        true => list(&pool.saved())?,
        false => Vec::new(),
    };
    found.retain(|root| is_folder(root));
    Ok(by_time(found))
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
    let mut found = saved(pool)?;
    let mut room = cap.bytes;
    let mut stays = 0;
    for saved in found.iter().rev() {
        match room.checked_sub(saved.saved_size().bytes) {
            Some(rest) => room = rest,
            None => break,
        }
        stays += 1;
    }
    found.truncate(found.len() - found.len().min(stays.max(1)));
    found.iter().try_for_each(Session::remove)?;
    Ok(found.len() as u64)
}

impl Session {
    /// What was saved of it, in its folder among the saved ones; counted each time.
    pub fn saved_size(&self) -> Size {
        count(&self.root).unwrap_or_default()
    }
}
