//! What a boot says: on the console as it happens, and kept for those who ask later, in `/run/reclone/log` and in the
//! pool's `log/boot`. A line has no time of its own; each boot begins with one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::boot::splash::Splash;
use crate::error::Error;

/// A log of boots that has grown longer than this, in bytes, becomes the old one.
const LONGEST: u64 = 256 * 1024;

/// The logger of the verb `boot`.
pub struct BootLog {
    lines: Mutex<String>,
    splash: Mutex<Splash>,
}

impl BootLog {
    /// Makes this the program's logger, once.
    pub fn install() -> &'static BootLog {
        static LOG: OnceLock<BootLog> = OnceLock::new();
        let boot_log = LOG.get_or_init(|| BootLog {
            lines: Mutex::default(),
            splash: Mutex::default(),
        });
        // A second call finds the logger in its place already.
        if log::set_logger(boot_log).is_ok() {
            log::set_max_level(LevelFilter::Info);
        }
        boot_log
    }

    /// Adds what was said so far to the file `path`, and the error that ended the boot, which is said last; a file that is too long is first renamed to `<path>.old`.
    pub fn append_to(&self, path: &Path, end: Option<&Error>) -> io::Result<()> {
        if fs::metadata(path).is_ok_and(|it| it.len() > LONGEST) {
            fs::rename(path, path.with_extension("old"))?;
        }
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).mode(0o600).open(path)?;
        write!(file, "boot at {} s since 1970\n{lines}", since.as_secs())?;
        match end {
            Some(error) => writeln!(file, "reclone: error: {error}"),
            None => Ok(()),
        }
    }
}

impl Log for BootLog {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = match record.level() {
            Level::Error => format!("reclone: error: {}\n", record.args()),
            Level::Warn => format!("reclone: warning: {}\n", record.args()),
            _ => format!("reclone: {}\n", record.args()),
        };
        // A console that can not be written to is no reason to stop.
        let _ = io::stderr().write_all(line.as_bytes());
        let mut splash = self.splash.lock().unwrap_or_else(PoisonError::into_inner);
        splash.show(&line);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_str(&line);
    }

    fn flush(&self) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_makes_room_for_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boot");
        let boot_log = BootLog {
            lines: Mutex::new("reclone: hello\n".into()),
            splash: Mutex::default(),
        };
        boot_log.append_to(&path, None).unwrap();
        boot_log
            .append_to(&path, Some(&Error::Network("no cable".into())))
            .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("reclone: hello\n").count(), 2);
        assert_eq!(text.matches("boot at ").count(), 2);
        assert!(
            text.ends_with("reclone: error: The network did not come up: no cable\n"),
            "{text}"
        );
        fs::write(&path, "x".repeat(usize::try_from(LONGEST).unwrap() + 1)).unwrap();
        boot_log.append_to(&path, None).unwrap();
        assert!(fs::metadata(path.with_extension("old")).unwrap().len() > LONGEST);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }
}
