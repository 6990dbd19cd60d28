//! A DHCPv4 client (RFC 2131) that wants one lease for the minutes of a boot: it is not renewed, and given back at the
//! end, so that a room of clones that boot does not use up the addresses that the booted systems will ask for.
//!
//! The link has no address yet, so answers are asked for by broadcast, which an ordinary UDP socket receives.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};

use crate::network::lease::{Lease, Route, is_domain, prefix_of};
use crate::sys::net::Link;
use crate::sys::random;

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// How long the first question waits for its answer; each further one waits twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// How often an offer is asked for before another server may answer.
const REQUESTS: usize = 4;
/// How long a caller that wants to stop may have to wait.
const TICK: Duration = Duration::from_millis(50);
/// What is asked for. A server may send more, and less.
const ASKED_FOR: [OptionCode; 5] = [
    OptionCode::SubnetMask,
    OptionCode::ClasslessStaticRoute,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::DomainName,
];

/// A request of zeros and no options, on Ethernet. The crate's own new message asks the kernel for a random number and may
/// wait for it.
const EMPTY: [u8; 240] = {
    let mut bytes = [0; 240];
    (bytes[0], bytes[1], bytes[2]) = (1, 1, 6);
    let cookie = [99, 130, 83, 99];
    let mut at = 0;
    while at < cookie.len() {
        bytes[236 + at] = cookie[at];
        at += 1;
    }
    bytes
};

/// A client on one link.
pub struct Client {
    socket: UdpSocket,
    hardware: [u8; 6],
    exchange: u32,
    started: Instant,
}

/// A lease and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// The lease.
    pub lease: Lease,
    /// The server's address.
    server: Ipv4Addr,
}

