//! Name servers that IPv6 routers announce. The kernel takes addresses and routes from an announcement and passes the rest
//! on to whoever listens, by netlink (`include/linux/rtnetlink.h`: `RTM_NEWNDUSEROPT`; the option: RFC 8106, 5.1).

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

/// `RTNLGRP_ND_USEROPT` as a bit of a netlink address.
const GROUP: u32 = 1 << (20 - 1);
const RTM_NEWNDUSEROPT: u16 = 68;
/// `struct nlmsghdr`, then `struct nduseroptmsg`.
const HEADERS: usize = 16 + 16;
const RDNSS: u8 = 25;

/// An open ear for announcements. What came before it was opened is lost.
#[derive(Debug)]
pub struct Announcements {
    socket: OwnedFd,
}

/// A name server and, for an address that means something on one link only, the link's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its address.
    pub server: IpAddr,
    /// The number of the link over which it was announced.
    pub link: u32,
}

impl Announcements {
    /// Begins to listen.
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
        Ok(Self { socket })
    }

    /// What was announced since the last call.
    pub fn take(&self) -> Vec<Announced> {
        let mut found = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(0) => return found,
                Ok(length) => found.extend(parse(&buffer[..length])),
                Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(_) => return found,
            }
        }
    }
}

/// The name servers in the messages of one netlink datagram.
pub fn parse(mut bytes: &[u8]) -> Vec<Announced> {
    let mut found = Vec::new();
    while let Some(header) = bytes.get(..HEADERS) {
        let number = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        let length = usize::try_from(number(0)).unwrap_or(usize::MAX);
        let Some(message) = bytes
            .get(..length)
            .filter(|message| message.len() >= HEADERS)
        else {
            break;
        };
        if u16::from_ne_bytes([header[4], header[5]]) == RTM_NEWNDUSEROPT {
            found.extend(servers(&message[HEADERS..], number(20)));
        }
        // Messages begin at multiples of four bytes.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// Reads a recursive DNS server option: type, length in 8 bytes, 2 reserved bytes, lifetime, addresses.
fn servers(option: &[u8], link: u32) -> Vec<Announced> {
    let (Some(&RDNSS), Some(&length)) = (option.first(), option.get(1)) else {
        return Vec::new();
    };
    let option = &option[..option.len().min(usize::from(length) * 8)];
    let lifetime = option.get(4..8).unwrap_or_default();
    if lifetime.iter().all(|byte| *byte == 0) {
        return Vec::new();
    }
    let (addresses, _) = option.get(8..).unwrap_or_default().as_chunks::<16>();
    let server = |bytes: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*bytes));
    addresses
        .iter()
        .map(|bytes| Announced {
            server: server(bytes),
            link,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message as the kernel sends it, with these bytes of an option.
    fn message(option: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADERS + option.len()).unwrap_or_default();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(RTM_NEWNDUSEROPT.to_ne_bytes());
        bytes.resize(16, 0);
        bytes.extend([10, 0, 0, 0]);
        bytes.extend(3u32.to_ne_bytes());
        bytes.resize(HEADERS, 0);
        bytes.extend(option);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn option(lifetime: u8, servers: &[Ipv6Addr]) -> Vec<u8> {
        let units = u8::try_from(1 + 2 * servers.len()).unwrap_or_default();
        let mut bytes = vec![RDNSS, units, 0, 0, 0, 0, 0, lifetime];
        servers
            .iter()
            .for_each(|server| bytes.extend(server.octets()));
        bytes
    }

    #[test]
    fn servers_come_from_every_message_of_a_datagram() {
        let [one, two] = [
            Ipv6Addr::LOCALHOST,
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
        ];
        let bytes = [message(&option(9, &[one])), message(&option(9, &[two]))].concat();
        let found: Vec<_> = parse(&bytes)
            .iter()
            .map(|it| (it.server, it.link))
            .collect();
        assert_eq!(found, [(IpAddr::V6(one), 3), (IpAddr::V6(two), 3)]);
    }

    #[test]
    fn what_ends_too_early_or_has_no_lifetime_names_nothing() {
        let whole = message(&option(9, &[Ipv6Addr::LOCALHOST]));
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), [], "{length} bytes");
        }
        assert_eq!(parse(&message(&option(0, &[Ipv6Addr::LOCALHOST]))), []);
        assert_eq!(parse(&message(&[24, 1, 0, 0, 0, 0, 0, 9])), []);
        let mut endless = whole;
        endless[..4].fill(0);
        assert_eq!(parse(&endless), []);
    }
}
