//! The network before there is a system: raises the wired links, gets an address by DHCP, by a router's announcement or
//! from the kernel command line, and takes all of it away again, so that the booted system finds its devices new.
//!
//! A network that is up already (a root over the network, dracut's `ip=`) is somebody else's and stays as it is. The agent
//! asks by itself, for every initramfs has another tool for it, and some have none: `docs/boot.md`.

pub mod dhcp;
pub mod lease;
mod resolver;
pub mod settings;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::error::{Error, Result};
use crate::sys::net::Link;
use crate::sys::net::announced::Announcements;

use dhcp::{Client, Leased};
use settings::Settings;

/// A cable that says nothing for so long is none. Real cards need two to five seconds.
const LONGEST_CARRIER: Duration = Duration::from_secs(10);
/// How long an IPv6 address alone waits for a DHCP server, where the store may be behind either.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the kernel is asked whether something has happened.
const TICK: Duration = Duration::from_millis(20);

/// Where the initramfs has its things.
#[derive(Clone, Debug)]
pub struct Places {
    /// The kernel command line.
    pub command_line: PathBuf,
    /// The resolver's configuration.
    pub resolv_conf: PathBuf,
    /// Where other programs note what they were given.
    pub run: PathBuf,
    /// The same, for older ones.
    pub tmp: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            command_line: "/proc/cmdline".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            run: "/run".into(),
            tmp: "/tmp".into(),
        }
    }
}

/// What kind of address a store asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Its name may lead to either kind.
    Any,
    /// It is at an IPv4 address.
    V4,
    /// It is at an IPv6 address.
    V6,
}

/// What a store at this location, asked through this proxy, needs of the network; nothing where it is a path.
pub fn need(store: &str, proxy: Option<&str>) -> Option<Need> {
    let (scheme, rest) = store.split_once("://")?;
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        return None;
    }
    let rest = proxy.map_or(rest, |proxy| {
        proxy.split_once("://").map_or(proxy, |(_, rest)| rest)
    });
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    Some(if host.starts_with('[') {
        Need::V6
    } else if host
        .split(':')
        .next()
        .is_some_and(|host| host.parse::<Ipv4Addr>().is_ok())
    {
        Need::V4
    } else {
        Need::Any
    })
}

/// A network that is up, and what to take down again.
#[derive(Default)]
struct Network {
    raised: Vec<Link>,
    vlan: Option<Link>,
    leased: Option<(Client, Leased)>,
}

/// Does `work` with the network up, if it needs one, and takes it down again.
pub fn with<T>(
    need: Option<Need>,
    places: &Places,
    deadline: Instant,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(need) = need else {
        return work();
    };
    let network = bring_up(places, need, deadline)?;
    let result = work();
    network.take_down();
    result
}

/// Brings the network up, or fails at `deadline` at the latest; then nothing of it is left.
fn bring_up(places: &Places, need: Need, deadline: Instant) -> Result<Network> {
    let mut network = Network::default();
    let result = match is_up() {
        true => network.take_over(places),
        false => network.raise(places, need, deadline),
    };
    match result {
        Ok(()) => Ok(network),
        Err(error) => {
            network.take_down();
            Err(error)
        }
    }
}

impl Network {
    /// Leaves every link that was raised as it was found: without addresses, and off.
    fn take_down(self) {
        if let Some((client, leased)) = &self.leased
            && let Err(error) = client.release(leased)
        {
            warn!("could not give the address back: {error}");
        }
        if let Some(vlan) = &self.vlan
            && let Err(error) = vlan.remove_vlan()
        {
            warn!("could not remove {}: {error}", vlan.name());
        }
        for link in &self.raised {
            if let Err(error) = link.lower() {
                warn!("could not switch {} off again: {error}", link.name());
            }
        }
    }

    /// Uses what somebody else has raised.
    fn take_over(&mut self, places: &Places) -> Result<()> {
        let path = &places.resolv_conf;
        if resolver::is_written(path) {
            return Ok(());
        }
        let (servers, domains) = resolver::noted(&places.run, &places.tmp);
        resolver::write(path, &servers, &domains).map_err(Error::system("can not write", path))
    }

