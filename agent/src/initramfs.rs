//! What is put behind an initramfs.

mod cpio;

use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};

use cpio::Archive;

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;

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
