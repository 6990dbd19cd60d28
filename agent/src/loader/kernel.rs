//! What is to be started: a kernel, its initramfs with this clone's configuration behind it, and the words on its command line.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use super::Entry;
use crate::command_line::{TO_A_SHELL, line, words};
use crate::config::{CONFIG_FILE, OF_THE_BOOT};
use crate::error::{Error, Result};
use crate::initramfs::with_configuration;
use crate::kernels::files_of;
use crate::pool::Pool;
use crate::stage::id_of;

/// A kernel that can be put on a disk.
pub struct Kernel {
    /// The entry that starts it.
    pub entry: Entry,
    /// Kernel and initramfs.
    pub files: [File; 2],
}

impl Kernel {
    /// The kernel of this release in a generation that is shown at `root`, with the configuration that the boot of this clone went by. What
    /// rotted in the pool does not get to the boot loader.
    pub fn of_generation(
        pool: &Pool,
        number: u64,
        root: &Path,
        release: &str,
        words: String,
    ) -> Result<Self> {
        let files = files_of(pool, number, root, release)?;
        Self::new(files, release, Path::new(OF_THE_BOOT), words)
    }

    /// The kernel of this release, with the files of the folder `configuration` as the `/etc/reclone` of its initramfs.
    pub fn new(
        files: [File; 2],
        release: &str,
        configuration: &Path,
        words: String,
    ) -> Result<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._~".contains(&byte);
        if !release.bytes().all(is_plain) {
            return Err(Error::Loader(format!(
                "`{release}` is no name for a kernel that a boot loader can read: give it another one"
            )));
        }
        let [kernel, mut initramfs] = files;
        let place = Path::new(CONFIG_FILE).parent().unwrap_or(configuration);
        let whole = || -> io::Result<([File; 2], String)> {
            let initramfs = with_configuration(&mut initramfs, configuration, place)?;
            let files = [kernel, initramfs];
            let hash = hash(&files)?;
            Ok((files, hash))
        };
        let (files, hash) =
            whole().map_err(Error::system("can not read the kernel", Path::new(release)))?;
        Ok(Self {
            entry: Entry {
                id: format!("{release}-{}", &hash[..12]),
                words,
                tries: None,
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

/// Words that a boot loader, or who stood before it, adds for one boot.
const OF_ONCE: [&str; 5] = [
    "BOOT_IMAGE=",
    "initrd=",
    "reclone=",
    "reclone.kernel=",
    "break=",
];
/// Words that may be for one boot, or for each: what runs first, and where it goes.
const OF_BOTH: [&str; 6] = [
    "init=",
    "rdinit=",
    "systemd.unit=",
    "systemd.debug_shell",
    "systemd.debug-shell",
    "systemd.confirm_spawn",
];

/// The kernel command line for the boots to come: without what the boot loader put there, and without what somebody typed for one boot, with
/// which each would end in a shell. A word that may be either stays if the disk's own configuration has it.
pub fn words_of(command_line: &str, configured: &str) -> String {
    let stays = |whole: &String| {
        let word = whole.strip_prefix("rd.").unwrap_or(whole);
        let is_of = |names: &[&str]| names.iter().any(|name| word.starts_with(name));
        let to_a_shell = TO_A_SHELL.contains(&word) || word == "break" || word == "recovery";
        let is_configured = || configured.split_whitespace().any(|it| it == whole);
        !to_a_shell && !is_of(&OF_ONCE) && (!is_of(&OF_BOTH) || is_configured())
    };
    let mut words = words(command_line);
    words.retain(stays);
    line(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_belong_to_one_boot_do_not_stay() {
        let line = "BOOT_IMAGE=(hd0,gpt2)/vmlinuz root=/dev/vda2 ro rd.reclone=skip reclone.store=http://m/ \
            initrd=\\x dyndbg=\"file a +p\" reclone=reset reclone.kernel=6.1\n";
        assert_eq!(
            words_of(line, ""),
            "root=/dev/vda2 ro reclone.store=http://m/ \"dyndbg=file a +p\""
        );
    }

    #[test]
    fn nobody_who_asked_for_a_shell_once_gets_it_at_each_boot() {
        // Debian's entry for recovery has such a word, too.
        let configured = "linux /vmlinuz root=/dev/vda2 ro single break\n";
        for word in [
            "single",
            "-s",
            "s",
            "S",
            "1",
            "rescue",
            "emergency",
            "-b",
            "recovery",
            "break",
            "break=bottom",
            "rd.break",
            "rd.break=pre-mount",
            "rd.emergency",
            "init=/bin/sh",
            "rdinit=/bin/sh",
            "systemd.unit=rescue.target",
            "rd.systemd.unit=emergency.target",
            "systemd.debug_shell",
            "systemd.debug-shell=1",
            "systemd.confirm_spawn=yes",
        ] {
            let line = format!("root=/dev/vda2 {word} ro");
            assert_eq!(words_of(&line, configured), "root=/dev/vda2 ro", "{word}");
        }
    }

    #[test]
    fn what_is_configured_stays() {
        let configured = "linux /vmlinuz ro init=/sbin/openrc-init systemd.unit=kiosk.target\n";
        let line = "ro init=/sbin/openrc-init systemd.unit=kiosk.target rd.shell=0 rd.emergency=reboot \
            panic=10 3 systemd.mask=a.service";
        assert_eq!(words_of(line, configured), line);
        let typed = format!("{line} init=/bin/sh");
        assert_eq!(words_of(&typed, configured), line);
    }
}
