//! What the kernel command line says of the network, in the words of klibc's ipconfig (the kernel's `nfsroot.rst`) and of
//! dracut.cmdline(7): `ip=`, `nameserver=`, `vlan=`. What can not be used is left out and reported. Nothing here reads a file.

use std::net::{IpAddr, Ipv4Addr};

use crate::network::lease::{Lease, Route, prefix_of};

/// Words that ask for a lease or a router's announcement. Which of them it is makes no difference here.
const AUTOMATIC: [&str; 9] = [
    "dhcp",
    "on",
    "any",
    "both",
    "bootp",
    "dhcp6",
    "auto6",
    "either6",
    "single-dhcp",
];

/// How links get their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The one link to use.
    pub device: Option<String>,
    /// An address that is not asked for.
    pub fixed: Option<Lease>,
    /// Name servers, before any others.
    pub name_servers: Vec<IpAddr>,
    /// The link and the number of a VLAN.
    pub vlan: Option<(String, u16)>,
}

impl Settings {
    /// Reads a command line's words; what is wrong with some of them comes second.
    pub fn read(command_line: &str) -> (Self, Vec<String>) {
        let mut settings = Self::default();
        let mut complaints = Vec::new();
        for word in command_line.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            let value = value.trim_matches('"');
            let taken = match key {
                "ip" => settings.read_ip(value),
                "nameserver" => settings.read_name_server(value),
                "vlan" => settings.read_vlan(value),
                _ => continue,
            };
            if let Err(what) = taken {
                complaints.push(format!("kernel command line, `{word}`: {what}"));
            }
        }
        (settings, complaints)
    }

    /// `ip=dhcp`, `ip=DEVICE:dhcp…` or `ip=ADDRESS:SERVER:ROUTER:MASK:HOST:DEVICE:HOW:DNS:DNS`.
    fn read_ip(&mut self, value: &str) -> Result<(), String> {
        let fields: Vec<&str> = value.split(':').collect();
        let field = |number: usize| fields.get(number).copied().unwrap_or_default();
        if value.contains('[') {
            return Err("a fixed IPv6 address can not be set; routers announce them".into());
        }
        if is_automatic(value) {
            return Ok(());
        }
        if is_automatic(field(1)) {
            self.device = Some(field(0).to_owned());
            return Ok(());
        }
        if !field(5).is_empty() {
            self.device = Some(field(5).to_owned());
        }
        for server in [field(7), field(8)] {
            if let Ok(server) = server.parse::<Ipv4Addr>()
                && !server.is_unspecified()
            {
                self.name_servers.push(server.into());
            }
        }
        match field(0) {
            "" | "off" | "none" => Ok(()),
            address => self.read_fixed(address, field(2), field(3)),
        }
    }

    fn read_fixed(&mut self, address: &str, router: &str, mask: &str) -> Result<(), String> {
        let wrong = |text: &str| format!("`{text}` is not an IPv4 address");
        let address: Ipv4Addr = address.parse().map_err(|_| wrong(address))?;
        let routes = match router {
            "" => Vec::new(),
            router => vec![Route::default_via(
                router.parse().map_err(|_| wrong(router))?,
            )],
        };
        self.fixed = Some(Lease {
            address,
            prefix: read_mask(mask).ok_or_else(|| format!("`{mask}` is not a network mask"))?,
            routes,
            name_servers: Vec::new(),
            domains: Vec::new(),
        });
        Ok(())
    }

    fn read_name_server(&mut self, value: &str) -> Result<(), String> {
        let address = value.trim_matches(['[', ']']);
        let server = address
            .parse()
            .map_err(|_| format!("`{address}` is not an IP address"))?;
        self.name_servers.push(server);
        Ok(())
    }

    /// `vlan=NAME:DEVICE`; the number is that at the name's end: `eth0.5`, `vlan5`, `vlan0005`.
    fn read_vlan(&mut self, value: &str) -> Result<(), String> {
        let (name, device) = value
            .split_once(':')
            .ok_or("it is not of the form `vlan=NAME:DEVICE`")?;
        let digits = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let number: u16 = name[digits.len()..]
            .parse()
            .map_err(|_| format!("`{name}` does not end in the number of a VLAN"))?;
        if !(1..=4094).contains(&number) {
            return Err(format!("{number} is not the number of a VLAN"));
        }
        self.vlan = Some((device.to_owned(), number));
        Ok(())
    }
}

