//! The kernel modules that a root is made with, loaded without `modprobe`. Left to itself, the kernel runs that once for each of
//! them, with the large libraries that it has today: a third of a second on a slow machine. What can not be loaded here still
//! gets loaded so.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use log::debug;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// With their parameters. `loop` makes eight devices at its start if it is not told otherwise, and udev looks at each.
const WANTED: [(&str, &CStr); 3] = [("loop", c"max_loop=0"), ("erofs", c""), ("overlay", c"")];
/// `MODULE_INIT_COMPRESSED_FILE` of Linux `include/uapi/linux/module.h`.
const COMPRESSED: u32 = 4;

/// Loads those that the running kernel has as modules and has not loaded yet.
pub fn load() {
    let loaded = Path::new("/sys/module");
    let Some((folder, index)) = index() else {
        return;
    };
    for (name, parameters) in WANTED {
        if loaded.join(name).exists() {
            continue;
        }
        for file in files(&index, name) {
            let parameters = if stem(file) == name { parameters } else { c"" };
            if let Err(error) = insert(&folder.join(file), parameters) {
                debug!("{file}: {error}");
            }
        }
    }
}

/// The folder of the running kernel's modules, and what `depmod` wrote about them.
fn index() -> Option<(PathBuf, String)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let folder = Path::new("/lib/modules").join(release.trim());
    let index = fs::read_to_string(folder.join("modules.dep")).ok()?;
    Some((folder, index))
}

/// The files that a module needs, in the order in which they are to be loaded, itself last; none where `index` has no such module.
fn files<'a>(index: &'a str, name: &str) -> Vec<&'a str> {
    let mut lines = index.lines().filter_map(|line| line.split_once(':'));
    let Some((file, needed)) = lines.find(|(file, _)| stem(file) == name) else {
        return Vec::new();
    };
    let needed = needed.split_ascii_whitespace().rev();
    needed.chain([file]).collect()
}

/// `overlay` of `kernel/fs/overlayfs/overlay.ko.xz`.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

fn insert(path: &Path, parameters: &CStr) -> io::Result<()> {
    let flags = match path.extension().is_some_and(|it| it == "ko") {
        true => ModuleInitFlags::empty(),
        false => ModuleInitFlags::from_bits_retain(COMPRESSED),
    };
    match finit_module(File::open(path)?, parameters, flags) {
        Err(Errno::EEXIST) => Ok(()),
        inserted => Ok(inserted?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_is_loaded_before_it() {
        let index = "kernel/fs/overlayfs/overlay.ko.xz:\n\
            kernel/drivers/nvme/target/nvme-loop.ko.xz: kernel/a/nvmet.ko.xz kernel/b/configfs.ko.xz\n\
            kernel/fs/erofs/erofs.ko: kernel/lib/libcrc32c.ko\n";
        assert_eq!(
            files(index, "nvme-loop"),
            [
                "kernel/b/configfs.ko.xz",
                "kernel/a/nvmet.ko.xz",
                "kernel/drivers/nvme/target/nvme-loop.ko.xz"
            ]
        );
        assert_eq!(
            files(index, "overlay"),
            ["kernel/fs/overlayfs/overlay.ko.xz"]
        );
        assert!(files(index, "loop").is_empty(), "a part of a name is none");
    }
}
