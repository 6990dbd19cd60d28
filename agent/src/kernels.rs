//! The kernels of a generation: by its manifest, before anything of it is here, and by what is in it.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use reclone_format::{Error as FormatError, ManifestReader, TreePath};

use crate::error::{Error, Result};
use crate::modules::Modules;
use crate::pool::Pool;
use crate::stage::id_of;
use crate::tree::Tree;

/// Which kernels a generation has, and how large.
#[derive(Debug, Default)]
pub struct Kernels {
    /// Those whose modules it has, by what `depmod` wrote about them.
    pub with_modules: Vec<String>,
    /// Bytes of what is in `/boot` under a release: kernel, initramfs.
    images: Vec<(String, [u64; 2])>,
}

impl Kernels {
    /// Reads all of a manifest.
    pub fn of<R: Read>(manifest: ManifestReader<R>) -> Result<Self, FormatError> {
        let mut found = Self::default();
        for item in manifest {
            let entry = item?.entry;
            found.add(
                &String::from_utf8_lossy(entry.path.as_bytes()),
                entry.object().map_or(0, |it| it.1),
            );
        }
        Ok(found)
    }

    fn add(&mut self, path: &str, size: u64) {
        let modules = path.strip_prefix("usr/").unwrap_or(path);
        let modules = modules.strip_prefix("lib/modules/");
        if let Some(release) = modules.and_then(|it| it.strip_suffix("/modules.dep")) {
            self.with_modules.push(release.to_owned());
        }
        for (at, name) in ["boot/vmlinuz-", "boot/initrd.img-"].iter().enumerate() {
            if let Some(release) = path.strip_prefix(name) {
                let found = self.images.iter().position(|it| it.0 == release);
                let found = found.unwrap_or_else(|| {
                    self.images.push((release.to_owned(), [0; 2]));
                    self.images.len() - 1
                });
                self.images[found].1[at] = size;
            }
        }
    }

    /// The newest that has all that it takes to be started, and the bytes of its kernel and initramfs.
    pub fn newest(&self) -> Option<(&str, u64)> {
        let whole = self
            .images
            .iter()
            .filter(|(release, sizes)| !sizes.contains(&0) && self.with_modules.contains(release));
        let newest = whole.max_by(|a, b| by_version(&a.0, &b.0));
        newest.map(|(release, sizes)| (release.as_str(), sizes.iter().sum()))
    }

    /// The same, if it has to be started after this kernel, whose modules it lacks.
    pub fn newest_after(&self, running: &str) -> Option<(&str, u64)> {
        let fits = self.with_modules.iter().any(|it| it == running);
        self.newest().filter(|_| !fits)
    }
}

/// The newest release of which a system has kernel, initramfs and modules.
pub fn newest_in(root: &Path) -> Option<String> {
    let entries = fs::read_dir(root.join("boot")).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let releases = names.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned));
    let is_whole = |release: &String| {
        let initramfs = root.join(format!("boot/initrd.img-{release}"));
        initramfs.exists() && Modules::of(release).are_in(root)
    };
    releases.filter(is_whole).max_by(|a, b| by_version(a, b))
}

/// Kernel and initramfs of this release in the generation that is shown at `root`. What rotted in the pool is an error.
pub fn files_of(pool: &Pool, number: u64, root: &Path, release: &str) -> Result<[File; 2]> {
    let open = |name: &str| open(pool, number, root, &format!("boot/{name}-{release}"));
    Ok([open("vmlinuz")?, open("initrd.img")?])
}

/// Opens a file of the generation that is shown at `root`, wherever a link leads, and holds it against the manifest.
fn open(pool: &Pool, number: u64, root: &Path, name: &str) -> Result<File> {
    let shown = root.join(name);
    let below = || -> io::Result<PathBuf> {
        let (root, path) = (fs::canonicalize(root)?, fs::canonicalize(&shown)?);
        let below = path.strip_prefix(root).map_err(io::Error::other)?;
        Ok(below.to_owned())
    };
    let below = below().map_err(Error::system("can not find", &shown))?;
    let path = TreePath::from_bytes(below.into_os_string().into_encoded_bytes());
    let path = path.map_err(Error::published(name))?;
    let tree = Tree::of_generation(pool, number, &path)?;
    let found = tree.map(|tree| tree.open(0)).transpose()?;
    if let Some((mut file, Some(id))) = found
        && id_of(&file).is_ok_and(|it| it == id)
        && file.rewind().is_ok()
    {
        return Ok(file);
    }
    Err(Error::Damaged {
        path: Path::new("/").join(name),
        reason: "it rotted in the pool and is not started; boot with reclone=reset, or right here"
            .into(),
    })
}

/// As people count: numbers by value, the rest as text.
pub fn by_version(a: &str, b: &str) -> Ordering {
    let key = |text: &str| -> Vec<(u64, String)> {
        let parts = text.split_inclusive(|letter: char| !letter.is_ascii_digit());
        let part = |part: &str| {
            let rest = part.trim_start_matches(|letter: char| letter.is_ascii_digit());
            let digits = &part[..part.len() - rest.len()];
            (digits.parse().unwrap_or(0), rest.to_owned())
        };
        parts.map(part).collect()
    };
    key(a).cmp(&key(b))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_the_one_with_modules_and_an_initramfs() {
        let mut found = Kernels::default();
        assert_eq!(found.newest(), None);
        for (path, size) in [
            ("boot/vmlinuz-6.1.0-9-amd64", 1),
            ("boot/initrd.img-6.1.0-9-amd64", 2),
            ("usr/lib/modules/6.1.0-9-amd64/modules.dep", 3),
            ("boot/vmlinuz-6.1.0-10-amd64", 10),
            ("boot/initrd.img-6.1.0-10-amd64", 20),
            ("lib/modules/6.1.0-10-amd64/modules.dep", 30),
            ("boot/vmlinuz-6.2", 1),
            ("boot/initrd.img-6.2", 2),
            ("boot/vmlinuz-6.3", 1),
            ("boot/initrd.img-6.3", 0),
            ("usr/lib/modules/6.3/modules.dep", 3),
        ] {
            found.add(path, size);
        }
        assert_eq!(found.newest(), Some(("6.1.0-10-amd64", 30)));
        assert_eq!(found.newest_after("6.1.0-9-amd64"), None);
        assert_eq!(found.newest_after("5.10").unwrap().1, 30);
    }

    #[test]
    fn the_newest_kernel_in_a_system_is_the_one_that_has_all_that_it_needs() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: String| root.path().join(path);
        fs::create_dir(at("boot".into())).unwrap();
        assert_eq!(newest_in(root.path()), None);
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
        assert_eq!(newest_in(root.path()).as_deref(), Some("6.1.0-10-amd64"));
    }
}
