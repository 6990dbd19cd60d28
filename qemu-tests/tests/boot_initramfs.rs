//! What the hook put into the initramfs, seen from the shell in there: programs, modules, the network helper.
#![allow(clippy::unwrap_used)]

use qemu_tests::console::Answer;
use qemu_tests::image::{Tree, is_clean, project};
use qemu_tests::machine::{Boot, Machine};

/// Raises every link and waits for a carrier, as the agent does.
const RAISE: &str = "for d in /sys/class/net/*; do n=${d##*/}; [ $n = lo ] || ip link set $n up; done; \
    i=0; while [ $i -lt 50 ] && ! grep -qx up /sys/class/net/*/operstate; do i=$((i+1)); sleep 0.1; done; echo waited $i";
const LOWER: &str = "for d in /sys/class/net/*; do n=${d##*/}; [ $n = lo ] || { ip addr flush dev $n; \
    ip link set $n down; }; done";

/// Runs the command, shows it, and wants exit code 0.
fn ask(machine: &mut Machine, command: &str) -> Answer {
    let answer = machine.console.ask(command).unwrap();
    println!("## {command}\n{}", answer.text);
    assert_eq!(answer.code, 0, "{command}");
    answer
}

#[test]
fn the_initramfs_holds_what_the_agent_needs_and_reaches_the_network() {
    if !Machine::available() {
        return;
    }
    let folder = project().join("target/qemu/initramfs");
    let tree = Tree::create("trixie", &folder.join("tree")).unwrap();
    let agent = project().join("target/x86_64-unknown-linux-gnu/release/reclone");
    tree.install_agent(&agent, "").unwrap();
    let disk = folder.join("disk.img");
    tree.to_disk(&disk, 1500).unwrap();
    let boot = Boot {
        kernel: &tree.boot_file("vmlinuz-").unwrap(),
        initrd: &tree.boot_file("initrd.img-").unwrap(),
        disk: &disk,
        words: "reclone=off break=mount",
        show: false,
        shell: true,
    };
    for raised in [false, true] {
        let mut machine = Machine::start(&boot).unwrap();
        machine.console.expect("(initramfs)").unwrap();
        ask(
            &mut machine,
            "ls /etc/reclone/reclone.conf /usr/sbin/reclone /usr/sbin/e2fsck /usr/sbin/fsck.ext4",
        );
        ask(&mut machine, "cat /scripts/local-bottom/ORDER");
        ask(&mut machine, "modprobe -a overlay erofs loop virtio_net");
        if raised {
            ask(&mut machine, RAISE);
        }
        ask(
            &mut machine,
            "cut -d' ' -f1 /proc/uptime; /scripts/reclone-network; cut -d' ' -f1 /proc/uptime",
        );
        let found = ask(&mut machine, "cat /run/net-*.conf");
        assert!(found.text.contains("IPV4DNS0='10.0.2.3'"), "{}", found.text);
        ask(&mut machine, "cat /etc/resolv.conf");
        ask(&mut machine, LOWER);
        let addresses = ask(&mut machine, "ip addr");
        assert!(!addresses.text.contains("10.0.2.15"));
        if raised {
            machine.console.send("exit").unwrap();
            machine.log_in().unwrap();
            let failed = ask(
                &mut machine,
                "systemctl --failed --no-legend --plain --no-pager",
            );
            assert_eq!(failed.text, "");
            machine.power_off().unwrap();
            assert!(is_clean(&disk).unwrap());
        }
    }
}
