//! The kernel of the generation that boots. Modules, firmware and kernel belong together: where the generation has no modules for the
//! kernel that runs, its own kernel takes over, in this boot.
//!
//! What keeps this from a loop: the new kernel is told that it was started so, and starts no further one; and a note in the pool, written
//! before and removed by the agent that comes up after, keeps a kernel from which none came back from being started again.

use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use log::{info, warn};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::assemble;
use crate::boot::Places;
use crate::boot::cpio::Archive;
use crate::boot::disk::make_read_only;
use crate::boot::modules::Modules;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::kernels::by_version;
use crate::pool::{Pool, replace};
use crate::state::Generation;
use crate::sys::{kexec, mount};

/// The word on the kernel command line of one that was started here.
const WORD: &str = "reclone.kernel";

/// A kernel that is loaded and not started.
pub struct Loaded {
    release: String,
    note: PathBuf,
}

/// Loads the kernel of `generation` if it is to take over: it has no modules for the running one. Else, and where it can not, nothing.
pub(super) fn load(
    pool: &Pool,
    generation: &Generation,
    running: Option<&Modules>,
    places: &Places,
    config: &Config,
) -> Option<Loaded> {
    let note = pool.root().join("kernel");
    if config.kernel.is_some() {
        // The agent came back.
        forget(&note);
        return None;
    }
    // One that needs none, or whose initramfs has none, does with any generation.
    let running = running?;
    let look = places.own().join("look");
    let found = look_into(pool, generation, &look, |root| {
        if running.are_in(root) {
            return Ok(None);
        }
        let number = generation.number;
        let without = format!(
            "generation {number} has no modules for this kernel {}",
            running.release()
        );
        if fs::read_to_string(&note).is_ok_and(|id| id.trim() == generation.manifest.to_string()) {
            warn!(
                "{without}, and its own did not come to reclone when it was started: does its initramfs have reclone?"
            );
            return Ok(None);
        }
        let Some(release) = newest(root) else {
            // The warning is for assemble, which leaves it for the previous one.
            info!("{without}, and none of its own with modules and an initramfs");
            return Ok(None);
        };
        info!("{without}: starting its own, {release}");
        load_from(root, &release, places)?;
        Ok(Some(release))
    });
    let loaded = found.and_then(|release| match release {
        Some(release) => {
            replace(&note, &format!("{}\n", generation.manifest))?;
            Ok(Some(Loaded { release, note }))
        }
        None => Ok(None),
    });
    loaded.unwrap_or_else(|error| {
        warn!("{error}: its kernel can not be started");
        None
    })
}

impl Loaded {
    /// Starts it. `disks` are read-only then, and clean. Returns only where it can not; then they are writable again.
    pub fn start(self, disks: &[&Path]) {
        let writable = make_read_only(disks);
        nix::unistd::sync();
        let Err(error) = kexec::start();
        warn!("the kernel {} can not be started: {error}", self.release);
        for disk in &writable {
            if let Err(error) = mount::remount_writable(disk) {
                warn!("{}: {error}", disk.display());
            }
        }
        forget(&self.note);
        let _ = kexec::unload();
    }
}

/// Shows the generation at `at`, read-only, for as long as `work` takes.
pub fn look_into<T>(
    pool: &Pool,
    generation: &Generation,
    at: &Path,
    work: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    fs::create_dir_all(at).map_err(Error::system("can not make the folder", at))?;
    assemble::look(pool, generation, at)?;
    let done = work(at);
    mount::unmount(at).map_err(Error::system("can not unmount", at))?;
    done
}

