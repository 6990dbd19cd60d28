//! What is to be started: a kernel, its initramfs with this clone's configuration behind it, and the words on its command line.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::Path;

use super::Entry;
use crate::boot::kernel::with_configuration;
use crate::config::{CONFIG_FILE, words};
use crate::error::{Error, Result};
use crate::run::OF_THE_BOOT;
use crate::stage::id_of;

/// A kernel that can be put on a disk.
pub struct Kernel {
    /// The entry that starts it.
    pub entry: Entry,
    /// Kernel and initramfs.
    pub files: [File; 2],
}

impl Kernel {
    /// The kernel of this release in the system at `root`, with the configuration that the boot of this clone went by.
    pub fn of_running_clone(root: &Path, release: &str) -> Result<Self> {
        let command_line = fs::read("/proc/cmdline").unwrap_or_default();
        let words = words_of(&String::from_utf8_lossy(&command_line));
        Self::new(root, release, Path::new(OF_THE_BOOT), words)
    }

    /// The kernel of this release in the system at `root`, with the files of the folder `configuration` as its `/etc/reclone`.
    pub fn new(root: &Path, release: &str, configuration: &Path, words: String) -> Result<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._~".contains(&byte);
        if !release.bytes().all(is_plain) {
            return Err(Error::Loader(format!(
                "`{release}` is no name for a kernel that a boot loader can read: give it another one"
            )));
        }
        let open = |name: &str| {
            let path = root.join(format!("boot/{name}-{release}"));
            File::open(&path).map_err(Error::system("can not open", &path))
        };
        let place = Path::new(CONFIG_FILE).parent().unwrap_or(root);
        let initramfs = with_configuration(&mut open("initrd.img")?, configuration, place)
            .map_err(Error::system("can not copy the initramfs behind", root))?;
        let files = [open("vmlinuz")?, initramfs];
        let hash = hash(&files).map_err(Error::system("can not read a kernel of", root))?;
        Ok(Self {
            entry: Entry {
                id: format!("{release}-{}", &hash[..12]),
                words,
            },
            files,
        })
    }

    /// How long the two files are.
    pub fn lengths(&self) -> Result<[u64; 2]> {
        let both = || -> io::Result<[u64; 2]> {
            let [kernel, initramfs] = &self.files;
            Ok([kernel.metadata()?.len(), initramfs.metadata()?.len()])
        };
        let name = Path::new(&self.entry.id);
        both().map_err(Error::system("can not look at the kernel", name))
    }
}

/// Of both, one behind the other, which are then to be read from their start again.
fn hash(files: &[File; 2]) -> io::Result<String> {
    let [mut kernel, mut initramfs] = files.each_ref();
    let id = id_of(kernel.chain(initramfs))?;
    kernel.rewind()?;
    initramfs.rewind()?;
    Ok(id.to_string())
}

/// The kernel command line for the boots to come: without what the boot loader or this one boot put there.
fn words_of(command_line: &str) -> String {
    let is_of_once = |word: &str| {
        let word = word.strip_prefix("rd.").unwrap_or(word);
        ["BOOT_IMAGE=", "initrd=", "reclone.kernel=", "reclone="]
            .iter()
            .any(|name| word.starts_with(name))
    };
    let words = words(command_line).into_iter();
    let words = words.filter(|word| !is_of_once(word)).map(|word| {
        match word.contains(char::is_whitespace) {
            true => format!("\"{word}\""),
            false => word,
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_belong_to_one_boot_do_not_stay() {
        let line = "BOOT_IMAGE=(hd0,gpt2)/vmlinuz root=/dev/vda2 ro rd.reclone=skip reclone.store=http://m/ \
            initrd=\\x dyndbg=\"file a +p\" reclone=reset reclone.kernel=6.1\n";
        assert_eq!(
            words_of(line),
            "root=/dev/vda2 ro reclone.store=http://m/ \"dyndbg=file a +p\""
        );
    }
}
