//! The network that the agent used is the booted system's afterwards, whoever manages it there.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use qemu_tests::facts::Facts;
use qemu_tests::image::{Tree, run};
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::site::{Site, store_word};

/// A manager of networks: what has to be done to the model so that it is the one, and how it says that it is done.
struct Manager {
    name: &'static str,
    enable: &'static str,
    wait: &'static str,
}

const MANAGERS: [Manager; 3] = [
    Manager {
        name: "NetworkManager",
        enable: "systemctl enable NetworkManager",
        wait: "nm-online --quiet --timeout 100; nmcli --terse --fields DEVICE,STATE device | grep eth0",
    },
    Manager {
        name: "systemd-networkd",
        enable: "systemctl disable NetworkManager; systemctl enable systemd-networkd; \
            printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=yes\\n' >/etc/systemd/network/eth0.network",
        wait: "/usr/lib/systemd/systemd-networkd-wait-online --timeout=100; networkctl --no-legend list eth0 | tr -s ' '",
    },
    Manager {
        name: "ifupdown",
        enable: "systemctl disable systemd-networkd; rm /etc/systemd/network/eth0.network; \
            printf 'auto lo eth0\\niface lo inet loopback\\niface eth0 inet dhcp\\n' >/etc/network/interfaces",
        wait: "systemctl is-active networking; ifquery --state eth0",
    },
];

fn chroot(tree: &Tree, script: &str) {
    let mut chroot = Command::new("chroot");
    run(chroot.arg(tree.root()).args(["sh", "-ec", script])).unwrap();
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn every_manager_of_networks_comes_up_after_the_agent() {
    if !Machine::available() {
        return;
    }
    let site = Site::prepare(System::DEFAULT, "handover", &["network-manager"], |tree| {
        tree.write("etc/network/interfaces", "")
    });
    let site = site.unwrap();
    let server = site.serve(&site.store()).unwrap();
    site.copy("plain.img", "clone.img").unwrap();
    for (generation, manager) in (1..).zip(&MANAGERS) {
        chroot(&site.model, manager.enable);
        assert_eq!(site.publish().unwrap(), generation);
        let words = format!("{} net.ifnames=0", store_word(server.url()));
        let mut machine = site.machine("clone.img").words(&words).start().unwrap();
        machine.log_in().unwrap();
        let answer = machine.report(manager.wait).unwrap();
        println!("{}: {answer}", manager.name);
        let facts = Facts::of(&mut machine).unwrap();
        println!("{facts}");
        facts.assert_runs(generation);
        assert!(
            facts.get("links").contains("10.0.2.15/24"),
            "{}: {facts}",
            manager.name
        );
        facts.power_off(machine, &site.path("clone.img")).unwrap();
    }
}
