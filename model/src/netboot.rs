//! `reclone-model netboot`: what bare machines are started with over the network to become clones: this machine's kernel, an initramfs that can
//! lay out a disk, and the words for both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Context, Error, Result};
use crate::setup::address;
use crate::store::Store;

/// What makes the initramfs. dracut is not asked: its part of reclone has nothing for bare machines.
const GENERATOR: &str = "mkinitramfs";
/// Its configuration.
const CONFIGURATION: &str = "/etc/initramfs-tools";
/// A part of reclone, which takes the agent along.
const HOOK: &str = "/usr/share/initramfs-tools/scripts/local-top/reclone";
/// What the initramfs needs to have of this system, and the package that has it.
const NEEDED: [(&str, &str); 5] = [
    ("/usr/sbin/reclone", "reclone"),
    ("/usr/sbin/sfdisk", "fdisk"),
    ("/usr/sbin/mke2fs", "e2fsprogs"),
    ("/usr/sbin/mkfs.vfat", "dosfstools"),
    ("/usr/sbin/blkid", "util-linux"),
];
/// Other disks than this machine's, and nothing of its own to resume from.
const SETTINGS: &str = "MODULES=most\nRESUME=none\n";

/// What to make.
#[derive(Clone, Debug)]
pub struct NetbootOptions {
    /// The folder to write to.
    pub to: PathBuf,
    /// The disk of the machines.
    pub disk: String,
    /// The folder of the store.
    pub store: PathBuf,
    /// Where clones will find the store.
    pub url: Option<String>,
    /// The port of the server.
    pub port: u16,
    /// The kernel's release, if not the running one.
    pub kernel: Option<String>,
}

/// Writes kernel, initramfs and a script for iPXE, and gives the text on how to use them.
pub fn netboot(options: &NetbootOptions, host: &str) -> Result<String> {
    if !options.disk.starts_with("/dev/") || options.disk.contains(char::is_whitespace) {
        let disk = &options.disk;
        return Err(Error::Usage(format!(
            "--disk {disk}: name a disk below /dev"
        )));
    }
    let key = Store::open(&options.store)?.record().key.clone();
    let url = match &options.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}:{}", address::own(host), options.port),
    };
    check_system()?;
    let release = match &options.kernel {
        Some(release) => release.clone(),
        None => running_kernel()?,
    };
    let to = &options.to;
    fs::create_dir_all(to).context("create", to)?;
    let kernel = PathBuf::from(format!("/boot/vmlinuz-{release}"));
    fs::copy(&kernel, to.join("vmlinuz")).context("copy", &kernel)?;
    make_initramfs(to, &release)?;
    let words = format!(
        "reclone.install={} reclone.store={url} reclone.key={key}",
        options.disk
    );
    // iPXE puts in what the DHCP server calls the machine.
    let script = format!(
        "#!ipxe\nkernel vmlinuz initrd=initrd {words} reclone.hostname=${{hostname}}\ninitrd initrd\nboot\n"
    );
    let path = to.join("reclone.ipxe");
    fs::write(&path, &script).context("write", &path)?;
    Ok(format!(
        "Have a web or TFTP server give out {}, and your DHCP server name reclone.ipxe in it to iPXE:\n\n{script}\n\
         Or, in the menu of GRUB for network boot:\n\n\
         linux vmlinuz {words}\ninitrd initrd\n",
        to.display()
    ))
}

fn check_system() -> Result<()> {
    if !Path::new(HOOK).exists() || program(GENERATOR).is_none() {
        return Err(Error::Usage(format!(
            "{HOOK} or {GENERATOR} is missing: install initramfs-tools and the package reclone-initramfs; dracut makes no initramfs for bare machines"
        )));
    }
    let missing = NEEDED.iter().find(|(path, _)| !Path::new(path).exists());
    missing.map_or(Ok(()), |(path, package)| {
        Err(Error::Usage(format!(
            "{path} is missing: install the package {package}"
        )))
    })
}

fn program(name: &str) -> Option<PathBuf> {
    let mut paths = ["/usr/sbin", "/usr/bin"]
        .map(|folder| Path::new(folder).join(name))
        .into_iter();
    paths.find(|path| path.exists())
}

fn running_kernel() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/osrelease");
    let release = fs::read_to_string(path).context("read", path)?;
    Ok(release.trim().to_owned())
}

/// Has the generator work by this machine's configuration, with what other machines need in it.
fn make_initramfs(to: &Path, release: &str) -> Result<()> {
    let configuration = to.join(".configuration");
    let initramfs = to.join("initrd");
    let copied = run(Command::new("cp")
        .args(["-a", "-T", CONFIGURATION])
        .arg(&configuration));
    let made = copied.and_then(|()| {
        let own = configuration.join("conf.d/zz-reclone-netboot");
        fs::create_dir_all(configuration.join("conf.d")).context("create", &own)?;
        fs::write(&own, SETTINGS).context("write", &own)?;
        let mut make = Command::new(program(GENERATOR).unwrap_or(GENERATOR.into()));
        make.env("RECLONE_INSTALL", "y")
            .arg("-d")
            .arg(&configuration);
        run(make.arg("-o").arg(&initramfs).arg(release))
    });
    let removed = fs::remove_dir_all(&configuration).context("remove", &configuration);
    made.and(removed)
}

fn run(command: &mut Command) -> Result<()> {
    // What it says is no result of this program.
    let name = PathBuf::from(command.get_program());
    let status = command
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("run", &name)?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Failed {
            command: format!("{command:?}").replace('"', ""),
            status,
        }),
    }
}
