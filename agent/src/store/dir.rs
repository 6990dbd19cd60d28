//! A store at a path: a USB stick, a network file system, the model's own disk.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{HeadAnswer, Kind, MAX_HEAD, Store, StoreError, Traffic, Validators, is_plain_path};

/// A store at a path.
pub struct DirStore {
    root: PathBuf,
    deadline: Option<Instant>,
    requests: AtomicU64,
    bytes: Arc<AtomicU64>,
}

impl DirStore {
    /// The store in the folder `root`, which is read until `deadline`. Does not look at it yet.
    pub fn open(root: &str, deadline: Option<Instant>) -> Self {
        Self {
            root: root.into(),
            deadline,
            requests: AtomicU64::new(0),
            bytes: Arc::default(),
        }
    }

    /// Opens a regular file of the store.
    fn open_file(&self, path: &str) -> Result<(File, Metadata, String), StoreError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let full = self.root.join(path);
        let location = full.display().to_string();
        if !is_plain_path(path) {
            return Err(StoreError::new(
                Kind::Refused,
                location,
                "not the name of a file in a store",
            ));
        }
        let failed = |error: io::Error| failure(&location, &error);
        // A pipe where a file belongs would be waited for without end.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&full)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(StoreError::new(
                Kind::Corrupt,
                location,
                "not a regular file",
            ));
        }
        Ok((file, metadata, location))
    }

    /// Reads a file that is not longer than a head.
    fn read_small(&self, file: File, location: &str) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let read = file.take(MAX_HEAD + 1).read_to_end(&mut bytes);
        let length = read.map_err(|error| failure(location, &error))? as u64;
        self.bytes.fetch_add(length, Ordering::Relaxed);
        if length > MAX_HEAD {
            let what = format!("the head is longer than {MAX_HEAD} bytes");
            return Err(StoreError::new(Kind::Corrupt, location, what));
        }
        Ok(bytes)
    }
}

impl Store for DirStore {
    fn head(&self, known: Option<&Validators>) -> Result<HeadAnswer, StoreError> {
        let (file, metadata, location) = self.open_file("head")?;
        let validators = Validators {
            etag: Some(fingerprint(&metadata)),
            last_modified: None,
        };
        if known == Some(&validators) {
            return Ok(HeadAnswer::Unchanged);
        }
        let bytes = self.read_small(file, &location)?;
        Ok(HeadAnswer::Fresh { bytes, validators })
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        let (file, _, location) = self.open_file(path)?;
        self.read_small(file, &location)
    }

    fn read(
        &self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        let (mut file, metadata, location) = self.open_file(path)?;
        if offset
            .checked_add(length)
            .is_none_or(|end| end > metadata.len())
        {
            let what = format!(
                "has {} bytes, {length} from {offset} were expected",
                metadata.len()
            );
            return Err(StoreError::new(Kind::Short, location, what));
        }
        file.seek(SeekFrom::Start(offset))
            .map_err(|error| failure(&location, &error))?;
        Ok(Box::new(Range {
            file,
            left: length,
            location,
            deadline: self.deadline,
            bytes: Arc::clone(&self.bytes),
        }))
    }

    fn ranges(&self) -> bool {
        true
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            retries: 0,
        }
    }
}

/// Part of a file; an error where the file ends inside it.
struct Range {
    file: File,
    left: u64,
    location: String,
    deadline: Option<Instant>,
    bytes: Arc<AtomicU64>,
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        if self.deadline.is_some_and(|end| Instant::now() >= end) {
            let what = "it is read too slowly, no time is left";
            return Err(StoreError::new(Kind::Deadline, &self.location, what).into());
        }
        let got = match self.file.read(&mut buffer[..wanted]) {
            Ok(0) => {
                let what = format!("became shorter: {} bytes are missing", self.left);
                return Err(StoreError::new(Kind::Short, &self.location, what).into());
            }
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(failure(&self.location, &error).into()),
        };
        self.left -= got as u64;
        self.bytes.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

/// What changes whenever the head is replaced: a rename brings a new inode.
fn fingerprint(metadata: &Metadata) -> String {
    let m = metadata;
    format!(
        "{}-{}.{:09}-{}",
        m.ino(),
        m.mtime(),
        m.mtime_nsec(),
        m.size()
    )
}

fn failure(location: &str, error: &io::Error) -> StoreError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Kind::NotFound,
        io::ErrorKind::PermissionDenied => Kind::Refused,
        io::ErrorKind::TimedOut | io::ErrorKind::StaleNetworkFileHandle => Kind::Timeout,
        _ => Kind::Other,
    };
    StoreError::new(kind, location, error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_is_read_until_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("head"), "content").unwrap();
        let read = |deadline| {
            let store = DirStore::open(folder.path().to_str().unwrap(), deadline);
            let mut content = String::new();
            let mut reader = store.read("head", 0, 7).unwrap();
            reader.read_to_string(&mut content).map(|_| content)
        };
        assert_eq!(read(None).unwrap(), "content");
        let error = read(Some(Instant::now())).unwrap_err();
        let error = StoreError::from_io(&error).unwrap();
        assert_eq!(error.kind(), Kind::Deadline);
    }
}
