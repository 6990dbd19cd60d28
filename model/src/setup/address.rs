//! Under which address clones will most likely reach this machine.

use std::net::{IpAddr, UdpSocket};

/// Addresses that nobody has (RFC 5737, RFC 3849): the way to them is the way out.
const OUTSIDE: [(&str, &str); 2] = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];

/// The address that this machine has on its way out, as it stands in a URL; its name where there is no way out. Nothing is sent.
/// A name comes second, for not every network knows it.
pub fn own(host: &str) -> String {
    let found = OUTSIDE.into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    });
    match found {
        Some(address @ IpAddr::V6(_)) => format!("[{address}]"),
        Some(address) => address.to_string(),
        None => host.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn the_own_address_is_one_of_this_machine_or_its_name() {
        let own = own("model");
        if own != "model" {
            let address: SocketAddr = format!("{own}:0").parse().unwrap();
            // Only an address of this machine can be bound.
            UdpSocket::bind(address).unwrap();
        }
    }
}
