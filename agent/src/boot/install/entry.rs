//! The entry of the boot loader on an installed disk: what is started, and with which words.

use crate::config::words;

/// Words that belong to the start over the network, with their values.
const OF_THE_NETWORK: [&str; 7] = ["BOOT_IMAGE", "BOOTIF", "boot", "initrd", "ro", "root", "rw"];

/// What to start.
pub struct Entry {
    /// The kernel's release.
    pub release: String,
    /// The UUID of the root file system.
    pub root: String,
    /// The other words of the kernel command line.
    pub words: String,
}

impl Entry {
    /// What is kept of the command line of the running kernel: all that is neither for reclone, whose words become the configuration, nor for the network's start.
    pub fn new(release: &str, root: &str, command_line: &str) -> Self {
        let mut kept = Vec::new();
        for word in words(command_line) {
            let key = word.split('=').next().unwrap_or_default();
            let own = key.strip_prefix("rd.").unwrap_or(key);
            let is_own = own == "reclone" || own.starts_with("reclone.");
            if is_own || OF_THE_NETWORK.contains(&key) {
                continue;
            }
            kept.push(match word.contains(char::is_whitespace) {
                true => format!("\"{word}\""),
                false => word,
            });
        }
        Self {
            release: release.to_owned(),
            root: root.to_owned(),
            words: kept.join(" "),
        }
    }

    fn options(&self) -> String {
        format!("root=UUID={} ro {}", self.root, self.words)
            .trim_end()
            .to_owned()
    }

    /// For GRUB: its whole configuration, with a place for more entries.
    pub fn grub(&self) -> String {
        let (release, root, options) = (&self.release, &self.root, self.options());
        // What GRUB itself would take for its own is for the kernel.
        let options = options.replace('$', "\\$").replace(';', "\\;");
        format!(
            "set timeout=2\n\
             search --no-floppy --fs-uuid --set=root {root}\n\
             menuentry 'Linux {release}, by reclone' {{\n\
             \tlinux /boot/vmlinuz-{release} {options}\n\
             \tinitrd /boot/initrd.img-{release}\n\
             }}\n\
             if [ -f ${{config_directory}}/custom.cfg ]; then source ${{config_directory}}/custom.cfg; fi\n"
        )
    }

    /// For systemd-boot, with the files on its own partition.
    pub fn loader(&self) -> String {
        let (release, options) = (&self.release, self.options());
        format!(
            "title Linux {release}, by reclone\nversion {release}\nlinux /vmlinuz-{release}\ninitrd /initrd.img-{release}\noptions {options}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_words_that_are_for_every_boot() {
        let line = "BOOT_IMAGE=vmlinuz initrd=initrd console=ttyS0 root=PARTLABEL=x rw ip=dhcp \
            reclone.install=/dev/sda reclone.store=http://m reclone=on rd.reclone.key=K \"a=b c\" quiet\n";
        let entry = Entry::new("6.12", "U", line);
        assert_eq!(entry.words, "console=ttyS0 ip=dhcp \"a=b c\" quiet");
        let grub = entry.grub();
        let kernel =
            "\n\tlinux /boot/vmlinuz-6.12 root=UUID=U ro console=ttyS0 ip=dhcp \"a=b c\" quiet\n";
        assert!(grub.contains(kernel), "{grub}");
        assert!(
            grub.contains("\nsearch --no-floppy --fs-uuid --set=root U\n"),
            "{grub}"
        );
        assert!(grub.ends_with("/custom.cfg; fi\n"), "{grub}");
        let loader = entry.loader();
        assert!(
            loader.ends_with("\noptions root=UUID=U ro console=ttyS0 ip=dhcp \"a=b c\" quiet\n"),
            "{loader}"
        );
        assert_eq!(Entry::new("6", "U", "").options(), "root=UUID=U ro");
    }
}