impl Client {
    /// A client on `link`, which must be up.
    pub fn new(link: &Link) -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        setsockopt(&socket, sockopt::BindToDevice, &link.name().into())?;
        setsockopt(&socket, sockopt::Broadcast, &true)?;
        // Another link's client has the port, too.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        bind_to_port(&socket)?;
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(TICK))?;
        Ok(Self {
            socket,
            hardware: link.hardware_address()?,
            exchange: random::number() as u32,
            started: Instant::now(),
        })
    }

    /// Asks until a server has given an address; nothing where `stop` says so before.
    pub fn obtain(&self, stop: &dyn Fn() -> bool) -> io::Result<Option<Leased>> {
        let mut wait = FIRST_WAIT;
        while !stop() {
            self.broadcast(&self.discover())?;
            let Some((offer, server)) = self.answer(MessageType::Offer, wait, stop)? else {
                wait = (wait * 2).min(LONGEST_WAIT);
                continue;
            };
            if let Some(leased) = self.request(offer.yiaddr(), server, stop)? {
                return Ok(Some(leased));
            }
        }
        Ok(None)
    }

    /// Asks for what was offered; nothing where it was refused after all, or nobody answers.
    fn request(
        &self,
        address: Ipv4Addr,
        server: Ipv4Addr,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<Option<Leased>> {
        let mut message = self.message(MessageType::Request);
        let options = message.opts_mut();
        options.insert(DhcpOption::RequestedIpAddress(address));
        options.insert(DhcpOption::ServerIdentifier(server));
        options.insert(DhcpOption::ParameterRequestList(ASKED_FOR.to_vec()));
        for _ in 0..REQUESTS {
            self.broadcast(&message)?;
            match self.answer(MessageType::Ack, FIRST_WAIT * 2, stop)? {
                Some((answer, server)) if answer.opts().has_msg_type(MessageType::Ack) => {
                    return Ok(lease_of(&answer).map(|lease| Leased { lease, server }));
                }
                Some(_) => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }

    /// Gives a lease back. Nobody answers, and a message that is lost costs the server an address until the lease ends.
    pub fn release(&self, leased: &Leased) -> io::Result<()> {
        let mut message = self.message(MessageType::Release);
        message.set_flags(Flags::default());
        message.set_ciaddr(leased.lease.address);
        message
            .opts_mut()
            .insert(DhcpOption::ServerIdentifier(leased.server));
        self.send(&message, leased.server)
    }

    fn discover(&self) -> Message {
        let mut message = self.message(MessageType::Discover);
        message
            .opts_mut()
            .insert(DhcpOption::ParameterRequestList(ASKED_FOR.to_vec()));
        message
    }

    fn message(&self, kind: MessageType) -> Message {
        let mut message =
            Message::decode(&mut Decoder::new(&EMPTY)).expect("an empty request is well-formed");
        message.set_xid(self.exchange);
        message.set_chaddr(&self.hardware);
        message.set_flags(Flags::default().set_broadcast());
        let seconds = self.started.elapsed().as_secs();
        message.set_secs(u16::try_from(seconds).unwrap_or(u16::MAX));
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        message
    }

    fn broadcast(&self, message: &Message) -> io::Result<()> {
        self.send(message, Ipv4Addr::BROADCAST)
    }

    fn send(&self, message: &Message, to: Ipv4Addr) -> io::Result<()> {
        let mut bytes = Vec::new();
        message
            .encode(&mut Encoder::new(&mut bytes))
            .map_err(io::Error::other)?;
        // A relay of the old kind (BOOTP) may drop what is shorter.
        bytes.resize(bytes.len().max(300), 0);
        match self
            .socket
            .send_to(&bytes, SocketAddrV4::new(to, SERVER_PORT))
        {
            // The cable was pulled: to be asked again later.
            Err(error) if error.kind() == ErrorKind::NetworkDown => Ok(()),
            sent => sent.map(drop),
        }
    }

    /// The next answer to this client of this type, or a refusal, with the server that sent it.
    fn answer(
        &self,
        wanted: MessageType,
        wait: Duration,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<Option<(Message, Ipv4Addr)>> {
        let end = Instant::now() + wait;
        let mut buffer = [0; 2048];
        while Instant::now() < end && !stop() {
            let length = match self.socket.recv_from(&mut buffer) {
                Ok((length, _)) => length,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::NetworkDown => continue,
                Err(error) => return Err(error),
            };
            let Some(message) = decode(&buffer[..length]) else {
                continue;
            };
            let kind = message.opts().msg_type();
            if self.is_for_us(&message)
                && (kind == Some(wanted) || kind == Some(MessageType::Nak))
                && let Some(server) = server_of(&message)
            {
                return Ok(Some((message, server)));
            }
        }
        Ok(None)
    }

    fn is_for_us(&self, message: &Message) -> bool {
        message.opcode() == Opcode::BootReply
            && message.xid() == self.exchange
            && message.chaddr().starts_with(&self.hardware)
    }
}

fn bind_to_port(socket: &OwnedFd) -> io::Result<()> {
    Ok(bind(
        socket.as_raw_fd(),
        &SockaddrIn::new(0, 0, 0, 0, CLIENT_PORT),
    )?)
}

fn server_of(message: &Message) -> Option<Ipv4Addr> {
    match message.opts().get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(server)) => Some(*server),
        _ => None,
    }
}

/// What the acknowledgement in these bytes grants.
pub fn lease_in(bytes: &[u8]) -> Option<Lease> {
    lease_of(&decode(bytes)?)
}

/// Reads a message from the network. Only well-formed options that are of use get to the decoder, for it panics at others
/// of a wrong length, and a panic is a machine that does not boot.
fn decode(bytes: &[u8]) -> Option<Message> {
    let mut kept = bytes.get(..EMPTY.len())?.to_vec();
    let mut rest = &bytes[EMPTY.len()..];
    while let [code, tail @ ..] = rest {
        match *code {
            0 => rest = tail,
            255 => break,
            code => {
                let length = usize::from(*tail.first()?);
                let value = tail.get(1..=length)?;
                if is_useful(code, value) {
                    kept.extend([code, tail[0]]);
                    kept.extend(value);
                }
                rest = &tail[1 + length..];
            }
        }
    }
    kept.push(255);
    Message::decode(&mut Decoder::new(&kept)).ok()
}

/// Whether an option is one that is used, and has the form that its RFC gives it.
fn is_useful(code: u8, value: &[u8]) -> bool {
    match code {
        // Message type.
        53 => value.len() == 1,
        // Mask, server.
        1 | 54 => value.len() == 4,
        // Routers, name servers.
        3 | 6 => !value.is_empty() && value.len().is_multiple_of(4),
        // The domain.
        15 => !value.is_empty() && value.is_ascii(),
        // Classless routes: bits, as many bytes as they need, router.
        121 => {
            let mut rest = value;
            while let [bits @ 0..=32, tail @ ..] = rest {
                let Some(next) = tail.get(usize::from(bits.div_ceil(8)) + 4..) else {
                    return false;
                };
                rest = next;
            }
            !value.is_empty() && rest.is_empty()
        }
        _ => false,
    }
}

/// What an acknowledgement grants; nothing where its address can be no machine's.
fn lease_of(message: &Message) -> Option<Lease> {
    let address = message.yiaddr();
    if address.is_unspecified() || address.is_loopback() || address.octets()[0] >= 224 {
        return None;
    }
    let options = message.opts();
    let prefix = match options.get(OptionCode::SubnetMask) {
        Some(DhcpOption::SubnetMask(mask)) => prefix_of(*mask)?,
        _ => prefix_of_class(address),
    };
    let name_servers = match options.get(OptionCode::DomainNameServer) {
        Some(DhcpOption::DomainNameServer(servers)) => {
            servers.iter().map(|server| IpAddr::V4(*server)).collect()
        }
        _ => Vec::new(),
    };
    Some(Lease {
        address,
        prefix,
        routes: routes(message),
        name_servers,
        domains: domains(message),
    })
}

/// The network that an address was in before masks were.
fn prefix_of_class(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        192.. => 24,
    }
}

