//! The boot loader's part of a disk after a cut: what it offers, and whether all of that is there, whole. A boot loader replays no
//! journal, so this is looked at without it, too.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use reclone_format::object_id_of;

use super::check::Disk;
use super::fat::Fat;
use super::steps::{STORES, unmount};
use super::stores::{Stores, release};

/// Where a disk is mounted without its journal.
pub const SEEN: &str = "/seen";

/// A file of the boot loader's, by its path; none where there is none.
type Files<'a> = &'a dyn Fn(&str) -> Result<Option<Vec<u8>>, String>;

/// What a disk is started by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// GRUB, on the root partition.
    Grub,
    /// systemd-boot, on a system partition with FAT.
    Bls,
}

const CUSTOM: &str = "boot/grub/custom.cfg";
/// What somebody wrote there.
const CUSTOM_LINE: &str = "set timeout=3\n";
const GRUB_CFG: &str = "menuentry 'Debian' { linux /boot/vmlinuz-6.1.0-9-amd64 }\n\
    if [ -f ${config_directory}/custom.cfg ]; then\n  source ${config_directory}/custom.cfg\nfi\n";
const ROLES: [&str; 2] = ["current", "previous"];
/// The entry of systemd-boot whose starts are counted. No boot comes from it here, so it does not become the one before.
const COUNTED: &str = "loader/entries/reclone-current+3.conf";

impl Loader {
    /// The plain system's own: its kernel, and what starts it.
    fn own(self) -> [(&'static str, &'static [u8]); 3] {
        match self {
            Loader::Grub => [
                ("boot/grub/grub.cfg", GRUB_CFG.as_bytes()),
                ("boot/vmlinuz-6.1.0-9-amd64", &[1; 30_000]),
                ("boot/initrd.img-6.1.0-9-amd64", &[2; 50_000]),
            ],
            Loader::Bls => [
                (
                    "loader/entries/debian.conf",
                    b"title Debian\nlinux /debian/linux\ninitrd /debian/initrd\n",
                ),
                ("debian/linux", &[1; 30_000]),
                ("debian/initrd", &[2; 50_000]),
            ],
        }
    }

    /// Installs it, and a kernel, below the top of its partition.
    pub fn install(self, top: &Path) -> io::Result<()> {
        let custom = (CUSTOM, CUSTOM_LINE.as_bytes());
        let custom = (self == Loader::Grub).then_some(custom);
        for (name, content) in self.own().into_iter().chain(custom) {
            let path = top.join(name);
            fs::create_dir_all(path.parent().unwrap_or(top))?;
            fs::write(path, content)?;
        }
        Ok(())
    }
}

/// Reads the disk as a boot loader does, and holds it against what may be offered: the kernels of these generations, or of those.
/// After an outer error the disk may still be in use.
pub fn look_without_journal(
    disk: &Disk,
    starts: [&[u64]; 2],
    stores: &Stores,
) -> io::Result<Result<(), String>> {
    let kind = disk.kind;
    if kind.loader == Loader::Bls {
        let looked = Fat::open(disk.file, kind.partition_at())
            .and_then(|fat| look_at_entries(&|name| fat.read(name), starts, stores));
        return Ok(looked);
    }
    let (name, options) = (Some(kind.kind), Some(kind.without_journal()));
    if let Err(error) = mount(Some(disk.device), SEEN, name, MsFlags::MS_RDONLY, options) {
        return Ok(Err(format!(
            "it can not be read without its journal: {error}"
        )));
    }
    let found = look_at_root(Path::new(SEEN), starts, stores);
    unmount(SEEN)?;
    Ok(found.map_err(|wrong| format!("without the journal: {wrong}")))
}

/// Holds what GRUB has on a root partition that is mounted here, or would have after a boot replayed the journal, against what may be offered.
pub fn look_at_root(root: &Path, starts: [&[u64]; 2], stores: &Stores) -> Result<(), String> {
    let read = |name: &str| match fs::read(root.join(name)) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{name}: {error}")),
    };
    look_at_grub(&read, starts, stores)
}

