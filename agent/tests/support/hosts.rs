//! Hosts of their own on this machine: network namespaces with a wire between them, and real servers in them.
#![allow(dead_code)] // Each test program needs a part of it.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A network namespace; dropping it removes it and its links.
pub struct Host {
    name: String,
}

impl Host {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let host = Self {
            name: format!("reclone-{}-{number}", std::process::id()),
        };
        ip(&["netns", "add", &host.name]);
        host.ip(&["link", "set", "lo", "up"]);
        host
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in the namespace.
    pub fn ip(&self, words: &[&str]) -> String {
        ip(&[&["-n", &self.name], words].concat())
    }

    /// Connects the link `name` here with the link `end` there. Both are off.
    pub fn connect(&self, name: &str, there: &Host, end: &str) {
        let words = ["link", "add", name, "type", "veth", "peer", "name", end];
        self.ip(&[&words[..], &["netns", &there.name]].concat());
    }

    /// Adds the VLAN `number` on `link`, as `LINK.NUMBER`; says so where the kernel can not.
    pub fn can_add_vlan(&self, link: &str, number: &str) -> bool {
        let added = Command::new("ip")
            .args(["-n", &self.name, "link", "add", "link", link])
            .args([
                "name",
                &format!("{link}.{number}"),
                "type",
                "vlan",
                "id",
                number,
            ])
            .stderr(Stdio::null())
            .status();
        let can = added.is_ok_and(|status| status.success());
        if !can {
            eprintln!("SKIPPED: this kernel has no VLANs");
        }
        can
    }

    /// A command that runs in the namespace.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        command.arg(program.as_ref());
        command
    }

    /// Does `work` in a thread that is in the namespace. Sockets that it opens stay there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(&self.name)).unwrap();
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            entered.join().unwrap()
        })
    }

    /// Waits until a server in the namespace takes connections at this address and port.
    pub fn wait_for_server(&self, address: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.enter(|| TcpStream::connect(address)).is_err() {
            assert!(Instant::now() < deadline, "nobody listens at {address}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
    }
}

fn ip(words: &[&str]) -> String {
    let output = Command::new("ip").args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a program is installed; says so where it is not.
pub fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// A program that runs until this is dropped.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts it; what it says goes to the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// dnsmasq on one link of a host: DHCP, names, router announcements, as its options say.
pub struct Dnsmasq {
    _daemon: Daemon,
    leases: PathBuf,
}

impl Dnsmasq {
    pub fn start(host: &Host, link: &str, options: &[&str], folder: &Path) -> Self {
        let leases = folder.join(format!("leases-{link}"));
        let log = folder.join(format!("dnsmasq-{link}.log"));
        let mut command = host.command("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-hosts",
            ])
            .args([
                "--no-resolv",
                "--user=root",
                "--pid-file=",
                "--bind-interfaces",
            ])
            .args(["--log-facility=-", "--log-dhcp", "--no-ping"])
            .arg(format!("--interface={link}"))
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .args(options);
        let daemon = Daemon::start(&mut command, &log);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !fs::read_to_string(&log)
            .unwrap()
            .contains("started, version")
        {
            assert!(Instant::now() < deadline, "{}", log.display());
            thread::sleep(Duration::from_millis(20));
        }
        Self {
            _daemon: daemon,
            leases,
        }
    }

    /// Waits until every lease was given back, which nobody confirms.
    pub fn wait_until_no_lease_is_out(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let leases = fs::read_to_string(&self.leases).unwrap_or_default();
            if leases.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{leases}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}
