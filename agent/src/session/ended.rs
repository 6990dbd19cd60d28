//! Sessions that are over. They are numbered in the order in which they ended; the oldest go first.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use log::info;

use super::{ENDED, Session, is_folder};
use crate::config::{Config, Space};
use crate::error::{Error, Result};
use crate::pool::{Pool, create_new, list, remove_any};
use crate::sync::mib;

/// What was counted of a session, in its folder: files and bytes, parted by a space.
const SIZE: &str = "size";
/// How many names are counted at most; beyond, a session is told to have at least so many.
const MOST: u64 = 1_000_000;

/// How much of the ended sessions stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// So many sessions.
    pub count: u32,
    /// So many bytes of the disk, all of them together; what was saved of sessions has as many for itself.
    pub bytes: u64,
}

impl Cap {
    /// Nothing stays.
    pub const NONE: Self = Self { count: 0, bytes: 0 };

    /// What the configuration allows in this pool.
    pub fn of(config: &Config, pool: &Pool) -> Result<Self> {
        let bytes = match config.sessions_space {
            Space::Bytes(bytes) => bytes,
            Space::Percent(percent) => pool.capacity()? / 100 * u64::from(percent),
        };
        Ok(Self {
            count: config.sessions,
            bytes,
        })
    }
}

/// How much a session wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Files that were changed, made or removed.
    pub files: u64,
    /// Bytes that they take.
    pub bytes: u64,
}

impl Session {
    /// Its size, where it was counted.
    pub fn size(&self) -> Option<Size> {
        let text = fs::read_to_string(self.root.join(SIZE)).ok()?;
        let (files, bytes) = text.trim_end().split_once(' ')?;
        Some(Size {
            files: files.parse().ok()?,
            bytes: bytes.parse().ok()?,
        })
    }

    /// Counts it, once. Takes time with its size.
    fn measured(&self) -> Result<Size> {
        if let Some(size) = self.size() {
            return Ok(size);
        }
        let size = count(&self.upper())?;
        // Without a note it is counted again.
        let _ = create_new(&self.root.join(SIZE))
            .and_then(|mut note| writeln!(note, "{} {}", size.files, size.bytes));
        let generation = self.generation();
        info!(
            "session {} over generation {} has ended: {} files and {} were changed in it",
            self.name(),
            generation.map_or_else(|| "unknown".into(), |it| it.number.to_string()),
            size.files,
            mib(size.bytes)
        );
        Ok(size)
    }
}

pub(super) fn count(upper: &Path) -> Result<Size> {
    let mut size = Size::default();
    let mut folders = vec![upper.to_owned()];
    while let Some(folder) = folders.pop() {
        if !is_folder(&folder) {
            continue;
        }
        for path in list(&folder)? {
            let found =
                fs::symlink_metadata(&path).map_err(Error::system("can not read", &path))?;
            size.bytes += found.blocks() * 512;
            match found.is_dir() {
                true => folders.push(path),
                false => size.files += 1,
            }
        }
        if size.files > MOST {
            break;
        }
    }
    Ok(size)
}

/// The sessions that are over, oldest first.
pub fn ended(pool: &Pool) -> Result<Vec<Session>> {
    let folder = pool.sessions().join(ENDED);
    if !is_folder(&pool.sessions()) || !is_folder(&folder) {
        return Ok(Vec::new());
    }
    // A link to a folder is none: what it leads to is not the pool's.
    let folders = list(&folder)?.into_iter().filter(|root| is_folder(root));
    let mut sessions: Vec<Session> = folders.map(|root| Session { root }).collect();
    // Those without a number are of an older program.
    sessions.sort_by_key(|session| (session.number(), session.name()));
    Ok(sessions)
}

/// The one of this number, or the last that ended.
pub fn find_ended(pool: &Pool, number: Option<&str>) -> Result<Session> {
    let mut sessions = ended(pool)?.into_iter();
    let found = match number {
        Some(number) => sessions.find(|session| session.name() == number),
        None => sessions.next_back(),
    };
    found.ok_or_else(|| Error::Unknown {
        what: match number {
            Some(number) => format!("ended session {number}: `reclone session list` tells which"),
            None => "ended session".into(),
        },
        pool: pool.root().into(),
    })
}

/// Removes the oldest ended sessions until the others are within `cap`, and counts what the others wrote. Takes time with the size
/// of both. Gives how many were removed.
pub fn trim_ended(pool: &Pool, cap: &Cap) -> Result<u64> {
    let sessions = ended(pool)?;
    let surplus = sessions.len().saturating_sub(cap.count as usize);
    let (old, young) = sessions.split_at(surplus);
    old.iter().try_for_each(Session::remove)?;
    let mut removed = surplus;
    let mut room = cap.bytes;
    // The youngest have the first claim.
    for (at, session) in young.iter().enumerate().rev() {
        let size = session.measured()?;
        match room.checked_sub(size.bytes) {
            Some(rest) => room = rest,
            None => {
                young[..=at].iter().try_for_each(Session::remove)?;
                removed += at + 1;
                break;
            }
        }
    }
    Ok(removed as u64)
}

/// Removes every session that is over. Takes time with their size.
pub fn remove_ended(pool: &Pool) -> Result<u64> {
    trim_ended(pool, &Cap::NONE)
}

impl Session {
    /// Removes it with all that was written in it. Takes time with its size.
    pub fn remove(&self) -> Result<()> {
        remove_any(&self.root)
    }
}
