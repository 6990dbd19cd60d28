//! `reclone-model netboot`: what bare machines are started with over the network to become clones: this machine's kernel, an initramfs that can
//! lay out a disk, and the words for both.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Context, Error, Result};
use crate::setup::address;
use crate::store::Store;

/// What makes the initramfs.
#[derive(Clone, Copy, Debug)]
enum Generator {
    Tools,
    Dracut,
}

/// A program that it alone has, and its part of reclone for bare machines.
const GENERATORS: [(Generator, &str, &str); 2] = [
    (
        Generator::Tools,
        "mkinitramfs",
        "/usr/share/initramfs-tools/scripts/local-top/reclone",
    ),
    (
        Generator::Dracut,
        "dracut",
        "/usr/lib/dracut/modules.d/50reclone/install.sh",
    ),
];
/// Has the hook or the module take along what lays out a disk.
const FOR_BARE_MACHINES: (&str, &str) = ("RECLONE_INSTALL", "y");
/// The configuration of initramfs-tools.
const CONFIGURATION: &str = "/etc/initramfs-tools";
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
    let generator = Generator::find()?;
    let release = match &options.kernel {
        Some(release) => release.clone(),
        None => running_kernel()?,
    };
    let to = &options.to;
    fs::create_dir_all(to).context("create", to)?;
    let kernel = PathBuf::from(format!("/boot/vmlinuz-{release}"));
    fs::copy(&kernel, to.join("vmlinuz")).context("copy", &kernel)?;
    let initramfs = to.join("initrd");
    match generator {
        Generator::Tools => by_initramfs_tools(to, &initramfs, &release)?,
        Generator::Dracut => by_dracut(&initramfs, &release)?,
    }
    // Whatever mask made them: a server has to be able to read them.
    for path in [to.join("vmlinuz"), initramfs] {
        fs::set_permissions(&path, Permissions::from_mode(0o644))
            .context("set the mode of", &path)?;
    }
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

impl Generator {
    /// The one that this machine has, with all that it takes along for bare machines.
    fn find() -> Result<Self> {
        let has = |name: &str, part: &str| program(name).is_some() && Path::new(part).exists();
        let found = GENERATORS.iter().find(|(_, name, part)| has(name, part));
        let (generator, ..) = found.ok_or_else(|| {
            Error::Usage(
                "what makes the initramfs is missing: install initramfs-tools and the package reclone-initramfs, or dracut and reclone-dracut".into(),
            )
        })?;
        let missing = NEEDED.iter().find(|(path, _)| !Path::new(path).exists());
        missing.map_or(Ok(*generator), |(path, package)| {
            Err(Error::Usage(format!(
                "{path} is missing: install the package {package}"
            )))
        })
    }
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

/// By this machine's configuration, with what other machines need in it.
fn by_initramfs_tools(to: &Path, initramfs: &Path, release: &str) -> Result<()> {
    let configuration = to.join(".configuration");
    let copied = run(Command::new("cp")
        .args(["-a", "-T", CONFIGURATION])
        .arg(&configuration));
    let made = copied.and_then(|()| {
        let own = configuration.join("conf.d/zz-reclone-netboot");
        fs::create_dir_all(configuration.join("conf.d")).context("create", &own)?;
        fs::write(&own, SETTINGS).context("write", &own)?;
        let mut make = making("mkinitramfs");
        make.arg("-d").arg(&configuration);
        run(make.arg("-o").arg(initramfs).arg(release))
    });
    let removed = fs::remove_dir_all(&configuration).context("remove", &configuration);
    made.and(removed)
}

/// The same.
fn by_dracut(initramfs: &Path, release: &str) -> Result<()> {
    let mut make = making("dracut");
    make.args(["--quiet", "--force", "--no-hostonly", "--add", "reclone"]);
    run(make.arg(initramfs).arg(release))
}

fn making(name: &str) -> Command {
    let mut make = Command::new(program(name).unwrap_or(name.into()));
    let (key, value) = FOR_BARE_MACHINES;
    make.env(key, value);
    make
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
