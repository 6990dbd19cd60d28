//! The configuration that a verb goes by where its options say nothing.

use std::fs;
use std::path::{Path, PathBuf};

use log::warn;

use crate::config::{CONFIG_FILE, Config, Key, OF_THE_BOOT};

/// The configuration of this machine: in a running clone the one that its boot went by, and everywhere the kernel command line's. What can not be
/// used in it is reported and left out.
pub fn read_config() -> Config {
    let own = Path::new(CONFIG_FILE);
    let folder = own.parent().unwrap_or(own);
    let of_the_boot = moved(own, folder);
    let file = of_the_boot.as_deref().unwrap_or(own);
    let text = fs::read(file).unwrap_or_default();
    let command_line = fs::read("/proc/cmdline").unwrap_or_default();
    let (mut config, complaints) = Config::read(file, &text, &command_line);
    complaints.iter().for_each(|complaint| warn!("{complaint}"));
    if of_the_boot.is_some() {
        let files = [&mut config.ca, &mut config.token_file];
        let key = match &mut config.key {
            Some(Key::File(path)) => Some(path),
            _ => None,
        };
        for path in files.into_iter().flatten().chain(key) {
            if let Some(moved) = moved(path, folder) {
                *path = moved;
            }
        }
    }
    config
}

/// Where a file of `folder` in the initramfs is now, if it is there.
fn moved(path: &Path, folder: &Path) -> Option<PathBuf> {
    let moved = Path::new(OF_THE_BOOT).join(path.strip_prefix(folder).ok()?);
    moved.is_file().then_some(moved)
}
