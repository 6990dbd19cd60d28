//! The disk that an installation is for.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::LONGEST;
use crate::error::{Error, Result};
use crate::partition;

/// A whole disk.
pub struct Target {
    /// As it was named.
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
    /// Its serial number; empty where it tells none.
    pub serial: String,
    /// What its maker calls it, with a comma behind it; empty where it does not tell.
    pub model: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, mib) = (self.path.display(), self.size >> 20);
        write!(
            f,
            "{path} ({}{mib} MiB, serial number {})",
            self.model, self.serial
        )
    }
}

impl Target {
    /// Waits for the disk of this name and asks the kernel and udev about it.
    pub fn find(path: &Path) -> Result<Self> {
        let failed = |error| Error::system("can not find the disk", path)(error);
        partition::wait_for(path, Instant::now() + LONGEST).map_err(failed)?;
        let node = fs::canonicalize(path).map_err(failed)?;
        let system = Path::new("/sys/class/block").join(node.file_name().unwrap_or_default());
        let of_kernel = |name: &str| {
            let text = fs::read_to_string(system.join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        let sectors = of_kernel("size").parse::<u64>().unwrap_or_default();
        if sectors == 0 || system.join("partition").exists() {
            let path = path.display();
            return Err(Error::Usage(format!("{path} is not a whole disk")));
        }
        let udev = format!("/run/udev/data/b{}", of_kernel("dev"));
        let udev = fs::read_to_string(udev).unwrap_or_default();
        let of_udev = |key: &str| {
            let mut values = udev.lines().filter_map(|line| line.strip_prefix(key));
            values.next().map(str::to_owned)
        };
        let serial = of_udev("E:ID_SERIAL_SHORT=").or_else(|| of_udev("E:ID_SERIAL="));
        let of_disk = || match of_kernel("serial") {
            serial if serial.is_empty() => of_kernel("device/serial"),
            serial => serial,
        };
        let mut model = of_udev("E:ID_MODEL=").unwrap_or_else(|| of_kernel("device/model"));
        if !model.is_empty() {
            model += ", ";
        }
        Ok(Self {
            path: path.into(),
            size: sectors << 9,
            serial: serial.unwrap_or_else(of_disk),
            model,
        })
    }
}
