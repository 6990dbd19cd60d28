//! Disks that this machine can not make, for want of drivers: a machine makes them. It boots the site's plain disk and copies its
//! own system to the disk `target`.

use std::fs::File;
use std::io;

use crate::site::Site;

/// A way to hold a root file system.
pub struct Layout {
    /// Packages that the system needs for it.
    pub packages: &'static [&'static str],
    /// Shell commands that make the file system on `$disk` and mount it at /mnt.
    pub make: &'static str,
    /// Shell commands that undo what the kernel holds after /mnt was unmounted.
    pub close: &'static str,
    /// The tree's /etc/fstab.
    pub fstab: &'static str,
    /// The installed system's /etc/crypttab, if it has one.
    pub crypttab: Option<&'static str>,
    /// What the kernel command line needs to find it.
    pub words: &'static str,
}

/// Makes the disk `target` of the site, of this many MiB, in this layout.
pub fn install(site: &Site, layout: &Layout, target: &str, megabytes: u64) -> io::Result<()> {
    File::create(site.path(target))?.set_len(megabytes << 20)?;
    site.copy("plain.img", "installer.img")?;
    let machine = site.machine("installer.img").words("reclone=off");
    let mut machine = machine.with_disk("target", target).start()?;
    machine.log_in()?;
    let crypttab = layout.crypttab.map_or_else(
        || "true".to_owned(),
        |line| format!("echo \"{}\" >/mnt/etc/crypttab", line.trim_end()),
    );
    let script = format!(
        "set -e; disk=/dev/disk/by-id/virtio-target; {}; cp -ax / /mnt; {crypttab}; umount /mnt; {}; echo installed",
        layout.make, layout.close
    );
    let said = machine.report(&format!("sh -c '{script}'"))?;
    machine.power_off()?;
    match said.ends_with("installed\n") {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "The layout was not made:\n{said}"
        ))),
    }
}
