//! A QEMU machine without KVM: direct kernel boot, one root disk, user-mode network, the console on pipes.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::console::Console;

/// No boot takes longer, even beside a busy neighbour.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// What to boot.
pub struct Boot<'a> {
    /// The kernel image.
    pub kernel: &'a Path,
    /// Its initramfs.
    pub initrd: &'a Path,
    /// The root disk, raw.
    pub disk: &'a Path,
    /// Added to the kernel command line.
    pub words: &'a str,
    /// Whether the console is shown.
    pub show: bool,
}

/// A running machine; dropping it pulls the plug.
pub struct Machine {
    child: Child,
    /// The serial line.
    pub console: Console,
    started: Instant,
}

impl Machine {
    /// Whether QEMU is installed; says so when it is not.
    pub fn available() -> bool {
        let found = Command::new("qemu-system-x86_64")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok();
        if !found {
            eprintln!("SKIPPED: qemu-system-x86_64 is not installed");
        }
        found
    }

    /// Switches the machine on.
    pub fn start(boot: &Boot) -> io::Result<Machine> {
        // With `panic=` initramfs-tools reboots where it would otherwise open the shell that `break=` asks for.
        let on_panic = if boot.words.contains("break=") {
            ""
        } else {
            "panic=1"
        };
        let append = format!(
            "console=ttyS0 root=/dev/disk/by-id/virtio-root rw oops=panic {on_panic} {}",
            boot.words
        );
        let drive = format!(
            "file={},format=raw,if=none,id=d,cache=unsafe",
            boot.disk.display()
        );
        let mut child = Command::new("qemu-system-x86_64")
            .args([
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                "1024",
                "-nodefaults",
            ])
            .args([
                "-display",
                "none",
                "-no-reboot",
                "-serial",
                "stdio",
                "-monitor",
                "none",
            ])
            .args([
                "-netdev",
                "user,id=n",
                "-device",
                "virtio-net-pci,netdev=n,romfile=",
            ])
            .args([
                "-device",
                "virtio-rng-pci",
                "-device",
                "virtio-blk-pci,drive=d,serial=root",
            ])
            .args(["-drive", &drive, "-append", &append, "-kernel"])
            .arg(boot.kernel)
            .arg("-initrd")
            .arg(boot.initrd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let started = Instant::now();
        let input = child.stdin.take().expect("stdin was asked for as a pipe");
        let output = child.stdout.take().expect("stdout was asked for as a pipe");
        let console = Console::new(input, output, started + DEADLINE, boot.show);
        Ok(Machine {
            child,
            console,
            started,
        })
    }

    /// Waits for root's shell and for systemd to have finished its start.
    pub fn log_in(&mut self) -> io::Result<()> {
        self.console.expect("root@")?;
        // Kernel messages would stand in the middle of answers.
        self.console.ask("dmesg --console-level 1")?;
        self.console.ask("systemctl is-system-running --wait")?;
        Ok(())
    }

    /// Shuts the system down in order and returns how long the machine was on.
    pub fn power_off(mut self) -> io::Result<Duration> {
        self.console.send("systemctl poweroff")?;
        self.console.drain()?;
        self.child.wait()?;
        Ok(self.started.elapsed())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
