//! A disk that fails as told: a file of a FUSE file system, whose bytes are in the memory of this test program, behind a loop
//! device. What fails is found by its
//! content, so that no file system has to be asked where it put it.
//!
//! Interface: Linux `include/uapi/linux/fuse.h`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::mounts::Mount;
use crate::programs::succeed;

const DEVICE: &str = "/dev/fuse";
const BLOCK: usize = 4096;
/// The largest write that the kernel may send; its request is a little longer.
const MAX_WRITE: usize = 128 << 10;

/// What fails.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Reads of these bytes of the disk; [`FaultyDisk::places`] finds them.
    pub reads: Vec<Range<usize>>,
    /// Writes of what holds one of these.
    pub writes_of: Vec<Vec<u8>>,
    /// Every write.
    pub writes: bool,
}

#[derive(Default)]
struct Shared {
    bytes: Mutex<Vec<u8>>,
    faults: Mutex<Faults>,
}

/// A disk with ext4 on it. The mount on it must end before it does.
pub struct FaultyDisk {
    shared: Arc<Shared>,
    file: PathBuf,
    device: PathBuf,
}

/// Whether this machine can have one; says so where it can not.
pub fn possible() -> bool {
    let possible = Path::new(DEVICE).exists();
    if !possible {
        eprintln!("SKIPPED: {DEVICE} is missing: no disk can be made to fail");
    }
    possible
}

impl FaultyDisk {
    /// Of this many MiB, below `folder`.
    pub fn new(folder: &Path, mib: usize) -> Self {
        let image = folder.join("new.img");
        File::create(&image)
            .unwrap()
            .set_len((mib as u64) << 20)
            .unwrap();
        let mut mkfs = Command::new("mkfs.ext4");
        succeed(mkfs.args(["-q", "-N", "1500"]).arg(&image));
        let shared = Arc::new(Shared::default());
        *shared.bytes.lock().unwrap() = fs::read(&image).unwrap();
        fs::remove_file(&image).unwrap();
        let file = folder.join("faulty.img");
        File::create(&file).unwrap();
        serve(&file, Arc::clone(&shared));
        let mut losetup = Command::new("losetup");
        let (device, _) = succeed(losetup.args(["--find", "--show"]).arg(&file));
        let device = PathBuf::from(device.trim());
        // Whoever had the device before may have left it so.
        succeed(Command::new("blockdev").arg("--setrw").arg(&device));
        Self {
            shared,
            file,
            device,
        }
    }

    /// Waits until nobody has it mounted. Namespaces of other tests may have, for the moment that they take.
    pub fn wait_until_unused(&self) {
        let used = Path::new("/sys/fs/ext4").join(self.device.file_name().unwrap());
        let end = Instant::now() + Duration::from_secs(10);
        while used.exists() {
            assert!(Instant::now() < end, "{} is in use", used.display());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Mounts it; what was in memory before is not any more.
    pub fn mount(&self, at: &Path) -> Mount {
        self.wait_until_unused();
        Mount::new("ext4", &self.device, "errors=remount-ro", at)
    }

    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Where these bytes are now. What was written and not synced is not there yet.
    pub fn places(&self, needle: &[u8]) -> Vec<Range<usize>> {
        let bytes = self.shared.bytes.lock().unwrap();
        let found = find(&bytes, needle);
        assert!(!found.is_empty(), "the disk has nothing of this kind");
        found
    }

    /// Has this fail from now on, and nothing else.
    pub fn fail(&self, faults: Faults) {
        *self.shared.faults.lock().unwrap() = faults;
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.fail(Faults::default());
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        let detached = Command::new("losetup")
            .arg("--detach")
            .arg(&self.device)
            .status();
        let unmounted = umount2(&self.file, MntFlags::MNT_DETACH);
        if !thread::panicking() {
            assert!(detached.unwrap().success() && unmounted.is_ok());
        }
    }
}

/// Mounts a file system over the file `at` that is nothing but this one file, and answers for it until it is unmounted.
fn serve(at: &Path, shared: Arc<Shared>) {
    let device = File::options().read(true).write(true).open(DEVICE).unwrap();
    let options = format!(
        "fd={},rootmode=100600,user_id=0,group_id=0",
        device.as_raw_fd()
    );
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("faulty"),
        at,
        Some("fuse"),
        flags,
        Some(options.as_str()),
    )
    .unwrap();
    thread::spawn(move || {
        let mut request = vec![0; MAX_WRITE + BLOCK];
        // The end is an error: there is no such device any more.
        while let Ok(length) = (&device).read(&mut request) {
            let header = Request(&request[..length]);
            let (error, answer) = match shared.answer(header) {
                None => continue,
                Some(Ok(answer)) => (0, answer),
                Some(Err(error)) => (-error, Vec::new()),
            };
            let mut out = Vec::with_capacity(16 + answer.len());
            out.extend(u32::try_from(16 + answer.len()).unwrap().to_le_bytes());
            out.extend(error.to_le_bytes());
            out.extend(header.u64_at(8).to_le_bytes());
            out.extend(answer);
            // Whoever asked may be gone.
            let _: io::Result<usize> = (&device).write(&out);
        }
    });
}

/// `struct fuse_in_header` and what follows it.
#[derive(Clone, Copy)]
struct Request<'a>(&'a [u8]);

