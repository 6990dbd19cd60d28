//! An archive that the kernel unpacks over an initramfs that it stands behind: the format `newc` of Linux
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_600;

/// Writes one archive, entry by entry, each at a multiple of four bytes.
pub struct Archive<W> {
    to: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// One that stands `offset` bytes from the start of what it is written to.
    pub fn new(mut to: W, offset: u64) -> io::Result<Self> {
        pad(&mut to, offset)?;
        Ok(Self { to, inode: 0 })
    }

    /// Adds a folder that everybody may read.
    pub fn folder(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY, &[])
    }

    /// Adds a file that root alone may read.
    pub fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, FILE, content)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[])
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let size = u32::try_from(content.len()).map_err(too_large)?;
        let name_size = u32::try_from(path.len() + 1).map_err(too_large)?;
        // Inode, mode, owner, group, links, time, size, device and special device by two numbers each, name size, checksum.
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header += &format!("{field:08x}");
        }
        header += path;
        header.push('\0');
        self.to.write_all(header.as_bytes())?;
        pad(&mut self.to, header.len() as u64)?;
        self.to.write_all(content)?;
        pad(&mut self.to, u64::from(size))
    }
}

fn pad(to: &mut impl Write, length: u64) -> io::Result<()> {
    to.write_all(&[0; 3][..(length.wrapping_neg() % 4) as usize])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn cpio_unpacks_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes, 0).unwrap();
        archive.folder("etc").unwrap();
        archive.folder("etc/reclone").unwrap();
        archive.file("etc/reclone/key", b"a key").unwrap();
        archive.file("etc/reclone/empty", b"").unwrap();
        archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let mut cpio = Command::new("cpio");
        cpio.args(["--extract", "--quiet"])
            .current_dir(folder.path());
        let mut cpio = cpio.stdin(Stdio::piped()).spawn().unwrap();
        cpio.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert!(cpio.wait().unwrap().success());
        let read = |name: &str| std::fs::read(folder.path().join("etc/reclone").join(name));
        assert_eq!(read("key").unwrap(), b"a key");
        assert_eq!(read("empty").unwrap(), b"");
    }

    #[test]
    fn an_archive_begins_at_a_multiple_of_four() {
        for (offset, padding) in [(0, 0), (1, 3), (2, 2), (7, 1), (8, 0)] {
            let mut bytes = Vec::new();
            Archive::new(&mut bytes, offset).unwrap();
            assert_eq!(bytes.len(), padding, "{offset}");
        }
    }
}
