//! Links within links: VLANs (IEEE 802.1Q). Interface: Linux `include/uapi/linux/if_vlan.h`.

use std::io;

use super::{Link, copy_name, ioctl};

const SIOCSIFVLAN: libc::Ioctl = 0x8983;
const ADD_VLAN_CMD: i32 = 0;
const DEL_VLAN_CMD: i32 = 1;
const SET_VLAN_NAME_TYPE_CMD: i32 = 6;
/// Names of the form `eth0.5`.
const NAME_TYPE_RAW_PLUS_VID_NO_PAD: i32 = 3;

/// `struct vlan_ioctl_args`.
#[repr(C)]
struct VlanRequest {
    command: i32,
    device: [libc::c_char; 24],
    /// A union: the VLAN's number, or how names are made.
    argument: i32,
    name: [libc::c_char; 20],
    quality: i16,
}

const _: () = assert!(size_of::<VlanRequest>() == 56);

impl VlanRequest {
    fn new(command: i32, device: &str, argument: i32) -> Self {
        let mut request = Self {
            command,
            device: [0; 24],
            argument,
            name: [0; 20],
            quality: 0,
        };
        copy_name(device, &mut request.device);
        request
    }

    fn make(mut self) -> io::Result<()> {
        ioctl(SIOCSIFVLAN, &mut self)
    }
}

impl Link {
    /// Makes the VLAN `number` on this link; its name is `<link>.<number>`. The kernel loads its module for it.
    pub fn add_vlan(&self, number: u16) -> io::Result<Link> {
        VlanRequest::new(SET_VLAN_NAME_TYPE_CMD, "", NAME_TYPE_RAW_PLUS_VID_NO_PAD).make()?;
        VlanRequest::new(ADD_VLAN_CMD, &self.name, i32::from(number)).make()?;
        Ok(Link {
            name: format!("{}.{number}", self.name),
        })
    }

    /// Takes this VLAN away again.
    pub fn remove_vlan(&self) -> io::Result<()> {
        VlanRequest::new(DEL_VLAN_CMD, &self.name, 0).make()
    }
}