impl Request<'_> {
    /// Where the arguments begin.
    const ARGUMENTS: usize = 40;

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    /// `offset` and `size` of a read or a write.
    fn range(&self) -> Range<usize> {
        let from = usize::try_from(self.u64_at(Self::ARGUMENTS + 8)).unwrap();
        from..from + self.u32_at(Self::ARGUMENTS + 16) as usize
    }
}

impl Shared {
    /// The answer to a request, or the error; none where none is wanted.
    fn answer(&self, request: Request) -> Option<Result<Vec<u8>, i32>> {
        let answer = match request.u32_at(4) {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => return None,
            // GETATTR, OPEN
            3 => Ok(self.attributes()),
            14 => Ok([0u64.to_le_bytes(), 1u64.to_le_bytes()].concat()),
            15 => self.read(request),
            16 => self.write(request),
            // STATFS
            17 => Ok(vec![0; 80]),
            // RELEASE, FSYNC, FLUSH, DESTROY
            18 | 20 | 25 | 38 => Ok(Vec::new()),
            26 => Ok(init()),
            _ => Err(libc::ENOSYS),
        };
        Some(answer)
    }

    fn read(&self, request: Request) -> Result<Vec<u8>, i32> {
        let bytes = self.bytes.lock().unwrap();
        let range = request.range();
        let wanted = &bytes[range.start.min(bytes.len())..range.end.min(bytes.len())];
        let faults = self.faults.lock().unwrap();
        let fails = |bad: &Range<usize>| bad.start < range.end && range.start < bad.end;
        match faults.reads.iter().any(fails) {
            true => Err(libc::EIO),
            false => Ok(wanted.to_owned()),
        }
    }

    fn write(&self, request: Request) -> Result<Vec<u8>, i32> {
        let range = request.range();
        let data = &request.0[Request::ARGUMENTS + 40..];
        let faults = self.faults.lock().unwrap();
        if faults.writes
            || faults
                .writes_of
                .iter()
                .any(|needle| !find(data, needle).is_empty())
        {
            return Err(libc::EIO);
        }
        let size = u64::try_from(range.len()).unwrap();
        self.bytes.lock().unwrap()[range].copy_from_slice(data);
        Ok(size.to_le_bytes().to_vec())
    }

    /// `struct fuse_attr_out`.
    fn attributes(&self) -> Vec<u8> {
        let size = self.bytes.lock().unwrap().len() as u64;
        let mut out = vec![0; 104];
        let mut put = |at: usize, value: u64| out[at..at + 8].copy_from_slice(&value.to_le_bytes());
        put(16, 1);
        put(24, size);
        put(32, size / 512);
        // The mode and the number of links.
        put(76, 0o100_600 | 1 << 32);
        out
    }
}

/// `struct fuse_init_out`: version 7.31, and writes of [`MAX_WRITE`].
fn init() -> Vec<u8> {
    const BIG_WRITES: u32 = 1 << 5;
    let mut out = Vec::new();
    for field in [7, 31, 0, BIG_WRITES, 0, MAX_WRITE as u32, 1] {
        out.extend(field.to_le_bytes());
    }
    out.resize(64, 0);
    out
}

/// Every place of `needle`.
fn find(bytes: &[u8], needle: &[u8]) -> Vec<Range<usize>> {
    let starts = bytes.windows(needle.len()).enumerate();
    let found = starts.filter(|(_, window)| *window == needle);
    found.map(|(at, _)| at..at + needle.len()).collect()
}