fn is_automatic(word: &str) -> bool {
    AUTOMATIC.contains(&word)
}

/// A mask or a number of bits; without either, the mask of the address's class is not guessed but 24 bits are.
fn read_mask(text: &str) -> Option<u8> {
    match text.parse::<u8>() {
        _ if text.is_empty() => Some(24),
        Ok(bits) => Some(bits).filter(|bits| *bits <= 32),
        Err(_) => text.parse().ok().and_then(prefix_of),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fixed(prefix: u8, router: Option<Ipv4Addr>) -> Option<Lease> {
        Some(Lease {
            address: [192, 0, 2, 5].into(),
            prefix,
            routes: router.map(Route::default_via).into_iter().collect(),
            name_servers: Vec::new(),
            domains: Vec::new(),
        })
    }

    #[test]
    fn an_address_is_asked_for_or_fixed() {
        let router = Some([192, 0, 2, 1].into());
        let device = Some("eth0".to_owned());
        let cases = [
            ("quiet ro", None, None),
            ("ip=dhcp", None, None),
            ("ip=eth0:dhcp", device.clone(), None),
            ("ip=:::::eth0:dhcp", device.clone(), None),
            (
                "ip=192.0.2.5::192.0.2.1:255.255.255.240:name:eth0:off",
                device.clone(),
                fixed(28, router),
            ),
            (
                "ip=192.0.2.5::192.0.2.1:25::eth0:none",
                device,
                fixed(25, router),
            ),
            ("ip=192.0.2.5", None, fixed(24, None)),
        ];
        for (line, device, fixed) in cases {
            let expected = Settings {
                device,
                fixed,
                ..Settings::default()
            };
            assert_eq!(Settings::read(line), (expected, Vec::new()), "{line}");
        }
    }

    #[test]
    fn name_servers_come_from_both_words() {
        let line = "ip=192.0.2.5:::::eth0:off:192.0.2.7:0.0.0.0 nameserver=[2001:db8::1]";
        let (settings, complaints) = Settings::read(line);
        assert_eq!(complaints, [""; 0]);
        let expected: [IpAddr; 2] = ["192.0.2.7".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(settings.name_servers, expected);
    }

    #[test]
    fn a_vlan_has_its_number_at_the_end_of_its_name() {
        for (name, number) in [("eth0.5", 5), ("vlan12", 12), ("vlan0007", 7)] {
            let (settings, complaints) = Settings::read(&format!("vlan={name}:eth0"));
            assert_eq!(complaints, [""; 0]);
            assert_eq!(settings.vlan, Some(("eth0".to_owned(), number)));
        }
    }

    #[test]
    fn what_can_not_be_used_is_left_out_and_named() {
        let cases = [
            (
                "ip=[2001:db8::2]::[2001:db8::1]:64::eth0:off",
                "a fixed IPv6 address can not be set; routers announce them",
            ),
            (
                "ip=192.0.2:::::eth0:off",
                "`192.0.2` is not an IPv4 address",
            ),
            ("ip=192.0.2.5::gateway", "`gateway` is not an IPv4 address"),
            (
                "ip=192.0.2.5:::255.0.255.0",
                "`255.0.255.0` is not a network mask",
            ),
            ("nameserver=dns.lab", "`dns.lab` is not an IP address"),
            (
                "vlan=five:eth0",
                "`five` does not end in the number of a VLAN",
            ),
            ("vlan=vlan4095:eth0", "4095 is not the number of a VLAN"),
            ("vlan=eth0.5", "it is not of the form `vlan=NAME:DEVICE`"),
        ];
        for (word, what) in cases {
            let (settings, complaints) = Settings::read(&format!("ro {word} quiet"));
            assert_eq!(settings.fixed, None, "{word}");
            assert_eq!(
                complaints,
                [format!("kernel command line, `{word}`: {what}")]
            );
        }
    }
}