/// The same by GRUB's own code, which reads the disk's file itself.
pub fn look_by_grub(
    disk: &Path,
    loader: Loader,
    starts: [&[u64]; 2],
    stores: &Stores,
) -> Result<(), String> {
    let read = |name: &str| {
        let partition = if loader == Loader::Grub { 1 } else { 2 };
        let mut grub = Command::new("grub-fstest");
        grub.arg(disk).arg("cat");
        let output = grub.arg(format!("(loop0,gpt{partition})/{name}")).output();
        let output = output.map_err(|error| format!("grub-fstest: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(Some(output.stdout)),
            false if said.contains("not found") => Ok(None),
            false => Err(format!("{name}: {said}")),
        }
    };
    let looked = match loader {
        Loader::Grub => look_at_grub(&read, starts, stores),
        Loader::Bls => look_at_entries(&read, starts, stores),
    };
    looked.map_err(|wrong| format!("by GRUB's own code: {wrong}"))
}

fn look_at_grub(read: Files, [before, after]: [&[u64]; 2], stores: &Stores) -> Result<(), String> {
    has_its_own(Loader::Grub, read)?;
    let custom = text(read, CUSTOM)?.ok_or("custom.cfg is gone")?;
    let found: Vec<u64> = entries(&custom)?
        .into_iter()
        .map(|id| generation_of("boot/grub/reclone", id, read, stores))
        .collect::<Result<_, _>>()?;
    match found == before || found == after {
        true => Ok(()),
        false => Err(format!(
            "GRUB starts {found:?}, not {before:?} or {after:?}"
        )),
    }
}

/// The same for systemd-boot. FAT has no journal: in the middle of a step the entry may be missing, or be nothing but a name, but what is
/// there is whole.
fn look_at_entries(
    read: Files,
    [before, after]: [&[u64]; 2],
    stores: &Stores,
) -> Result<(), String> {
    has_its_own(Loader::Bls, read)?;
    let found = match text(read, COUNTED)? {
        Some(text) if !text.is_empty() => {
            let id = folder_of(&text, ["linux /reclone/", "initrd /reclone/"], "\n");
            let id = id.filter(|_| text.contains("\noptions "));
            let id = id.ok_or_else(|| format!("{COUNTED} is {text:?}"))?;
            Some(generation_of("reclone", id, read, stores)?)
        }
        _ => None,
    };
    let wanted = [before, after].map(|starts| starts.first().copied());
    let is_lost = found.is_none() && before != after;
    match is_lost || wanted.contains(&found) {
        true => Ok(()),
        false => Err(format!("systemd-boot has {found:?}, not one of {wanted:?}")),
    }
}

fn has_its_own(loader: Loader, read: Files) -> Result<(), String> {
    for (name, content) in loader.own() {
        if read(name)?.as_deref() != Some(content) {
            return Err(format!("the plain system's {name} is another"));
        }
    }
    Ok(())
}

fn text(read: Files, name: &str) -> Result<Option<String>, String> {
    let text = read(name)?.map(String::from_utf8).transpose();
    text.map_err(|error| format!("{name}: {error}"))
}

/// The folders of the kernels that GRUB offers, the default first.
fn entries(custom: &str) -> Result<Vec<&str>, String> {
    let wrong = || format!("{CUSTOM} is {custom:?}");
    let ours = custom.strip_prefix(CUSTOM_LINE).ok_or_else(wrong)?;
    let is_whole = ours.starts_with("### BEGIN reclone")
        && ours.ends_with("\n### END reclone ###\n")
        && ours.contains("set default=reclone-current\n");
    if !is_whole && !ours.is_empty() {
        return Err(wrong());
    }
    let folder = |role: &&str| {
        let (_, rest) = ours.split_once(&format!("--id reclone-{role} {{"))?;
        let (entry, _) = rest.split_once("\n}\n")?;
        folder_of(entry, ["linux \"${reclone}/", "initrd \"${reclone}/"], "\"")
    };
    let found: Vec<&str> = ROLES.iter().map_while(folder).collect();
    match found.len() == ours.matches("menuentry ").count() {
        true => Ok(found),
        false => Err(wrong()),
    }
}

/// The one folder that an entry has kernel and initramfs in.
fn folder_of<'a>(entry: &'a str, keys: [&str; 2], end: &str) -> Option<&'a str> {
    let of = |key: &str, file: &str| {
        let (id, rest) = entry.split_once(key)?.1.split_once('/')?;
        let rest = rest.strip_prefix(file)?;
        rest.starts_with(end).then_some(id)
    };
    let id = of(keys[0], "vmlinuz")?;
    (of(keys[1], "initrd.img")? == id).then_some(id)
}

/// The generation whose kernel is in a folder: both files are there to the last byte, the configuration behind the initramfs with them.
fn generation_of(home: &str, id: &str, read: Files, stores: &Stores) -> Result<u64, String> {
    let file = |name: &str| {
        let path = format!("{home}/{id}/{name}");
        read(&path)?.ok_or(format!("{path} is named and not there"))
    };
    let (kernel, initramfs) = (file("vmlinuz")?, file("initrd.img")?);
    let generation = (1..=stores.count())
        .find(|number| {
            id.strip_prefix(&*release(*number))
                .is_some_and(|it| it.starts_with('-'))
        })
        .ok_or_else(|| format!("{id} is no generation's"))?;
    let [published_kernel, published] = stores.kernel(generation);
    let tail = initramfs.strip_prefix(&published[..]).unwrap_or_default();
    let has = |text: &str| tail.windows(text.len()).any(|it| it == text.as_bytes());
    // The name has a part of the hash over both.
    let whole = object_id_of(&[&kernel[..], &initramfs].concat()).to_string();
    let is_whole = kernel == *published_kernel
        && has("etc/reclone/reclone.conf\0")
        && has(&format!("store = {STORES}/"))
        && has("TRAILER!!!\0")
        && id.ends_with(&whole[..12]);
    match is_whole {
        true => Ok(generation),
        false => Err(format!(
            "{home}/{id} is not what was published: {} and {} bytes",
            kernel.len(),
            initramfs.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_are_written_and_not_in_part() {
        let entry = |role: &str, id: &str| {
            format!(
                "# reclone-{role}: {id} ro\nmenuentry 'x' --id reclone-{role} {{\n  linux \"${{reclone}}/{id}/vmlinuz\" 'ro'\n  \
                 initrd \"${{reclone}}/{id}/initrd.img\"\n}}\n"
            )
        };
        let around = |entries: &str| {
            format!(
                "{CUSTOM_LINE}### BEGIN reclone: x ###\n{entries}  set default=reclone-current\n### END reclone ###\n"
            )
        };
        let whole = around(&(entry("current", "6-b") + &entry("previous", "6-a")));
        assert_eq!(entries(&whole), Ok(vec!["6-b", "6-a"]));
        assert_eq!(entries(&around(&entry("current", "6-b"))), Ok(vec!["6-b"]));
        assert_eq!(entries(CUSTOM_LINE), Ok(vec![]));
        for length in 0..whole.len() {
            let is_plain = length == CUSTOM_LINE.len();
            assert_eq!(entries(&whole[..length]).is_ok(), is_plain, "{length}");
        }
    }
}
