//! A store at a path: a USB stick, a network file system, the model's own disk.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{HeadAnswer, Kind, MAX_HEAD, Store, StoreError, Traffic, Validators, is_plain_path};

/// A store at a path.
pub struct DirStore {
    root: PathBuf,
    requests: AtomicU64,
    bytes: Arc<AtomicU64>,
}

impl DirStore {
    /// The store in the folder `root`. Does not look at it yet.
    pub fn open(root: &str) -> Self {
        Self {
            root: root.into(),
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
