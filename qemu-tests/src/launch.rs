//! A machine of a site before it is switched on: which disk, which words, what else is plugged in.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::machine::{Boot, Loader, Machine, USER_NETWORK};
use crate::site::Site;

/// The variables of the firmware, as Debian's package `ovmf` has them.
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// What starts a machine.
enum Start {
    Kernel,
    Network(PathBuf),
    Card { by_firmware: bool },
    Bios,
    Firmware { keeps: bool },
}

/// What to start; [`Site::machine`] makes it.
pub struct Launch<'a> {
    site: &'a Site,
    disk: String,
    words: String,
    shell: bool,
    start: Start,
    drive: Option<String>,
    more: Vec<(String, PathBuf)>,
    network: Vec<String>,
    host: Option<String>,
    options: Vec<String>,
}

impl<'a> Launch<'a> {
    pub(crate) fn new(site: &'a Site, disk: &str) -> Self {
        Self {
            site,
            disk: disk.to_owned(),
            words: String::new(),
            shell: false,
            start: Start::Kernel,
            drive: None,
            more: Vec::new(),
            network: vec![USER_NETWORK.to_owned()],
            host: None,
            options: Vec::new(),
        }
    }

    /// Adds words to the kernel command line.
    pub fn words(mut self, words: &str) -> Self {
        self.words = format!("{} {words}", self.words);
        self
    }

    /// Where the initramfs fails or is told to stop, there is a shell; without this it ends the machine.
    pub fn with_shell(mut self) -> Self {
        self.shell = true;
        self
    }

    /// UEFI loads what is on the disk. It knows nothing of earlier boots.
    pub fn by_firmware(mut self) -> Self {
        self.start = Start::Firmware { keeps: false };
        self
    }

    /// The same with the variables that the last boot of this disk left.
    pub fn by_firmware_again(mut self) -> Self {
        self.start = Start::Firmware { keeps: true };
        self
    }

    /// BIOS loads what is on the disk.
    pub fn by_bios(mut self) -> Self {
        self.start = Start::Bios;
        self
    }

    /// Kernel and initramfs, `vmlinuz` and `initrd` in a folder of the site, come from a server, and no root is named.
    pub fn by_network(mut self, folder: &str) -> Self {
        self.start = Start::Network(self.site.path(folder));
        self
    }

    /// The network card asks for what to start, by UEFI or by BIOS.
    pub fn by_card(mut self, by_firmware: bool) -> Self {
        self.start = Start::Card { by_firmware };
        self
    }

    /// Has QEMU run in this network namespace.
    pub fn on_host(mut self, name: &str) -> Self {
        self.host = Some(name.to_owned());
        self
    }

    /// Has QEMU open the root disk with these first options of `-drive`.
    pub fn with_drive(mut self, drive: String) -> Self {
        self.drive = Some(drive);
        self
    }

    /// Plugs in the disk `name` of the site under this serial number.
    pub fn with_disk(mut self, serial: &str, name: &str) -> Self {
        self.more.push((serial.to_owned(), self.site.path(name)));
        self
    }

    /// Plugs it into this network instead of QEMU's user-mode network: options of `-netdev`, of which the last is named `n`.
    pub fn with_network(mut self, network: &[String]) -> Self {
        self.network = network.to_vec();
        self
    }

    /// Adds options of QEMU, a word each.
    pub fn with_options(mut self, options: &[impl AsRef<str>]) -> Self {
        self.options
            .extend(options.iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Switches it on.
    pub fn start(self) -> io::Result<Machine> {
        let disk = self.site.path(&self.disk);
        let variables = disk.with_extension("variables");
        let on_failure = match self.shell {
            true => "",
            false => self.site.system.initramfs.words_without_shell(),
        };
        let words = format!("{on_failure} {}", self.words);
        let of_server = |name: &str| match &self.start {
            Start::Network(folder) => folder.join(name),
            _ => PathBuf::new(),
        };
        let (kernel, initrd) = (of_server("vmlinuz"), of_server("initrd"));
        let keeps = match self.start {
            Start::Firmware { keeps } => keeps && variables.exists(),
            Start::Card { by_firmware } => !by_firmware,
            _ => true,
        };
        if !keeps {
            fs::copy(VARIABLES, &variables)?;
        }
        let loader = match &self.start {
            Start::Firmware { .. } => Loader::Firmware {
                variables: &variables,
            },
            Start::Card { by_firmware } => Loader::Card {
                variables: by_firmware.then_some(variables.as_path()),
            },
            Start::Network(_) => Loader::Network {
                kernel: &kernel,
                initrd: &initrd,
                words: &words,
            },
            Start::Bios => Loader::Bios,
            Start::Kernel => Loader::Kernel {
                kernel: &self.site.kernel,
                initrd: &self.site.initrd,
                words: &words,
            },
        };
        Machine::start(&Boot {
            loader,
            disk: &disk,
            drive: self.drive.as_deref(),
            more: &self.more,
            network: &self.network,
            host: self.host.as_deref(),
            options: &self.options,
            show: self.site.show,
        })
    }
}