    fn raise(&mut self, places: &Places, need: Need, deadline: Instant) -> Result<()> {
        let started = Instant::now();
        let command_line = fs::read_to_string(&places.command_line).unwrap_or_default();
        let (settings, complaints) = Settings::read(&command_line);
        complaints.iter().for_each(|what| warn!("{what}: left out"));
        // Before a link is up, for the first announcement may be the only one in minutes. Without IPv6 there are none.
        let announcements = Announcements::open().ok();
        let links = self.switch_on(&settings, deadline)?;
        let mut servers: Vec<String> = settings
            .name_servers
            .iter()
            .map(ToString::to_string)
            .collect();
        let mut domains = Vec::new();
        let lease = match settings.fixed {
            Some(lease) => Some((wait_for_carrier(&links, deadline)?.clone(), lease)),
            None => self.ask(&links, need, deadline)?,
        };
        let seconds = started.elapsed().as_secs_f64();
        if let Some((link, lease)) = lease {
            lease.apply(&link).map_err(failed)?;
            let (name, address, prefix) = (link.name(), lease.address, lease.prefix);
            info!("the network is up on {name} after {seconds:.1} s: {address}/{prefix}");
            servers.extend(lease.name_servers.iter().map(ToString::to_string));
            domains = lease.domains;
        } else {
            info!("the network is up after {seconds:.1} s: IPv6 by a router's announcement");
        }
        servers.extend(announced(announcements.as_ref()));
        let path = &places.resolv_conf;
        resolver::write(path, &servers, &domains).map_err(Error::system("can not write", path))
    }

    /// Switches on what may be the way to the store, and returns it: the VLAN or the device of the settings, or else
    /// every wired link.
    fn switch_on(&mut self, settings: &Settings, deadline: Instant) -> Result<Vec<Link>> {
        let wanted = settings.vlan.as_ref().map(|(device, _)| device);
        let links = wait_for_links(wanted.or(settings.device.as_ref()), deadline)?;
        for link in &links {
            if !link.is_up().map_err(failed)? {
                link.raise().map_err(failed)?;
                self.raised.push(link.clone());
            }
        }
        let (Some((_, number)), Some(device)) = (&settings.vlan, links.first()) else {
            return Ok(links);
        };
        let vlan = device.add_vlan(*number).map_err(failed)?;
        self.vlan = Some(vlan.clone());
        vlan.raise().map_err(failed)?;
        Ok(vec![vlan])
    }

    /// Asks for a lease on every link that has a carrier, as soon as it has one, until one of them has an address of the
    /// kind that is needed. No lease is returned where IPv6 is enough.
    fn ask(
        &mut self,
        links: &[Link],
        need: Need,
        deadline: Instant,
    ) -> Result<Option<(Link, lease::Lease)>> {
        let Some((link, client, leased)) = ask_everywhere(links, need, deadline)? else {
            return Ok(None);
        };
        let lease = leased.lease.clone();
        self.leased = Some((client, leased));
        Ok(Some((link, lease)))
    }
}

fn failed(error: io::Error) -> Error {
    Error::Network(format!("the links can not be set up: {error}"))
}

/// The wired links, or the one that the settings name. A driver may still be at work: what is missing is waited for.
fn wait_for_links(name: Option<&String>, deadline: Instant) -> Result<Vec<Link>> {
    let deadline = deadline.min(Instant::now() + LONGEST_CARRIER);
    loop {
        let mut links = Link::ethernet().map_err(failed)?;
        links.retain(|link| name.is_none_or(|name| link.name() == name));
        if !links.is_empty() {
            return Ok(links);
        }
        if Instant::now() >= deadline {
            return Err(Error::Network(match name {
                Some(name) => format!("there is no wired network card `{name}`"),
                None => "this machine has no wired network card that works".into(),
            }));
        }
        thread::sleep(TICK);
    }
}

