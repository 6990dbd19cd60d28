//! A trunk port: a switch that lets one VLAN through (IEEE 802.1Q). Behind it is QEMU's user-mode network, which knows no
//! tags. Frames are datagrams, one each, as QEMU's `-netdev dgram` has them.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;

/// Where the type of an Ethernet frame is, and before it a tag: after both addresses.
const TYPE: usize = 12;
/// The type of a tagged frame.
const TAGGED: [u8; 2] = [0x81, 0x00];
const TAG: usize = 4;
/// Longer than any frame.
const FRAME: usize = 1 << 16;

/// A port of that switch; it ends with the test.
pub struct Trunk {
    machine: [PathBuf; 2],
    outside: [PathBuf; 2],
}

impl Trunk {
    /// Lets the VLAN of this number through. The ends of its wires are files of `folder`.
    pub fn start(vlan: u16, folder: &Path) -> io::Result<Trunk> {
        let ends = |name: &str| ["qemu", "switch"].map(|end| folder.join(format!("{name}.{end}")));
        let trunk = Trunk {
            machine: ends("machine"),
            outside: ends("outside"),
        };
        let machine = UnixDatagram::bind(&trunk.machine[1])?;
        let outside = UnixDatagram::bind(&trunk.outside[1])?;
        let (from, back, to) = (
            machine.try_clone()?,
            outside.try_clone()?,
            trunk.outside[0].clone(),
        );
        thread::spawn(move || forward(&from, &back, &to, |frame| untagged(frame, vlan)));
        let to = trunk.machine[0].clone();
        thread::spawn(move || forward(&outside, &machine, &to, |frame| tagged(frame, vlan)));
        Ok(trunk)
    }

    /// The machine's network, each an option of QEMU's `-netdev`; the machine's own is the last.
    pub fn network(&self) -> [String; 5] {
        let wire = |id: &str, [qemu, switch]: &[PathBuf; 2]| {
            let (local, remote) = (qemu.display(), switch.display());
            format!(
                "dgram,id={id},local.type=unix,local.path={local},remote.type=unix,remote.path={remote}"
            )
        };
        let plug =
            |number: u8, netdev: &str| format!("hubport,id=port{number},hubid=0,netdev={netdev}");
        [
            "user,id=user".to_owned(),
            plug(0, "user"),
            wire("outside", &self.outside),
            plug(1, "outside"),
            wire("n", &self.machine),
        ]
    }
}

fn forward(
    from: &UnixDatagram,
    through: &UnixDatagram,
    to: &Path,
    changed: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let mut frame = vec![0; FRAME];
    while let Ok(length) = from.recv(&mut frame) {
        if let Some(frame) = changed(&frame[..length]) {
            // Before the machine is on and after it is off, frames get lost, as on any wire.
            let _ = through.send_to(&frame, to);
        }
    }
}

fn untagged(frame: &[u8], vlan: u16) -> Option<Vec<u8>> {
    let (addresses, rest) = frame.split_at_checked(TYPE)?;
    let (tag, rest) = rest.split_at_checked(TAG)?;
    // The upper four bits are the priority.
    let number = u16::from_be_bytes([tag[2], tag[3]]) & 0xfff;
    (tag[..2] == TAGGED && number == vlan).then(|| [addresses, rest].concat())
}

fn tagged(frame: &[u8], vlan: u16) -> Option<Vec<u8>> {
    let (addresses, rest) = frame.split_at_checked(TYPE)?;
    Some([addresses, &TAGGED, &vlan.to_be_bytes(), rest].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_vlan_gets_through_and_comes_back_as_it_was() {
        let frame: Vec<u8> = (0..60).collect();
        let through = tagged(&frame, 7).unwrap();
        assert_eq!(through.len(), 64);
        assert_eq!(untagged(&through, 7), Some(frame.clone()));
        assert_eq!(untagged(&through, 8), None);
        assert_eq!(untagged(&frame, 7), None);
    }
}
