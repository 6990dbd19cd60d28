//! Ethernet links by ioctl: which there are, up, down, carrier, addresses off. No netlink, no routes, no wireless: what
//! an address is comes from the distribution's own tool ([`crate::network`]).

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// One network link of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    name: String,
}

impl Link {
    /// Every wired Ethernet link, in the kernel's order. A wireless one can not come up without a key and is left alone.
    pub fn ethernet() -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        for name in names()? {
            let link = Link { name };
            let wireless = Path::new("/sys/class/net")
                .join(&link.name)
                .join("phy80211");
            if link.is_ethernet()? && !wireless.exists() {
                links.push(link);
            }
        }
        Ok(links)
    }

    /// The link's name, such as `eth0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is switched on, with or without a cable.
    pub fn is_up(&self) -> io::Result<bool> {
        Ok(self.flags()? & libc::IFF_UP != 0)
    }

    /// Whether it is switched on and something answers at the other end of the cable.
    pub fn has_carrier(&self) -> io::Result<bool> {
        let both = libc::IFF_UP | libc::IFF_RUNNING;
        Ok(self.flags()? & both == both)
    }

    /// Switches the link on. The carrier comes later.
    pub fn raise(&self) -> io::Result<()> {
        self.set_flags(self.flags()? | libc::IFF_UP)
    }

    /// Takes every IPv4 address from the link and switches it off; its IPv6 addresses and its routes go with that.
    pub fn lower(&self) -> io::Result<()> {
        // An address that is set to zero is gone, and the next one takes its place.
        while self.has_address()? {
            let mut request = self.request();
            request.ifr_ifru.ifru_addr.sa_family = libc::AF_INET as libc::sa_family_t;
            ioctl(libc::SIOCSIFADDR, &mut request)?;
        }
        self.set_flags(self.flags()? & !libc::IFF_UP)
    }

    fn is_ethernet(&self) -> io::Result<bool> {
        let mut request = self.request();
        ioctl(libc::SIOCGIFHWADDR, &mut request)?;
        // SAFETY: the kernel filled in the hardware address, whose family is the kind of the link.
        let kind = unsafe { request.ifr_ifru.ifru_hwaddr.sa_family };
        Ok(kind == libc::ARPHRD_ETHER)
    }

    fn has_address(&self) -> io::Result<bool> {
        let mut request = self.request();
        request.ifr_ifru.ifru_addr.sa_family = libc::AF_INET as libc::sa_family_t;
        match ioctl(libc::SIOCGIFADDR, &mut request) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn flags(&self) -> io::Result<c_int> {
        let mut request = self.request();
        ioctl(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel filled in the flags.
        Ok(c_int::from(unsafe { request.ifr_ifru.ifru_flags }))
    }

    fn set_flags(&self, flags: c_int) -> io::Result<()> {
        let mut request = self.request();
        // The kernel knows 16 flags here; as C does, the upper half is cut off.
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        ioctl(libc::SIOCSIFFLAGS, &mut request)
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: a request of zeros is a valid one: it holds integers and byte fields only.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The kernel's names have at most 15 bytes, so that a zero byte stays behind them.
        let room = request.ifr_name.len() - 1;
        for (to, from) in request.ifr_name[..room].iter_mut().zip(self.name.bytes()) {
            *to = from as libc::c_char;
        }
        request
    }
}

fn ioctl(command: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: the call takes no pointers.
    let socket = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was opened just now and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all commands used here read and write one `ifreq`, which lives until the call returns.
    match unsafe { libc::ioctl(socket.as_raw_fd(), command, &raw mut *request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn names() -> io::Result<Vec<String>> {
    // SAFETY: the call takes no arguments; it returns null or an array that ends with an entry of index 0.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut names = Vec::new();
    let mut entry = list;
    // SAFETY: `entry` points into the array, at most at its last entry, which has index 0 and no name; every other entry
    // has a name that ends in a zero byte. The array is freed once and not used afterwards.
    unsafe {
        while (*entry).if_index != 0 {
            names.push(
                CStr::from_ptr((*entry).if_name)
                    .to_string_lossy()
                    .into_owned(),
            );
            entry = entry.add(1);
        }
        libc::if_freenameindex(list);
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_goes_up_and_down_in_a_namespace_of_its_own() {
        // A thread of its own: the new namespace must not reach the other tests.
        let tried = std::thread::spawn(|| {
            if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
                eprintln!("SKIPPED: a network namespace needs root");
                return;
            }
            assert_eq!(Link::ethernet().unwrap(), []);
            let link = Link { name: "lo".into() };
            assert!(!link.is_ethernet().unwrap());
            assert!(!link.is_up().unwrap());
            link.raise().unwrap();
            assert!(link.has_carrier().unwrap());
            assert!(link.has_address().unwrap());
            link.lower().unwrap();
            assert!(!link.is_up().unwrap());
            assert!(!link.has_address().unwrap());
            let gone = Link {
                name: "a-name-that-is-too-long".into(),
            };
            assert_eq!(gone.is_up().unwrap_err().raw_os_error(), Some(libc::ENODEV));
        });
        tried.join().unwrap();
    }
}
