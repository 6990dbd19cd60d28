//! IPv4 addresses and routes of a link. IPv6 needs neither: the kernel takes both from the routers' announcements.

use std::io;
use std::net::Ipv4Addr;

use super::{Link, ioctl};

impl Link {
    /// Gives the link this one address, in a network of `prefix` bits.
    pub fn set_address(&self, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut request = self.request();
        request.ifr_ifru.ifru_addr = socket_address(address);
        ioctl(libc::SIOCSIFADDR, &mut request)?;
        let mut request = self.request();
        request.ifr_ifru.ifru_netmask = socket_address(mask(prefix));
        ioctl(libc::SIOCSIFNETMASK, &mut request)
    }

    /// Sends what goes to the network `to`, of `prefix` bits, over this link: to the router `via`, or to its receiver
    /// itself. A route that is there already is fine.
    pub fn add_route(&self, to: Ipv4Addr, prefix: u8, via: Option<Ipv4Addr>) -> io::Result<()> {
        let mut name = [0; libc::IFNAMSIZ];
        super::copy_name(&self.name, &mut name);
        // SAFETY: a route of zeros is a valid one: it holds integers, addresses and one pointer that may be null.
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        route.rt_dst = socket_address(Ipv4Addr::from(to.to_bits() & mask(prefix).to_bits()));
        route.rt_genmask = socket_address(mask(prefix));
        route.rt_flags = libc::RTF_UP;
        if let Some(via) = via {
            route.rt_gateway = socket_address(via);
            route.rt_flags |= libc::RTF_GATEWAY;
        }
        route.rt_dev = name.as_mut_ptr();
        match ioctl(libc::SIOCADDRT, &mut route) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            added => added,
        }
    }

    /// Takes every IPv4 address from the link.
    pub(super) fn remove_addresses(&self) -> io::Result<()> {
        // An address that is set to zero is gone, and the next one takes its place.
        while self.has_address()? {
            let mut request = self.request();
            request.ifr_ifru.ifru_addr = socket_address(Ipv4Addr::UNSPECIFIED);
            ioctl(libc::SIOCSIFADDR, &mut request)?;
        }
        Ok(())
    }

    pub(super) fn has_address(&self) -> io::Result<bool> {
        let mut request = self.request();
        request.ifr_ifru.ifru_addr.sa_family = libc::AF_INET as libc::sa_family_t;
        match ioctl(libc::SIOCGIFADDR, &mut request) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn mask(prefix: u8) -> Ipv4Addr {
    let host = u32::from(prefix.min(32));
    Ipv4Addr::from(!u32::MAX.checked_shr(host).unwrap_or(0))
}

/// `struct sockaddr_in` (ip(7)): family, port 0, then the four bytes of the address.
fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    libc::sockaddr {
        sa_family: libc::AF_INET as libc::sa_family_t,
        sa_data: data,
    }
}
