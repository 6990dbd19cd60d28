//! A kernel that the boot loader starts at the next boot and at no other, for a running kernel that refuses to start it itself. Whatever becomes of
//! it, the boot after that is the disk's own again: the boot loader forgets the choice before it starts what was chosen.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

use super::put::replace;
use super::{Edit, FILES, Kernel, Kind, Loader, grub, read};
use crate::barrier::Barrier;
use crate::command_line::{line, words};
use crate::error::{Error, Result};
use crate::firmware::Variables;
use crate::pool::{list, remove_dir};

/// The name of the entry, and of the folder with what it starts.
const NAME: &str = "reclone-once";

/// Around what GRUB reads of it.
const BEGIN: &str = "### BEGIN reclone-once: for one boot, goes by itself ###\n";
const END: &str = "### END reclone-once ###\n";
/// The file in which GRUB has a choice for one boot, its first line and its length, which are always these. GRUB writes to its blocks.
const GRUBENV: &str = "grubenv";
const GRUBENV_HEAD: &str = "# GRUB Environment Block\n";
const GRUBENV_LENGTH: usize = 1024;
const CHOICE: &str = "next_entry=";
/// File systems that bear that, by what `statfs` calls them: ext4, FAT. From Linux `include/uapi/linux/magic.h`.
const BEAR_IT: [i64; 2] = [0xef53, 0x4d44];

/// Whose the variables of systemd-boot are, by <https://systemd.io/BOOT_LOADER_INTERFACE>.
const SYSTEMD: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Of `LoaderFeatures`: it takes a choice for one boot.
const TAKES_ONE: u8 = 1 << 3;
/// An entry without tries left stands behind all others, so it is never the first, which is the default.
const BLS_FILE: &str = "loader/entries/reclone-once+0.conf";

impl Loader {
    /// Has it start this kernel at the next boot alone. That is on disk when this returns; after an error, the next boot is as ever.
    pub fn start_once(&self, kernel: &Kernel) -> Result<()> {
        let checked = match self.kind {
            Kind::Grub => check_grub(&self.home).map(|()| None),
            Kind::Bls => check_systemd_boot().map(Some),
        };
        let variables = checked.map_err(|why| {
            Error::Loader(format!(
                "{} can start nothing for once: {why}",
                self.title()
            ))
        })?;
        self.forget_once()?;
        let bytes = kernel.lengths()?.iter().sum();
        self.check_room_for(kernel.entry.release(), bytes)?;
        let done = self.choose(kernel, variables.as_ref());
        done.inspect_err(|_| {
            let _ = self.forget_once();
        })
    }

    /// The files, what names them, and only then the choice.
    fn choose(&self, kernel: &Kernel, variables: Option<&Variables>) -> Result<()> {
        self.copy_to(&self.home.join(NAME), kernel)?;
        let Some(variables) = variables else {
            self.change("custom.cfg", &|old| {
                let is_whole = old.is_empty() || old.ends_with('\n');
                let end = if is_whole { "" } else { "\n" };
                Ok(format!("{old}{end}{}", grub_entry(kernel)))
            })?;
            return self.change(GRUBENV, &|old| grubenv(old, true));
        };
        self.change(BLS_FILE, &|_| Ok(bls_entry(kernel)))?;
        let file = format!("LoaderEntryOneShot-{SYSTEMD}");
        let choice = format!("{NAME}*\0");
        let choice: Vec<u8> = choice.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let written = variables.write(&file, &choice);
        written.map_err(Error::system("can not write", Path::new(&file)))
    }

    /// Takes away what that left. Writes nothing where there is nothing.
    pub fn forget_once(&self) -> Result<()> {
        if self.kind == Kind::Grub {
            if read(&self.home.join(GRUBENV))?.contains(&format!("{CHOICE}{NAME}\n")) {
                self.change(GRUBENV, &|old| grubenv(old, false))?;
            }
            self.change("custom.cfg", &|old| Ok(without_entry(old)))?;
        } else {
            // Its name may have become another when it was started.
            let entries = list(&self.home.join("loader/entries")).unwrap_or_default();
            let is_ours = |path: &&PathBuf| {
                let name = path.file_name().unwrap_or_default();
                name.as_encoded_bytes().starts_with(NAME.as_bytes())
            };
            for path in entries.iter().filter(is_ours) {
                fs::remove_file(path).map_err(Error::system("can not remove", path))?;
            }
        }
        remove_dir(&self.home.join(NAME))
    }

    /// Gives a file another content, if that is another, where the boot loader sees it.
    fn change(&self, name: &str, new: &dyn Fn(&str) -> Result<String, String>) -> Result<()> {
        let path = self.home.join(name);
        let old = read(&path)?;
        let new = new(&old).map_err(|why| Error::Loader(format!("{}: {why}", path.display())))?;
        if new == old {
            return Ok(());
        }
        let new = Some(new).filter(|it| !it.is_empty());
        replace(&Edit { path, old, new }, &self.home.join(NAME))?;
        self.settle(Barrier::EntriesNamed)
    }
}

/// Words of the boot that is to go on in this kernel, for the kernel command line: all of them but those that the boot loader adds.
pub fn words_for_once(command_line: &str, more: &str) -> String {
    let of_loaders = ["BOOT_IMAGE=", "initrd="];
    let mut words = words(command_line);
    words.retain(|word| !of_loaders.iter().any(|it| word.starts_with(it)));
    words.push(more.to_owned());
    line(&words)
}

