//! What the hook of initramfs-tools takes along, and what it says.

use std::fs;
use std::path::Path;

use crate::machine::{Generator, Machine};
use crate::programs::succeed;
use crate::{CONF, MARK};

const FUNCTIONS: &str =
    "copy_exec() { :; }\nmanual_add_modules() { :; }\nauto_add_modules() { :; }\n";
const HOOK: &str = "usr/share/initramfs-tools/hooks/reclone";

/// What the hook says where images are made with this mask.
fn said(machine: &Machine, mask: &str) -> String {
    let run = format!("umask {mask}; DESTDIR=/tmp/image sh /{HOOK}");
    succeed(&mut machine.command(&["/bin/sh", "-ec", &run])).1
}

#[test]
fn a_token_that_others_can_read_is_told() {
    let machine = Machine::new(Generator::Tools);
    machine.write("usr/share/initramfs-tools/hook-functions", FUNCTIONS);
    let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../initramfs-tools-hook/hooks/reclone");
    fs::copy(hook, machine.path(HOOK)).unwrap();
    assert_eq!(said(&machine, "0022"), "");
    machine.write(CONF, &format!("{MARK}\nstore = https://x\n"));
    assert_eq!(said(&machine, "0022"), "");
    let text = "store = https://x\ntoken-file = /etc/reclone/token\n";
    machine.write(CONF, text);
    machine.write("etc/reclone/token", "secret");
    let warning = "W: reclone: others can read the token in the initramfs: put UMASK=0077 into /etc/initramfs-tools/initramfs.conf\n";
    assert_eq!(said(&machine, "0022"), warning);
    assert_eq!(said(&machine, "0077"), "");
    assert_eq!(machine.read(&format!("tmp/image/{CONF}")).unwrap(), text);
}
