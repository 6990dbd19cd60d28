//! What GRUB reads: the configuration of its own image, and that of a root partition whose label is `root`.

use std::io;
use std::process::Command;

use crate::image::{replace_file, run};
use crate::site::Site;

/// What Debian has GRUB's own image do.
pub const TO_ROOT: &str = "search --no-floppy --label root --set=root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n";
/// As `/etc/grub.d/41_custom` has it, GRUB 2.12.
const CUSTOM: &str = "if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
elif [ -z \"${config_directory}\" -a -f  $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
";

/// Has the site's root partition start this kernel of its own with these words, by an entry with these options that comes behind `head`.
pub fn configure(
    site: &Site,
    head: &str,
    release: &str,
    options: &str,
    words: &str,
) -> io::Result<()> {
    let plain = site.path("plain.img");
    run(Command::new("e2label").arg(&plain).arg("root"))?;
    let make = ["-w", "-R", "mkdir /boot/grub"];
    run(Command::new("debugfs").args(make).arg(&plain))?;
    let own = format!(
        "{head}menuentry 'Debian' {options} {{\n  linux /boot/vmlinuz-{release} {words}\n  initrd /boot/initrd.img-{release}\n}}\n{CUSTOM}"
    );
    replace_file(&plain, "/boot/grub/grub.cfg", &own)
}