/// GRUB has to forget the choice: it writes to the blocks of a file where nothing is below the partition and nothing sums them up.
fn check_grub(home: &Path) -> Result<(), String> {
    let config = fs::read_to_string(home.join("grub.cfg")).unwrap_or_default();
    if !config.contains("next_entry") || !config.contains("save_env") {
        return Err("its grub.cfg takes no choice".into());
    }
    let kind = nix::sys::statfs::statfs(home).map_or(0, |it| it.filesystem_type().0);
    let device = fs::metadata(home).map_or(0, |it| it.dev());
    let node = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let has_below = |it: &str| {
        let below = fs::read_dir(Path::new(&node).join(it));
        below.is_ok_and(|mut it| it.next().is_some())
    };
    let is_plain = Path::new(&node).exists() && !["slaves", "../slaves"].into_iter().any(has_below);
    match BEAR_IT.contains(&kind) && is_plain {
        true => Ok(()),
        false => Err(format!(
            "it could not forget the choice, for {} is not on ext4 or FAT on a plain partition",
            home.display()
        )),
    }
}

fn check_systemd_boot() -> Result<Variables, String> {
    let variables = Variables::find().ok_or("the variables of the firmware are not to be had")?;
    let features = variables.read(&format!("LoaderFeatures-{SYSTEMD}"));
    match features.and_then(|it| it.first().copied()).unwrap_or(0) & TAKES_ONE {
        0 => Err("it did not start this machine".into()),
        _ => Ok(variables),
    }
}

/// What `grubenv` has with the choice, or without it.
fn grubenv(old: &str, chosen: bool) -> Result<String, String> {
    let body = if old.is_empty() { GRUBENV_HEAD } else { old };
    let is_whole = old.is_empty() || old.len() == GRUBENV_LENGTH;
    if !is_whole || !body.starts_with(GRUBENV_HEAD) {
        return Err("it is not what `grub-editenv` makes".into());
    }
    let lines = body.trim_end_matches('#').split_inclusive('\n');
    let mut new: String = lines.filter(|line| !line.starts_with(CHOICE)).collect();
    if chosen {
        new += &format!("{CHOICE}{NAME}\n");
    }
    match new.len() <= GRUBENV_LENGTH {
        true => Ok(format!("{new:#<GRUBENV_LENGTH$}")),
        false => Err("it is full".into()),
    }
}

fn grub_entry(kernel: &Kernel) -> String {
    let release = kernel.entry.release();
    let (head, [vmlinuz, initramfs]) = (grub::HEAD, FILES);
    let words = grub::quoted(&kernel.entry.words);
    format!(
        "{BEGIN}{head}menuentry 'Linux {release}, by reclone: for one boot' --unrestricted --id {NAME} {{\n  \
         linux \"${{reclone}}-once/{vmlinuz}\"{words}\n  \
         initrd \"${{reclone}}-once/{initramfs}\"\n}}\n\
         if [ \"${{default}}\" = {NAME} ]; then\n  set fallback=0\nfi\n{END}"
    )
}

fn without_entry(custom: &str) -> String {
    match custom.split_once(BEGIN) {
        Some((before, rest)) if rest.contains(END) => {
            let after = rest.split_once(END).map_or("", |it| it.1);
            format!("{before}{after}")
        }
        _ => custom.to_owned(),
    }
}

fn bls_entry(kernel: &Kernel) -> String {
    let (release, words) = (kernel.entry.release(), &kernel.entry.words);
    let [vmlinuz, initramfs] = FILES;
    format!(
        "title Linux {release}, by reclone: for one boot\nversion {release}\nlinux /{NAME}/{vmlinuz}\n\
         initrd /{NAME}/{initramfs}\noptions {words}\n"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn grubenv_keeps_its_length_and_what_else_it_says() {
        let new = grubenv("", true).unwrap();
        assert_eq!(new.len(), GRUBENV_LENGTH);
        assert!(new.starts_with("# GRUB Environment Block\nnext_entry=reclone-once\n###"));
        let lines =
            "# GRUB Environment Block\n# WARNING: Do not edit!!!\nsaved_entry=a\nnext_entry=\n";
        let old = format!("{lines:#<1024}");
        let new = grubenv(&old, true).unwrap();
        let start = "# GRUB Environment Block\n# WARNING: Do not edit!!!\nsaved_entry=a\nnext_entry=reclone-once\n##";
        assert!(new.starts_with(start), "{new}");
        let back = grubenv(&new, false).unwrap();
        assert_eq!(
            back,
            format!("{:#<1024}", lines.replace("next_entry=\n", ""))
        );
        assert!(grubenv(&old[1..], true).is_err());
        assert!(grubenv(&"x".repeat(1024), true).is_err());
        let full = format!(
            "{:#<1024}",
            format!("{GRUBENV_HEAD}a={}\n", "b".repeat(990))
        );
        assert_eq!(grubenv(&full, true).unwrap_err(), "it is full");
    }

    #[test]
    fn the_boot_goes_on_with_the_same_words() {
        assert_eq!(
            words_for_once(
                "BOOT_IMAGE=/vmlinuz ro dyndbg=\"file a +p\" reclone=reset initrd=/x\n",
                "reclone.kernel=6.1"
            ),
            "ro \"dyndbg=file a +p\" reclone=reset reclone.kernel=6.1"
        );
    }
}
