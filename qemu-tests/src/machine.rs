//! A QEMU machine without KVM: a root disk and others, user-mode network, the console on pipes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::console::Console;
use crate::poll::poll;

/// The option of `-drive` that makes a machine start by UEFI.
pub const FIRMWARE: &str = "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd";
/// QEMU's user-mode network, as an option of `-netdev`.
pub const USER_NETWORK: &str = "user,id=n";
/// No boot, with what is done in it, takes longer, even beside busy neighbours.
pub const DEADLINE: Duration = Duration::from_secs(900);
/// The size of the disk for results, in bytes.
const RESULTS: u64 = 1 << 20;
/// That disk in the machine. The names of disks change with their order, so it is found by its serial number, which the
/// kernel shows even where udev has made no links yet.
const FIND_RESULTS: &str =
    "for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = results ] && r=/dev/${d##*/}; done";

/// What starts the machine.
pub enum Loader<'a> {
    /// QEMU loads this kernel and initramfs, with these words added to the kernel command line.
    Kernel {
        /// The kernel image.
        kernel: &'a Path,
        /// Its initramfs.
        initrd: &'a Path,
        /// The words.
        words: &'a str,
    },
    /// The same as a server gives it to a machine that has nothing yet: the words name no root.
    Network {
        /// The kernel image.
        kernel: &'a Path,
        /// Its initramfs.
        initrd: &'a Path,
        /// The words.
        words: &'a str,
    },
    /// The network card asks for what to start, before the disk: by its own ROM under BIOS, by what UEFI has itself where variables are given.
    Card {
        /// As for [`Loader::Firmware`].
        variables: Option<&'a Path>,
    },
    /// BIOS, with what it finds on the root disk.
    Bios,
    /// UEFI, with what it finds on the root disk; its variables are in this file.
    Firmware {
        /// A copy of the empty variables that come with the firmware.
        variables: &'a Path,
    },
}

/// What to boot.
pub struct Boot<'a> {
    /// From where.
    pub loader: Loader<'a>,
    /// The root disk, raw. In the machine its serial number is `root`.
    pub disk: &'a Path,
    /// How QEMU opens that disk, where it is not simply the file: the first options of `-drive`.
    pub drive: Option<&'a str>,
    /// Further disks, each with its serial number.
    pub more: &'a [(String, PathBuf)],
    /// The network: options of `-netdev`, of which `n` is the one that the machine is plugged into.
    pub network: &'a [String],
    /// The network namespace that QEMU runs in, if it is to be another.
    pub host: Option<&'a str>,
    /// Further options of QEMU, a word each.
    pub options: &'a [String],
    /// Whether the console is shown.
    pub show: bool,
}

/// A machine that was switched off in order.
pub struct Ended {
    /// How long it was on.
    pub on: Duration,
    /// All that its console said.
    pub said: String,
}

