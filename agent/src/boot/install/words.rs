//! The kernel command line of an installed disk.

use crate::command_line::{line, words};

/// Words that belong to the start over the network, with their values.
const OF_THE_NETWORK: [&str; 7] = ["BOOT_IMAGE", "BOOTIF", "boot", "initrd", "ro", "root", "rw"];

/// That for the root file system of this UUID. What is kept of the running kernel's: all that is neither for reclone, whose words become the
/// configuration, nor for the start over the network.
pub fn of_the_disk(root: &str, command_line: &str) -> String {
    let mut words = words(command_line);
    words.retain(|word| {
        let key = word.split('=').next().unwrap_or_default();
        let own = key.strip_prefix("rd.").unwrap_or(key);
        let is_own = own == "reclone" || own.starts_with("reclone.");
        !key.is_empty() && !is_own && !OF_THE_NETWORK.contains(&key)
    });
    words.splice(..0, [format!("root=UUID={root}"), "ro".into()]);
    line(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_started_with_the_words_that_are_for_every_boot() {
        let line = "BOOT_IMAGE=vmlinuz initrd=initrd console=ttyS0 root=PARTLABEL=x rw ip=dhcp \
            reclone.install=/dev/sda reclone.store=http://m reclone=on rd.reclone.key=K \"a=b c\" quiet\n";
        assert_eq!(
            of_the_disk("U", line),
            "root=UUID=U ro console=ttyS0 ip=dhcp \"a=b c\" quiet"
        );
        assert_eq!(of_the_disk("U", ""), "root=UUID=U ro");
    }
}
