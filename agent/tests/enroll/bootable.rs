//! What a machine can boot is looked into: whoever has no agent boots the plain system.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::machine::{Generator, Machine};
use crate::programs::{complaint, succeed};
use crate::{IMAGES, site};

const OURS: &str = "### BEGIN reclone: what stands up to END is written by `reclone loader` ###
# reclone-current: 6.13-1234 root=/dev/vda1
### END reclone ###
";

/// What `status --check` says in JSON of every initramfs, and its warnings.
fn checked(machine: &Machine) -> (Value, String) {
    let words = ["/usr/sbin/reclone", "status", "--check", "--json"];
    let (said, log) = succeed(&mut machine.command(&words));
    let status: Value = serde_json::from_str(&said).unwrap();
    (status["initramfs"].clone(), log)
}

/// A machine whose two initramfs have the agent, with a pool.
fn clone(folder: &Path, generator: Generator) -> Machine {
    let (_, server) = site(folder);
    let machine = Machine::new(generator);
    succeed(&mut machine.enroll(&server, &[]));
    fs::create_dir(machine.path("reclone")).unwrap();
    machine
}

#[test]
fn every_initramfs_is_looked_into_by_whatever_lists_it() {
    for generator in [Generator::Tools, Generator::Dracut] {
        let folder = tempfile::tempdir().unwrap();
        let machine = clone(folder.path(), generator);
        let (found, log) = checked(&machine);
        assert_eq!(
            found,
            json!([
                { "path": "/boot/initrd.img-6.1", "reclone": true },
                { "path": "/boot/initrd.img-6.12", "reclone": true },
            ])
        );
        assert!(!log.contains("WARN"), "{log}");
        let (said, _) = succeed(&mut machine.command(&["/usr/sbin/reclone", "status", "--check"]));
        let lines = "initramfs:  /boot/initrd.img-6.1 has reclone\ninitramfs:  /boot/initrd.img-6.12 has reclone\n";
        assert!(said.contains(lines), "{said}");

        let lister = match generator {
            Generator::Tools => "usr/sbin/lsinitramfs",
            Generator::Dracut => "usr/sbin/lsinitrd",
        };
        fs::remove_file(machine.path(lister)).unwrap();
        let (found, log) = checked(&machine);
        assert_eq!(found[0]["reclone"], Value::Null);
        assert!(!log.contains("WARN"), "{log}");
        let (said, _) = succeed(&mut machine.command(&["/usr/sbin/reclone", "status", "--check"]));
        let line = "initramfs:  /boot/initrd.img-6.1 is not checked: this system has neither lsinitramfs nor lsinitrd\n";
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn what_boots_without_the_agent_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let machine = clone(folder.path(), Generator::Tools);
    // Made without it; none at all; and what entries name: one with microcode before it, and one that is not there.
    let tar = |path: &str, content: &str| {
        machine.write(content, "");
        let mut tar = std::process::Command::new("tar");
        let top = machine.path("");
        succeed(
            tar.arg("-cf")
                .arg(machine.path(path))
                .arg("-C")
                .arg(top)
                .arg(content),
        );
    };
    tar(IMAGES[0], "usr/bin/other");
    machine.write("boot/vmlinuz-6.13", "");
    tar("boot/ucode.img", "kernel/x86/microcode");
    let entry =
        "title A\nlinux /vmlinuz-6.12\ninitrd /ucode.img\ninitrd\t/a/initrd\noptions initrd=/no\n";
    machine.write("boot/loader/entries/a.conf", entry);
    machine.write("boot/a/initrd", "");
    fs::copy(machine.path(IMAGES[1]), machine.path("boot/a/initrd")).unwrap();
    machine.write(
        "boot/loader/entries/shell.conf",
        "title Shell\nefi /shell.efi\n",
    );
    machine.write("boot/grub/custom.cfg", OURS);
    let (found, log) = checked(&machine);
    assert_eq!(
        found,
        json!([
            { "path": "/boot/a/initrd", "reclone": true },
            { "path": "/boot/grub/reclone/6.13-1234/initrd.img", "reclone": false },
            { "path": "/boot/initrd.img-6.1", "reclone": false },
            { "path": "/boot/initrd.img-6.12", "reclone": true },
            { "path": "/boot/vmlinuz-6.13", "reclone": false },
        ])
    );
    let warnings: Vec<_> = log.lines().filter(|it| it.contains("WARN")).collect();
    assert_eq!(warnings.len(), 3, "{log}");
    assert!(
        warnings[1].ends_with(
            "/boot/initrd.img-6.1 has no reclone, so it boots the plain system: there, with reclone=off, run \
             `update-initramfs -u -k all` or `dracut --force --regenerate-all`, or `reclone enroll` again"
        ),
        "{log}"
    );
    // A partition that is not there keeps nobody from looking at the others.
    machine.write("etc/fstab", "/dev/no-such /efi vfat umask=0077 0 1\n");
    let (found, _) = checked(&machine);
    assert_eq!(found.as_array().unwrap().len(), 6);
    assert_eq!(found[5], json!({ "path": "/efi", "reclone": null }));
}

#[test]
fn a_firmware_that_tells_nothing_is_said_to() {
    let machine = Machine::new(Generator::Tools);
    let words = ["/usr/sbin/reclone", "loader", "--first"];
    assert_eq!(
        complaint(&mut machine.command(&words), 1),
        "this machine's firmware does not tell what started it: change its boot order in its own setup"
    );
}
