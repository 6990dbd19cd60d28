//! What a link needs to take part in an IPv4 network, whoever said so: a DHCP server or the kernel command line.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use crate::sys::net::Link;

/// An address and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The link's address.
    pub address: Ipv4Addr,
    /// Bits of the network that it is in.
    pub prefix: u8,
    /// Ways to other networks.
    pub routes: Vec<Route>,
    /// Name servers, the best first.
    pub name_servers: Vec<IpAddr>,
    /// Where names without dots are looked for.
    pub domains: Vec<String>,
}

/// The way to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network.
    pub to: Ipv4Addr,
    /// Its bits.
    pub prefix: u8,
    /// The router; none where the network is on the link itself.
    pub via: Option<Ipv4Addr>,
}

impl Route {
    /// The way to everywhere else.
    pub fn default_via(router: Ipv4Addr) -> Self {
        Self {
            to: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            via: Some(router),
        }
    }
}

impl Lease {
    /// Puts address and routes on the link. A router outside the link's network, as some providers have it, is reached on
    /// the link all the same.
    pub fn apply(&self, link: &Link) -> io::Result<()> {
        link.set_address(self.address, self.prefix)?;
        for route in &self.routes {
            if let Some(router) = route.via.filter(|router| !self.is_on_link(*router)) {
                link.add_route(router, 32, None)?;
            }
            link.add_route(route.to, route.prefix, route.via)?;
        }
        Ok(())
    }

    fn is_on_link(&self, address: Ipv4Addr) -> bool {
        let differing = self.address.to_bits() ^ address.to_bits();
        differing
            .checked_shr(u32::from(32 - self.prefix.min(32)))
            .unwrap_or(0)
            == 0
    }
}

/// The bits of a network mask; none where it has gaps.
pub fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let ones = mask.to_bits().leading_ones();
    let is_whole = mask.to_bits().count_ones() == ones;
    u8::try_from(ones).ok().filter(|_| is_whole)
}

/// Whether a name may stand in `/etc/resolv.conf`: it comes from the network, and white space would begin another word.
pub fn is_domain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=253).contains(&name.len()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_its_ones_in_front() {
        let cases = [
            ([255, 255, 255, 0], Some(24)),
            ([255, 255, 255, 255], Some(32)),
            ([0, 0, 0, 0], Some(0)),
            ([255, 0, 255, 0], None),
        ];
        for (mask, prefix) in cases {
            assert_eq!(prefix_of(mask.into()), prefix, "{mask:?}");
        }
    }

    #[test]
    fn a_router_is_on_the_link_or_not() {
        let lease = |prefix| Lease {
            address: [192, 0, 2, 5].into(),
            prefix,
            routes: Vec::new(),
            name_servers: Vec::new(),
            domains: Vec::new(),
        };
        let router = [192, 0, 2, 1].into();
        let cases = [(0, true), (24, true), (29, true), (30, false), (32, false)];
        for (prefix, expected) in cases {
            assert_eq!(lease(prefix).is_on_link(router), expected, "/{prefix}");
        }
    }

    #[test]
    fn a_domain_is_one_word() {
        assert!(is_domain("lab.example"));
        for name in ["", "a b", "a\nnameserver 192.0.2.66", &"a".repeat(254)] {
            assert!(!is_domain(name), "{name:?}");
        }
    }
}
