//! Loop devices: a file as a block device. A file-backed EROFS mount would do without, but it would use up one of the
//! kernel's two stacking levels, and only kernels since 6.12 have it.
//!
//! Interface: Linux `include/uapi/linux/loop.h`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use ioctl::{loop_configure, loop_ctl_get_free};

mod ioctl {
    #![allow(missing_docs)]
    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, super::LoopConfig);
}

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LOOP_MAJOR: u64 = 7;
const LOOP_CONTROL: &str = "/dev/loop-control";
const MISC_MAJOR: u64 = 10;
const LOOP_CONTROL_MINOR: u64 = 237;
/// How often another process may snatch the free device before we give up.
const ATTEMPTS: usize = 64;

/// `struct loop_info64`; all of it zero but the flags.
#[repr(C)]
struct LoopInfo {
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
    let config = LoopConfig {
        fd: u32::try_from(file).map_err(|_| Errno::EBADF)?,
        block_size: 0,
        info: LoopInfo {
            before_flags: [0; 5],
            numbers: [0, 0, 0, LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR],
            names: [0; 160],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: the structure has the layout that the kernel expects (sizes are asserted below) and outlives the call.
    unsafe { loop_configure(device, &config) }.map(drop)
}

const _: () = assert!(size_of::<LoopInfo>() == 232 && size_of::<LoopConfig>() == 304);

/// The files behind all loop devices, as the kernel names them.
pub fn backing_files() -> Vec<PathBuf> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = devices.filter_map(|device| fs::read(device.path().join("loop/backing_file")).ok());
    files
        .map(|mut name| {
            name.truncate(name.trim_ascii_end().len());
            PathBuf::from(std::ffi::OsString::from_vec(name))
        })
        .collect()
}