/// The first link that has one.
fn wait_for_carrier(links: &[Link], deadline: Instant) -> Result<&Link> {
    let deadline = deadline.min(Instant::now() + LONGEST_CARRIER);
    loop {
        if let Some(link) = links.iter().find(|link| has_carrier(link)) {
            return Ok(link);
        }
        if Instant::now() >= deadline {
            return Err(no_cable());
        }
        thread::sleep(TICK);
    }
}

fn has_carrier(link: &Link) -> bool {
    link.has_carrier().unwrap_or(false)
}

fn no_cable() -> Error {
    Error::Network("no cable is plugged in".into())
}

type Found = Option<(Link, Client, Leased)>;

fn ask_everywhere(links: &[Link], need: Need, deadline: Instant) -> Result<Found> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (sender, answers) = mpsc::channel();
        let mut waiting: Vec<&Link> = links.iter().collect();
        let mut wait = Wait::new(need, deadline);
        let result = loop {
            waiting.retain(|&link| {
                let has_carrier = has_carrier(link);
                if has_carrier && need != Need::V6 {
                    let (sender, stop) = (sender.clone(), &stop);
                    // Whoever waits for the answer may have gone.
                    scope.spawn(move || drop(sender.send(ask_on(link, stop))));
                }
                !has_carrier
            });
            match answers.recv_timeout(TICK) {
                Ok(Ok(Some(found))) => break Ok(Some(found)),
                Ok(Err(error)) => warn!("{error}"),
                Ok(Ok(None)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if let Some(end) = wait.is_over(waiting.len() == links.len()) {
                break end.map(|()| None);
            }
        };
        stop.store(true, Ordering::Relaxed);
        result
    })
}

fn ask_on(link: &Link, stop: &AtomicBool) -> Result<Found> {
    let ask = || {
        let client = Client::new(link)?;
        let leased = client.obtain(&|| stop.load(Ordering::Relaxed))?;
        Ok(leased.map(|leased| (link.clone(), client, leased)))
    };
    ask().map_err(|error: io::Error| Error::Network(format!("DHCP on {}: {error}", link.name())))
}

/// When to stop waiting for a DHCP server.
struct Wait {
    need: Need,
    deadline: Instant,
    carrier: Instant,
    since_v6: Option<Instant>,
}

impl Wait {
    fn new(need: Need, deadline: Instant) -> Self {
        Self {
            need,
            deadline,
            carrier: deadline.min(Instant::now() + LONGEST_CARRIER),
            since_v6: None,
        }
    }

    /// Nothing while there is hope; then whether there is a network by IPv6.
    fn is_over(&mut self, no_carrier: bool) -> Option<Result<()>> {
        let now = Instant::now();
        if self.need != Need::V4 && has_global_address(&read("/proc/net/if_inet6")) {
            let since = *self.since_v6.get_or_insert(now);
            if self.need == Need::V6 || now >= since + PATIENCE {
                return Some(Ok(()));
            }
        }
        if no_carrier && now >= self.carrier {
            return Some(Err(no_cable()));
        }
        let who = match self.need {
            Need::Any => "no DHCP server and no IPv6 router",
            Need::V4 => "no DHCP server",
            Need::V6 => "no IPv6 router",
        };
        let late = || Err(Error::Network(format!("{who} answered in time")));
        (now >= self.deadline).then(late)
    }
}

/// The name servers that routers have announced, each once.
fn announced(announcements: Option<&Announcements>) -> Vec<String> {
    let mut servers = Vec::new();
    for announced in announcements.map_or_else(Vec::new, Announcements::take) {
        let server = match announced.server {
            std::net::IpAddr::V6(server) if is_link_local(server) => {
                format!("{server}%{}", announced.link)
            }
            server => server.to_string(),
        };
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(path)).unwrap_or_default()
}

/// Whether a link other than the loopback has a route or a global address.
fn is_up() -> bool {
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

/// Reads `/proc/net/if_inet6`: address, index, prefix length, scope (00: global), flags, name. An address that is still
/// tentative (flag 40), or that another machine has (flag 08), is of no use.
fn has_global_address(table: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        matches!(fields[..], [_, _, _, "00", flags, name] if name != "lo"
            && u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 0x48 == 0))
    })
}

#[cfg(test)]
mod tests;