/// RFC 3442: where there are classless routes, the option for routers means nothing; the router 0.0.0.0 is none.
fn routes(message: &Message) -> Vec<Route> {
    let options = message.opts();
    if let Some(DhcpOption::ClasslessStaticRoute(routes)) =
        options.get(OptionCode::ClasslessStaticRoute)
    {
        return routes
            .iter()
            .map(|(network, router)| Route {
                to: network.network(),
                prefix: network.prefix_len(),
                via: Some(*router).filter(|router| !router.is_unspecified()),
            })
            .collect();
    }
    match options.get(OptionCode::Router) {
        Some(DhcpOption::Router(routers)) => routers
            .first()
            .map(|router| Route::default_via(*router))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

fn domains(message: &Message) -> Vec<String> {
    match message.opts().get(OptionCode::DomainName) {
        Some(DhcpOption::DomainName(name)) => Some(name.trim_end_matches('\0'))
            .filter(|name| is_domain(name))
            .map(str::to_owned)
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_a_wrong_length_is_left_out() {
        let mut bytes = EMPTY.to_vec();
        bytes.extend([
            2, 1, 9, 121, 2, 33, 1, 1, 3, 255, 255, 255, 54, 4, 1, 2, 3, 4, 255,
        ]);
        let message = decode(&bytes).unwrap();
        assert_eq!(server_of(&message), Some([1, 2, 3, 4].into()));
        assert_eq!(message.opts().len(), 1);
        assert!(decode(&bytes[..bytes.len() - 3]).is_none());
    }

    #[test]
    fn an_empty_request_has_nothing_but_its_kind() {
        let message = Message::decode(&mut Decoder::new(&EMPTY)).unwrap();
        assert_eq!((message.opcode(), message.hlen()), (Opcode::BootRequest, 6));
        assert!(message.opts().is_empty());
    }
}
