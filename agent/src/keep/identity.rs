//! The one thing that a clone makes up when it is missing: its machine id. Two machines with the model's would be one to the network.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::sys::random;

/// Where the id is.
pub const MACHINE_ID: &str = "etc/machine-id";
/// How long a machine without an id waits for the kernel's randomness.
const RANDOMNESS: Duration = Duration::from_secs(10);

/// Whether the file is there and has an id.
pub fn has_machine_id(path: &Path) -> bool {
    let is_file = fs::symlink_metadata(path).is_ok_and(|it| it.is_file());
    is_file && fs::read_to_string(path).is_ok_and(|id| is_machine_id(id.trim()))
}

fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Writes a random id. The folder must be there.
pub fn write_machine_id(path: &Path) -> io::Result<()> {
    fs::write(path, random_id()? + "\n")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))
}

/// A random id in the form of machine-id(5), an RFC 4122 version 4 UUID.
pub fn random_id() -> io::Result<String> {
    // Clones of one disk that begin with no randomness would all make the same.
    random::wait(Some(Instant::now() + RANDOMNESS));
    let mut id = [0u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut id)?;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}
