//! The network before there is a system: raises the wired links, has the distribution's own tool ask for an address, and
//! takes all of it away again, so that the booted system finds its devices new.
//!
//! A link that is up already (a root over the network, an `ip=` of the admin's) is somebody else's and stays as it is.
//! What the tool is and how long it takes: `docs/boot.md`.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::sys::net::Link;

/// A cable that says nothing for so long is none. Real cards need two to five seconds.
const LONGEST_CARRIER: Duration = Duration::from_secs(10);
/// How often the kernel is asked whether something has happened.
const TICK: Duration = Duration::from_millis(20);

/// Where the initramfs has its things.
#[derive(Clone, Debug)]
pub struct Places {
    /// The program that gives the links their addresses.
    pub script: PathBuf,
    /// Where it notes what it was given, as `net-<link>.conf`.
    pub leases: PathBuf,
    /// The resolver's configuration.
    pub resolv_conf: PathBuf,
    /// What the program says goes here.
    pub output: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            script: "/scripts/reclone-network".into(),
            leases: "/run".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            output: "/run/reclone/network.log".into(),
        }
    }
}

/// A network that is up, and what to take down again. Dropping it leaves the network up.
#[derive(Debug)]
pub struct Network {
    raised: Vec<Link>,
    leases: PathBuf,
}

/// Whether `store` is reached over the network.
pub fn is_needed(store: &str) -> bool {
    let scheme = store
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// Brings the network up, or fails at `deadline` at the latest; then nothing of it is left.
pub fn bring_up(places: &Places, deadline: Instant) -> Result<Network> {
    let mut network = Network {
        raised: Vec::new(),
        leases: places.leases.clone(),
    };
    let result = match is_up() {
        true => Ok(()),
        false => network.raise(places, deadline),
    };
    match result.and_then(|()| name_servers(places)) {
        Ok(()) => Ok(network),
        Err(error) => {
            network.take_down();
            Err(error)
        }
    }
}

impl Network {
    /// Leaves every link that was raised as it was found: without addresses, and off.
    pub fn take_down(self) {
        for link in &self.raised {
            if let Err(error) = link.lower() {
                log::warn!("could not switch {} off again: {error}", link.name());
            }
            let _ = fs::remove_file(self.leases.join(format!("net-{}.conf", link.name())));
        }
    }

    fn raise(&mut self, places: &Places, deadline: Instant) -> Result<()> {
        let failed =
            |error: io::Error| Error::Network(format!("the links can not be switched on: {error}"));
        let links = wait_for_links(deadline).map_err(failed)?;
        for link in &links {
            if !link.is_up().map_err(failed)? {
                link.raise().map_err(failed)?;
                self.raised.push(link.clone());
            }
        }
        wait_for_carrier(&links, deadline.min(Instant::now() + LONGEST_CARRIER))?;
        run(places, deadline)?;
        match is_up() {
            true => Ok(()),
            false => Err(Error::Network("no DHCP server gave an address".into())),
        }
    }
}

/// A driver may still be at work: a machine without any link is asked again for a while.
fn wait_for_links(deadline: Instant) -> io::Result<Vec<Link>> {
    let deadline = deadline.min(Instant::now() + LONGEST_CARRIER);
    loop {
        let links = Link::ethernet()?;
        if !links.is_empty() || Instant::now() >= deadline {
            return Ok(links);
        }
        thread::sleep(TICK);
    }
}

fn wait_for_carrier(links: &[Link], deadline: Instant) -> Result<()> {
    if links.is_empty() {
        return Err(Error::Network(
            "this machine has no wired network card that works".into(),
        ));
    }
    while !links.iter().any(|link| link.has_carrier().unwrap_or(false)) {
        if Instant::now() >= deadline {
            return Err(Error::Network("no cable is plugged in".into()));
        }
        thread::sleep(TICK);
    }
    Ok(())
}

/// Runs the program that asks for an address. At the deadline it and all its children are killed.
fn run(places: &Places, deadline: Instant) -> Result<()> {
    let script = places.script.display();
    let failed = |error: io::Error| Error::Network(format!("{script} does not run: {error}"));
    let output = File::create(&places.output).map_err(failed)?;
    let mut child = Command::new(&places.script)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    match wait(&mut child, deadline).map_err(failed)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Error::Network(format!("{script} ended with {status}"))),
        None => Err(Error::Network("no DHCP server answered in time".into())),
    }
}

/// How the child ended; none where it had to be killed at the deadline.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            break;
        }
        thread::sleep(TICK);
    }
    let group = i32::try_from(child.id()).expect("a process id fits into its own type");
    killpg(Pid::from_raw(group), Signal::SIGKILL)?;
    child.wait()?;
    Ok(None)
}

/// Whether a link other than the loopback has a route or a global address.
fn is_up() -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    has_route(&read("/proc/net/route")) || has_global_address(&read("/proc/net/if_inet6"))
}

/// Reads `/proc/net/route`: after a line of headings, one route a line, the link's name first.
fn has_route(table: &str) -> bool {
    let links = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().next());
    links.into_iter().any(|link| link != "lo")
}

/// Reads `/proc/net/if_inet6`: address, index, prefix length, scope (00: global), flags, name.
fn has_global_address(table: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        matches!(fields[..], [_, _, _, "00", _, name] if name != "lo")
    })
}

/// Writes the resolver's configuration where the distribution's tool left that to others.
fn name_servers(places: &Places) -> Result<()> {
    let path = &places.resolv_conf;
    match fs::read_to_string(path) {
        Ok(text) if text.contains("nameserver") => return Ok(()),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::system("can not read", path)(error));
        }
        _ => {}
    }
    let mut text = String::new();
    let entries =
        fs::read_dir(&places.leases).map_err(Error::system("can not read", &places.leases))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("net-") && name.ends_with(".conf") {
            text += &resolver(&fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
    // A server with an address for a name needs none.
    if text.is_empty() {
        return Ok(());
    }
    fs::write(path, text).map_err(Error::system("can not write", path))
}

/// The name servers of one lease, as lines of `/etc/resolv.conf`. `0.0.0.0` stands for none.
fn resolver(lease: &str) -> String {
    let mut text = String::new();
    for line in lease.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches(['\'', '"']);
        match key {
            "IPV4DNS0" | "IPV4DNS1" if !matches!(value, "" | "0.0.0.0") => {
                text += &format!("nameserver {value}\n");
            }
            "DNSDOMAIN" if !value.is_empty() => text += &format!("search {value}\n"),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests;
