//! The modules of the running kernel: whether a root has them, and those that a root is made with, loaded without `modprobe`.
//! Left to itself, the kernel runs that once for each of them, with the large libraries that it has today: a third of a second on a
//! slow machine. What can not be loaded here still gets loaded so.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use log::debug;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::running;

/// With their parameters. `loop` makes eight devices at its start if it is not told otherwise, and udev looks at each.
const WANTED: [(&str, &CStr); 3] = [("loop", c"max_loop=0"), ("erofs", c""), ("overlay", c"")];
/// `MODULE_INIT_COMPRESSED_FILE` of Linux `include/uapi/linux/module.h`.
const COMPRESSED: u32 = 4;

/// The modules of the running kernel.
pub struct Modules {
    release: String,
}

impl Modules {
    /// Those of a kernel with this release.
    pub fn of(release: &str) -> Modules {
        Modules {
            release: release.to_owned(),
        }
    }

    /// None where the system at `root`, the initramfs, has none either: such a kernel needs none.
    pub fn of_running_kernel(root: &Path) -> Option<Modules> {
        let modules = Modules::of(&running::kernel().ok()?);
        modules.are_in(root).then_some(modules)
    }

    /// The same, with those loaded that a root is made with.
    pub fn load_for_roots(root: &Path) -> Option<Modules> {
        let modules = Modules::of_running_kernel(root)?;
        modules.load(&WANTED, root);
        Some(modules)
    }

    /// That kernel's release.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Whether the system at `root` has them.
    pub fn are_in(&self, root: &Path) -> bool {
        self.folder_in(root).is_some()
    }

    /// The folder with what `depmod` wrote about them, in the system at `root`.
    fn folder_in(&self, root: &Path) -> Option<PathBuf> {
        let folder = |lib: &str| root.join(lib).join("modules").join(&self.release);
        let mut folders = ["usr/lib", "lib"].into_iter().map(folder);
        folders.find(|folder| folder.join("modules.dep").exists())
    }

    /// Loads these modules of the system at `root`, with their parameters, where they are not loaded yet.
    pub fn load(&self, wanted: &[(&str, &CStr)], root: &Path) {
        let loaded = Path::new("/sys/module");
        let Some(folder) = self.folder_in(root) else {
            return;
        };
        let index = fs::read_to_string(folder.join("modules.dep")).unwrap_or_default();
        for &(name, parameters) in wanted {
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_with_and_without_a_merged_usr() {
        for lib in ["usr/lib", "lib"] {
            let root = tempfile::tempdir().unwrap();
            let modules = Modules::of("6.12.1-amd64");
            let folder = root.path().join(lib).join("modules/6.12.1-amd64");
            fs::create_dir_all(&folder).unwrap();
            assert!(
                !modules.are_in(root.path()),
                "an empty folder is not enough"
            );
            fs::write(folder.join("modules.dep"), "").unwrap();
            assert!(modules.are_in(root.path()));
        }
    }

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
