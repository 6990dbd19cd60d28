//! The socket of `reclone-model serve`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, listen as take, socket_with, sockopt,
};

/// How many connections may wait to be taken, as the standard library has it.
const WAITING: i32 = 128;

/// Listens at `address`. `[::]` is every address of this machine, those of IPv4, too, whatever the system's default for that is;
/// where the kernel has no IPv6, it is those of IPv4 alone.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match address {
        SocketAddr::V6(all) if all.ip().is_unspecified() => or_ipv4(both(all), all.port()),
        _ => TcpListener::bind(address),
    }
}

fn both(address: SocketAddrV6) -> rustix::io::Result<OwnedFd> {
    let kind = SocketType::STREAM;
    let socket = socket_with(AddressFamily::INET6, kind, SocketFlags::CLOEXEC, None)?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    take(&socket, WAITING)?;
    Ok(socket)
}

/// A kernel that was started with `ipv6.disable=1` does not know the family of the address.
fn or_ipv4(socket: rustix::io::Result<OwnedFd>, port: u16) -> io::Result<TcpListener> {
    match socket {
        Err(Errno::AFNOSUPPORT) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
        socket => Ok(socket?.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn all_addresses_are_those_of_both_families() {
        let no_ipv6 = || or_ipv4(Err(Errno::AFNOSUPPORT), 0);
        for listener in [listen("[::]:0".parse().unwrap()), no_ipv6()] {
            let port = listener.as_ref().unwrap().local_addr().unwrap().port();
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
        let in_use = or_ipv4(Err(Errno::ADDRINUSE), 0).unwrap_err();
        assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
    }
}
