//! The boot loader of the first generation, installed by itself on the disk that it came to, with its kernel and initramfs.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use log::{info, warn};

use super::entry::Entry;
use super::layout::{self, run};
use crate::boot::Places;
use crate::boot::kernel::{newest, write_with_configuration};
use crate::boot::modules::Modules;
use crate::error::{Error, Result};
use crate::sys::{chroot, mount};

/// What a FAT file system needs of the kernel; the tables are those of Debian's kernels.
const FAT: [(&str, &CStr); 5] = [
    ("nls_cp437", c""),
    ("nls_ascii", c""),
    ("nls_iso8859-1", c""),
    ("nls_utf8", c""),
    ("vfat", c""),
];
/// GRUB's platforms, each with what tells `grub-install` where to go.
const GRUB: [(&str, &[&str]); 2] = [
    (
        "x86_64-efi",
        &["--efi-directory=/boot/efi", "--removable", "--no-nvram"],
    ),
    ("i386-pc", &[]),
];
const SYSTEMD_BOOT: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/// The places where a boot loader writes, and those of the kernel, in the root of the generation while it installs.
struct Guest {
    mounted: Vec<PathBuf>,
}

impl Guest {
    fn mount(&mut self, at: PathBuf, mount: impl FnOnce(&Path) -> nix::Result<()>) -> Result<()> {
        mount(&at).map_err(Error::system("can not mount at", &at))?;
        self.mounted.push(at);
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        for at in self.mounted.iter().rev() {
            if let Err(error) = mount::unmount(at) {
                warn!("{}: {error}", at.display());
                let _ = mount::detach(at);
            }
        }
    }
}

/// Makes `disk`, whose root partition is `plain` and has the UUID `uuid`, start what is assembled at the root's place. All of it is on disk when this returns.
pub fn install(places: &Places, plain: &Path, disk: &Path, uuid: &str) -> Result<()> {
    let root = &places.root;
    let mut guest = Guest {
        mounted: Vec::new(),
    };
    for name in ["dev", "proc", "sys"] {
        let from = Path::new("/").join(name);
        guest.mount(root.join(name), |at| mount::bind(&from, at))?;
    }
    host_keys(root);
    let usage = |text: &str| Error::Usage(text.into());
    let release = newest(root)
        .ok_or_else(|| usage("the generation has no kernel with an initramfs in /boot"))?;
    let entry = Entry::new(release, uuid, &places.command_line());
    let has = |path: &str| root.join(path).exists();
    let platforms = GRUB
        .iter()
        .filter(|it| has(&format!("usr/lib/grub/{}", it.0)));
    let platforms: Vec<_> = platforms.filter(|_| has("usr/sbin/grub-install")).collect();
    if platforms.is_empty() && !has(SYSTEMD_BOOT) {
        return Err(usage("the generation has neither GRUB nor systemd-boot"));
    }
    let esp = layout::partition(&layout::esp(uuid))?;
    if let Some(modules) = Modules::of_running_kernel(root) {
        modules.load(&FAT, root);
    }
    let (boot, on_esp) = (plain.join("boot"), plain.join("boot/efi"));
    guest.mount(on_esp.clone(), |at| mount::disk(&esp, at, "vfat"))?;
    if platforms.is_empty() {
        info!("installing systemd-boot");
        systemd_boot(places, &entry, &on_esp)?;
    } else {
        copy(places, &entry, &boot)?;
        guest.mount(root.join("boot"), |at| mount::bind(&boot, at))?;
        guest.mount(root.join("boot/efi"), |at| mount::bind(&on_esp, at))?;
    }
    for (platform, options) in platforms {
        info!("installing GRUB for {platform}");
        let mut grub = in_root(root, "grub-install")?;
        grub.arg(format!("--target={platform}"))
            .arg("--boot-directory=/boot");
        run(grub.args(*options).arg(disk), "")?;
        write(&boot.join("grub/grub.cfg"), &entry.grub())?;
    }
    drop(guest);
    nix::unistd::sync();
    Ok(())
}

/// A first boot makes a machine's keys only where it has no id, and this one has.
fn host_keys(root: &Path) {
    if !root.join("usr/bin/ssh-keygen").exists() || !root.join("etc/ssh").exists() {
        return;
    }
    let made = in_root(root, "ssh-keygen").and_then(|mut make| run(make.arg("-A"), ""));
    if let Err(error) = made {
        warn!("{error}: this machine has no host keys for ssh");
    }
}

fn in_root(root: &Path, program: &str) -> Result<Command> {
    chroot::command(root, program).map_err(Error::system("can not enter", root))
}

fn systemd_boot(places: &Places, entry: &Entry, esp: &Path) -> Result<()> {
    copy(places, entry, esp)?;
    let program = places.root.join(SYSTEMD_BOOT);
    let program = fs::read(&program).map_err(Error::system("can not read", &program))?;
    write(&esp.join("EFI/systemd/systemd-bootx64.efi"), &program)?;
    write(&esp.join("EFI/BOOT/BOOTX64.EFI"), &program)?;
    write(&esp.join("loader/loader.conf"), "timeout 2\n")?;
    write(&esp.join("loader/entries/reclone.conf"), entry.loader())
}

/// Copies kernel and initramfs, the latter with this machine's configuration behind it.
fn copy(places: &Places, entry: &Entry, to: &Path) -> Result<()> {
    let names = [
        format!("vmlinuz-{}", entry.release),
        format!("initrd.img-{}", entry.release),
    ];
    let [kernel, initramfs] = names
        .each_ref()
        .map(|name| (places.root.join("boot").join(name), to.join(name)));
    let all = || -> io::Result<()> {
        io::copy(&mut File::open(&kernel.0)?, &mut File::create(&kernel.1)?)?;
        let mut options = OpenOptions::new();
        let mut whole = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&initramfs.1)?;
        let folder = places.config.parent().unwrap_or(Path::new("/"));
        write_with_configuration(&mut File::open(&initramfs.0)?, folder, &mut whole)
    };
    all().map_err(Error::system("can not copy the kernel to", to))
}

/// Writes a file and the folders above it.
fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, content));
    written.map_err(Error::system("can not write", path))
}
