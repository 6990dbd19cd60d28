//! The programs that make an initramfs, and the systems they come with.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::console::Console;
use crate::image::{Tree, project, run};

/// udev loads it by dlopen since systemd 256; only dracut's systemd flavour knows.
const KMOD: &str = "/usr/lib/x86_64-linux-gnu/libkmod.so.2";
/// Modules of dracut that make up its systemd flavour.
const SYSTEMD: &str = "systemd systemd-initrd dracut-systemd systemd-udevd systemd-journald systemd-sysusers systemd-networkd \
    systemd-tmpfiles systemd-modules-load systemd-sysctl systemd-ask-password systemd-emergency dbus dbus-daemon";

/// What makes the initramfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initramfs {
    /// initramfs-tools, Debian's default.
    Tools,
    /// dracut, with systemd in the initramfs.
    Dracut,
    /// dracut, without.
    DracutPlain,
}

/// A system, as a Debian suite and what makes its initramfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    /// The suite.
    pub suite: &'static str,
    /// The initramfs.
    pub initramfs: Initramfs,
}

impl System {
    /// Debian 13 as it is installed by default.
    pub const DEFAULT: System = System {
        suite: "trixie",
        initramfs: Initramfs::Tools,
    };
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let initramfs = match self.initramfs {
            Initramfs::Tools => "initramfs-tools",
            Initramfs::Dracut => "dracut",
            Initramfs::DracutPlain => "dracut-without-systemd",
        };
        write!(f, "{}-{initramfs}", self.suite)
    }
}

impl Initramfs {
    /// The package that has it.
    pub fn package(self) -> &'static str {
        match self {
            Initramfs::Tools => "initramfs-tools",
            Initramfs::Dracut | Initramfs::DracutPlain => "dracut",
        }
    }

    /// What is added to the kernel command line so that a failure ends the machine instead of opening a shell.
    pub fn words_without_shell(self) -> &'static str {
        match self {
            // With `panic=` initramfs-tools reboots where it would otherwise open a shell, that of `break=` included.
            Initramfs::Tools => "panic=1",
            Initramfs::Dracut | Initramfs::DracutPlain => "panic=1 rd.shell=0 rd.emergency=reboot",
        }
    }

    /// What is added so that the boot stops in a shell once the root partition is mounted.
    pub fn break_word(self) -> &'static str {
        match self {
            Initramfs::Tools => "break=bottom",
            // Without a password for root, which these trees do not have, systemd gives no shell.
            Initramfs::Dracut => "rd.break SYSTEMD_SULOGIN_FORCE=1",
            Initramfs::DracutPlain => "rd.break",
        }
    }

    /// Waits for that shell to wait for a command.
    pub fn enter_shell(self, console: &mut Console) -> io::Result<()> {
        match self {
            Initramfs::Tools => console.expect("(initramfs)")?,
            Initramfs::Dracut => {
                console.expect("press Control-D to continue")?;
                console.send("")?;
                console.expect("# ")?
            }
            Initramfs::DracutPlain => console.expect(":/# ")?,
        };
        Ok(())
    }

    /// Where the root partition is mounted.
    pub fn root(self) -> &'static str {
        match self {
            Initramfs::Tools => "/root",
            Initramfs::Dracut | Initramfs::DracutPlain => "/sysroot",
        }
    }

    /// Puts what starts the agent into the tree, as `make install-clone` does.
    pub fn install_module(self, tree: &Path) -> io::Result<()> {
        run(Command::new("make")
            .arg("--silent")
            .arg("--directory")
            .arg(project())
            .arg("install-clone")
            .arg(format!("DESTDIR={}", tree.display())))?;
        Ok(())
    }

    /// Has the tree say by its own configuration which of the two it is, for whoever runs dracut there.
    pub fn configure(self, tree: &Tree) -> io::Result<()> {
        let text = format!("omit_dracutmodules+=\" {SYSTEMD} \"\ninstall_items+=\" {KMOD} \"\n");
        match self {
            Initramfs::DracutPlain => tree.write("etc/dracut.conf.d/plain.conf", &text),
            _ => Ok(()),
        }
    }

    /// Makes the initramfs of the tree's one kernel anew.
    pub fn make(self, tree: &Tree) -> io::Result<()> {
        let kernel = tree.boot_file("vmlinuz-")?;
        let name = kernel.file_name().unwrap_or_default().to_string_lossy();
        let release = name.trim_start_matches("vmlinuz-").to_owned();
        let mut chroot = Command::new("chroot");
        chroot.arg(tree.root());
        match self {
            Initramfs::Tools => chroot.args(["update-initramfs", "-u", "-k", "all"]),
            Initramfs::Dracut | Initramfs::DracutPlain => {
                chroot.args(["dracut", "--quiet", "--force", "--no-hostonly"]);
                chroot.args(["--no-early-microcode", "--kver", &release]);
                if self == Initramfs::DracutPlain {
                    chroot.args(["--omit", SYSTEMD, "--install", KMOD]);
                }
                chroot.arg(format!("/boot/initrd.img-{release}"))
            }
        };
        let said = run(&mut chroot)?;
        fs::write(tree.root().with_extension("initramfs.log"), said)
    }
}
