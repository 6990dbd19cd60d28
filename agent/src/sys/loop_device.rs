//! Loop devices: a file as a block device. A file-backed EROFS mount would do without, but it would use up one of the
//! kernel's two stacking levels, and only kernels since 6.12 have it.
//!
//! Interface: Linux `include/uapi/linux/loop.h`.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use ioctl::{loop_configure, loop_ctl_get_free, loop_get_status64};

mod ioctl {
    #![allow(missing_docs)]
    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, super::LoopConfig);
    nix::ioctl_read_bad!(loop_get_status64, 0x4C05, super::LoopInfo);
}

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LOOP_MAJOR: u64 = 7;
const LOOP_CONTROL: &str = "/dev/loop-control";
const MISC_MAJOR: u64 = 10;
const LOOP_CONTROL_MINOR: u64 = 237;
/// What the kernel adds to the name of a file that has none any more.
const DELETED: &[u8] = b" (deleted)";
/// How often another process may snatch the free device before we give up.
const ATTEMPTS: usize = 64;

/// `struct loop_info64`; to configure a device, all of it zero but the flags.
#[repr(C)]
struct LoopInfo {
    /// `lo_device` and `lo_inode` of the file, as `stat` gives them, and three more.
    before_flags: [u64; 5],
    /// `lo_encrypt_type` and `lo_encrypt_key_size` come with it in one run of 32-bit fields.
    numbers: [u32; 4],
    names: [u8; 64 + 64 + 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// A device that shows a file, read-only. It goes when this and the last mount of it are gone.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _held: File,
}

impl LoopDevice {
    /// A device for `file`.
    pub fn attach(file: &File) -> io::Result<Self> {
        let control = open_control()?;
        for _ in 0..ATTEMPTS {
            // SAFETY: takes no argument.
            let number = unsafe { loop_ctl_get_free(control.as_raw_fd()) }?;
            let (path, device) = open_device(number)?;
            match configure(device.as_raw_fd(), file.as_raw_fd()) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        _held: device,
                    });
                }
                Err(Errno::EBUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EBUSY.into())
    }

    /// Its name below `/dev`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens the device that gives out loop devices. Where its driver is a module that nobody has loaded, there may be no node
/// for it; opening one that is made here loads it.
fn open_control() -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).open(LOOP_CONTROL);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let device = makedev(MISC_MAJOR, LOOP_CONTROL_MINOR);
            let mode = Mode::from_bits_truncate(0o600);
            mknod(LOOP_CONTROL, SFlag::S_IFCHR, mode, device)?;
            open()
        }
        opened => opened,
    }
}

/// Opens a device; makes its node where no devtmpfs does.
fn open_device(number: i32) -> io::Result<(PathBuf, File)> {
    let path = PathBuf::from(format!("/dev/loop{number}"));
    let open = || OpenOptions::new().read(true).open(&path);
    let device = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let device = makedev(LOOP_MAJOR, u64::try_from(number).unwrap_or_default());
            mknod(
                &path,
                SFlag::S_IFBLK,
                Mode::from_bits_truncate(0o660),
                device,
            )?;
            open()?
        }
        opened => opened?,
    };
    Ok((path, device))
}

fn configure(device: RawFd, file: RawFd) -> Result<(), Errno> {
    let mut info = LoopInfo::default();
    info.numbers[3] = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    let config = LoopConfig {
        fd: u32::try_from(file).map_err(|_| Errno::EBADF)?,
        block_size: 0,
        info,
        reserved: [0; 8],
    };
    // SAFETY: the structure has the layout that the kernel expects (sizes are asserted below) and outlives the call.
    unsafe { loop_configure(device, &config) }.map(drop)
}

impl Default for LoopInfo {
    fn default() -> Self {
        Self {
            before_flags: [0; 5],
            numbers: [0; 4],
            names: [0; 160],
            init: [0; 2],
        }
    }
}

const _: () = assert!(size_of::<LoopInfo>() == 232 && size_of::<LoopConfig>() == 304);

/// A file behind a loop device.
#[derive(Debug, PartialEq, Eq)]
pub struct BackingFile {
    /// Where it is, or was, as the kernel names it.
    pub path: PathBuf,
    /// Whether it has lost its name since.
    pub deleted: bool,
    /// Its file system's device and its inode, where the loop device tells.
    pub identity: Option<(u64, u64)>,
}

/// The files behind all loop devices.
pub fn backing_files() -> Vec<BackingFile> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = devices.filter_map(|device| {
        let name = fs::read(device.path().join("loop/backing_file")).ok()?;
        let (path, deleted) = parse_name(name);
        let identity = identity(&device.file_name().to_string_lossy());
        Some(BackingFile {
            path,
            deleted,
            identity,
        })
    });
    files.collect()
}

fn parse_name(mut name: Vec<u8>) -> (PathBuf, bool) {
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    let deleted = name.ends_with(DELETED);
    if deleted {
        name.truncate(name.len() - DELETED.len());
    }
    (OsString::from_vec(name).into(), deleted)
}

fn identity(device: &str) -> Option<(u64, u64)> {
    let number = device.strip_prefix("loop")?.parse().ok()?;
    let (_, device) = open_device(number).ok()?;
    let mut info = LoopInfo::default();
    // SAFETY: the structure has the layout that the kernel expects (its size is asserted above) and outlives the call.
    unsafe { loop_get_status64(device.as_raw_fd(), &mut info) }.ok()?;
    let [device, inode, ..] = info.before_flags;
    Some((device, inode))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_lost_its_name_is_told_by_the_one_it_had() {
        for (name, path, deleted) in [
            ("/pool/images/7\n", "/pool/images/7", false),
            ("/pool/images/7 (deleted)\n", "/pool/images/7", true),
        ] {
            assert_eq!(parse_name(name.into()), (path.into(), deleted));
        }
    }

    #[test]
    fn a_device_tells_which_file_is_behind_it() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4096).unwrap();
        let Ok(_device) = LoopDevice::attach(file.as_file()) else {
            eprintln!("SKIPPED: loop devices need root");
            return;
        };
        let metadata = file.as_file().metadata().unwrap();
        let wanted = Some((metadata.dev(), metadata.ino()));
        assert!(backing_files().iter().any(|it| it.identity == wanted));
    }
}