/// A running machine; dropping it pulls the plug.
pub struct Machine {
    child: Child,
    /// The serial line.
    pub console: Console,
    results: PathBuf,
    reports: u32,
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
        let results = boot.disk.with_extension("results");
        fs::File::create(&results)?.set_len(RESULTS)?;
        let mut child = qemu(boot, &results).spawn()?;
        let started = Instant::now();
        let input = child.stdin.take().expect("stdin was asked for as a pipe");
        let output = child.stdout.take().expect("stdout was asked for as a pipe");
        let console = Console::new(input, output, started + DEADLINE, boot.show);
        Ok(Machine {
            child,
            console,
            results,
            reports: 0,
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

    /// Runs shell commands in the machine and returns what they print, which comes over the disk for results and not over
    /// the console, where the kernel may speak in between.
    pub fn report(&mut self, script: &str) -> io::Result<String> {
        let script = script.replace('\n', "; ");
        self.reports += 1;
        let number = self.reports;
        // With what every shell has in itself: an initramfs may have little else. A dot, for `$()` takes the last newlines
        // away. Where there is no `sync`, the kernel writes out when the last who has the disk open closes it; that may be udev.
        let command = format!(
            "{FIND_RESULTS}; t=$({{ {script}; }} 2>&1; echo .); \
             printf '%s %s\\n%s' {number} ${{#t}} \"$t\" >$r; sync 2>/dev/null"
        );
        self.console.ask(&command)?;
        let answer = poll(|| result(&fs::read(&self.results).ok()?, number));
        answer.ok_or_else(|| {
            let said = &self.console.transcript;
            io::Error::other(format!("No results came of: {command}\n{said}"))
        })
    }

    /// Shuts the system down in order.
    pub fn power_off(mut self) -> io::Result<Ended> {
        self.console.send("systemctl poweroff")?;
        self.wait_until_off()
    }

    /// Waits until the machine has switched itself off.
    pub fn wait_until_off(mut self) -> io::Result<Ended> {
        self.console.drain()?;
        self.child.wait()?;
        Ok(Ended {
            on: self.started.elapsed(),
            said: std::mem::take(&mut self.console.transcript),
        })
    }
}

/// The result of this number, if it is there: the number, the length and a newline come before it, a dot after it.
fn result(disk: &[u8], number: u32) -> Option<String> {
    let text = String::from_utf8_lossy(disk);
    let (first, text) = text.split_once('\n')?;
    let (found, length) = first.split_once(' ')?;
    let length: usize = length.parse().ok()?;
    let text = text.get(..length)?.strip_suffix('.')?;
    (found == number.to_string()).then(|| text.to_owned())
}

/// The command that boots `boot`, with its console on pipes.
fn qemu(boot: &Boot, results: &Path) -> Command {
    // One processor: with two, QEMU's emulation now and then runs kernel code that the other has just patched, and the
    // kernel dies of a stale breakpoint. The plainest processor is the one that is emulated fastest.
    let options = "-accel tcg,thread=single -cpu qemu64 -smp 1 -m 1024 -nodefaults -no-reboot -serial stdio \
        -monitor none -device virtio-rng-pci -device";
    let program = "qemu-system-x86_64";
    let mut command = match boot.host {
        None => Command::new(program),
        Some(host) => {
            let mut ip = Command::new("ip");
            ip.args(["netns", "exec", host, program]);
            ip
        }
    };
    for netdev in boot.network {
        command.args(["-netdev", netdev]);
    }
    command.args(options.split_ascii_whitespace());
    command.arg(match &boot.loader {
        Loader::Card { variables: None } => "virtio-net-pci,netdev=n,bootindex=0",
        Loader::Card { .. } => "virtio-net-pci,netdev=n,bootindex=0,romfile=",
        _ => "virtio-net-pci,netdev=n,romfile=",
    });
    if !boot.options.iter().any(|option| option == "-display") {
        command.args(["-display", "none"]);
    }
    let raw = |file: &Path| format!("file={},format=raw", file.display());
    let root = boot.drive.map_or_else(|| raw(boot.disk), str::to_owned);
    let mut add = |drive: String, serial: &str| {
        command.arg("-drive");
        command.arg(format!("{drive},if=none,id={serial},cache=unsafe"));
        let first = if serial == "root" { ",bootindex=1" } else { "" };
        command.arg("-device");
        command.arg(format!(
            "virtio-blk-pci,drive={serial},serial={serial}{first}"
        ));
    };
    add(root, "root");
    add(raw(results), "results");
    boot.more
        .iter()
        .for_each(|(serial, file)| add(raw(file), serial));
    match &boot.loader {
        Loader::Kernel {
            kernel,
            initrd,
            words,
        } => {
            let words = format!("root=/dev/disk/by-id/virtio-root rw {words}");
            start_kernel(&mut command, kernel, initrd, &words);
        }
        Loader::Network {
            kernel,
            initrd,
            words,
        } => start_kernel(&mut command, kernel, initrd, words),
        Loader::Card {
            variables: Some(variables),
        }
        | Loader::Firmware { variables } => {
            let variables = format!("if=pflash,format=raw,file={}", variables.display());
            command.args(["-machine", "q35", "-drive", FIRMWARE, "-drive", &variables]);
        }
        Loader::Card { variables: None } | Loader::Bios => {}
    }
    command.args(boot.options);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// udev takes its time here, and the login is on a device that it has to see.
fn start_kernel(command: &mut Command, kernel: &Path, initrd: &Path, words: &str) {
    let append = format!("console=ttyS0 oops=panic systemd.default_device_timeout_sec=200 {words}");
    command.args(["-append", &append, "-kernel"]).arg(kernel);
    command.arg("-initrd").arg(initrd);
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
