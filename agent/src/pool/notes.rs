//! What is noted of syncs, for those that come: the folder `log`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

use super::{Pool, make_dir};
use crate::error::{Error, Result};

impl Pool {
    /// Notes how fast a transfer was, in bytes a second. Not synced.
    pub fn note_rate(&self, rate: u64) -> Result<()> {
        let path = self.log().join("rate");
        make_dir(&self.log())?;
        fs::write(&path, format!("{rate}\n")).map_err(Error::system("can not write", &path))
    }

    /// How fast the last transfer was, in bytes a second, if one was measured.
    pub fn rate(&self) -> Option<u64> {
        let text = fs::read_to_string(self.log().join("rate")).ok()?;
        text.trim().parse().ok().filter(|rate| *rate > 0)
    }

    /// Notes that the store was asked just now. Not synced: after a power cut the time may be an older one.
    pub fn note_sync(&self) -> Result<()> {
        let path = self.log().join("last-sync");
        make_dir(&self.log())?;
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path);
        file.and_then(|file| file.set_modified(SystemTime::now()))
            .map_err(Error::system("can not write", &path))
    }

    /// When the store was last asked with success.
    pub fn last_sync(&self) -> Option<SystemTime> {
        fs::metadata(self.log().join("last-sync"))
            .ok()?
            .modified()
            .ok()
    }
}