/// Reads kernel and initramfs of this release, and has the configuration of this initramfs come behind the other: that is the model's, and this
/// is what the clone was told.
fn load_from(root: &Path, release: &str, places: &Places) -> Result<()> {
    let open = |path: &Path| File::open(path).map_err(Error::system("can not open", path));
    let path = root.join(format!("boot/vmlinuz-{release}"));
    let kernel = open(&path)?;
    let mut initramfs = open(&root.join(format!("boot/initrd.img-{release}")))?;
    let configuration = places.config.parent().unwrap_or(Path::new("/"));
    let whole = with_configuration(&mut initramfs, configuration, configuration)
        .map_err(Error::system("can not copy the initramfs behind", root))?;
    let words = format!("{} {WORD}={release}", places.command_line());
    kexec::load(&kernel, &whole, &words).map_err(Error::system("the running kernel refuses", &path))
}

/// An initramfs in memory, with the files of a folder behind it, which will be in the folder `place`. The same files make the same bytes.
pub fn with_configuration(initramfs: &mut File, folder: &Path, place: &Path) -> io::Result<File> {
    let mut whole = File::from(memfd_create(c"initramfs", MemfdFlags::CLOEXEC)?);
    let length = io::copy(initramfs, &mut whole)?;
    let mut archive = Archive::new(&mut whole, length)?;
    let name = |path: &Path| {
        let text = path
            .to_str()
            .map(|text| text.trim_start_matches('/').to_owned());
        text.ok_or_else(|| io::Error::other("a name that is no text"))
    };
    let parents: Vec<_> = place.ancestors().collect();
    for parent in parents.into_iter().rev().skip(1) {
        archive.folder(&name(parent)?)?;
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.symlink_metadata().is_ok_and(|it| it.is_file()));
    files.sort();
    for path in files {
        let file_name = path.file_name().unwrap_or_default();
        archive.file(&name(&place.join(file_name))?, &fs::read(&path)?)?;
    }
    archive.finish()?;
    whole.rewind()?;
    Ok(whole)
}

/// The newest release of which a system has kernel, initramfs and modules.
pub fn newest(root: &Path) -> Option<String> {
    let entries = fs::read_dir(root.join("boot")).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let releases = names.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned));
    let is_whole = |release: &String| {
        let initramfs = root.join(format!("boot/initrd.img-{release}"));
        initramfs.exists() && Modules::of(release).are_in(root)
    };
    releases.filter(is_whole).max_by(|a, b| by_version(a, b))
}

fn forget(note: &Path) {
    match fs::remove_file(note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!("{}: {error}", note.display());
        }
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_newest_kernel_is_the_one_that_has_all_that_it_needs() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: String| root.path().join(path);
        fs::create_dir(at("boot".into())).unwrap();
        assert_eq!(newest(root.path()), None);
        for (release, modules, initramfs) in [
            ("6.1.0-9-amd64", true, true),
            ("6.1.0-10-amd64", true, true),
            ("6.12.1-amd64", false, true),
            ("6.13.0-amd64", true, false),
        ] {
            fs::write(at(format!("boot/vmlinuz-{release}")), "").unwrap();
            if initramfs {
                fs::write(at(format!("boot/initrd.img-{release}")), "").unwrap();
            }
            if modules {
                let folder = at(format!("usr/lib/modules/{release}"));
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("modules.dep"), "").unwrap();
            }
        }
        assert_eq!(newest(root.path()).as_deref(), Some("6.1.0-10-amd64"));
    }

    #[test]
    fn the_configuration_comes_behind_the_initramfs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("initrd");
        fs::write(&path, "12345").unwrap();
        fs::create_dir(folder.path().join("reclone")).unwrap();
        fs::write(folder.path().join("reclone/reclone.conf"), "store = /s\n").unwrap();
        let mut initramfs = File::open(path).unwrap();
        let configuration = folder.path().join("reclone");
        let mut whole =
            with_configuration(&mut initramfs, &configuration, Path::new("/etc/reclone")).unwrap();
        let mut bytes = Vec::new();
        whole.read_to_end(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"12345\0\0\x0007070"));
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("etc/reclone/reclone.conf\0"), "{text}");
        assert!(text.contains("store = /s\n"), "{text}");
    }
}
