//! Ethernet links by ioctl: which there are, up, down, carrier. Their addresses are in [`ipv4`], links within links in
//! [`vlan`], what routers say of name servers in [`announced`]. No wireless: such a link can not come up without a key.

pub mod announced;
mod ipv4;
mod vlan;

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// The interface of ethtool(8), Linux `include/uapi/linux/ethtool.h`: `struct ethtool_value` and the question for a carrier.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GLINK: u32 = 0x0a;

#[repr(C)]
struct LinkState {
    command: u32,
    data: u32,
}

/// One network link of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    name: String,
}

impl Link {
    /// Every wired Ethernet link, in the kernel's order.
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

    /// Whether it is switched on and something answers at the other end of the cable, as the driver says. The kernel's own
    /// flag comes a moment later, and says yes for as long after a link was switched on.
    pub fn has_carrier(&self) -> io::Result<bool> {
        let mut answer = LinkState {
            command: ETHTOOL_GLINK,
            data: 0,
        };
        let mut request = self.request();
        request.ifr_ifru.ifru_data = (&raw mut answer).cast();
        match ioctl(SIOCETHTOOL, &mut request) {
            Ok(()) => Ok(answer.data != 0),
            // A driver that can not tell.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let both = libc::IFF_UP | libc::IFF_RUNNING;
                Ok(self.flags()? & both == both)
            }
            Err(error) => Err(error),
        }
    }

    /// Switches the link on. The carrier comes later.
    pub fn raise(&self) -> io::Result<()> {
        self.set_flags(self.flags()? | libc::IFF_UP)
    }

    /// Takes every IPv4 address from the link and switches it off; its IPv6 addresses and its routes go with that.
    pub fn lower(&self) -> io::Result<()> {
        self.remove_addresses()?;
        self.set_flags(self.flags()? & !libc::IFF_UP)
    }

    /// Its Ethernet address.
    pub fn hardware_address(&self) -> io::Result<[u8; 6]> {
        let address = self.hardware()?;
        let mut bytes = [0; 6];
        for (to, from) in bytes.iter_mut().zip(address.sa_data) {
            *to = from.cast_unsigned();
        }
        Ok(bytes)
    }

    fn is_ethernet(&self) -> io::Result<bool> {
        Ok(self.hardware()?.sa_family == libc::ARPHRD_ETHER)
    }

    fn hardware(&self) -> io::Result<libc::sockaddr> {
        let mut request = self.request();
        ioctl(libc::SIOCGIFHWADDR, &mut request)?;
        // SAFETY: the kernel filled in the hardware address, whose family is the kind of the link.
        Ok(unsafe { request.ifr_ifru.ifru_hwaddr })
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
        copy_name(&self.name, &mut request.ifr_name);
        request
    }
}

/// The kernel's names have at most 15 bytes, so that a zero byte stays behind them.
fn copy_name(name: &str, field: &mut [libc::c_char]) {
    let room = field.len() - 1;
    for (to, from) in field[..room].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
}

/// Makes one of the calls of netdevice(7), all of which read or write the `T` that they are for.
fn ioctl<T>(command: libc::Ioctl, request: &mut T) -> io::Result<()> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: the call takes no pointers.
    let socket = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was opened just now and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: each command of this module comes with the structure that it reads and writes; that, and what it points to,
    // lives until the call returns.
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
mod tests;
