//! The guide's own lines for dnsmasq: machines with nothing but a network card that can start come by them to a login prompt. The network
//! has a DHCP server already, as the guide says.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use qemu_tests::image::{project, run};
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::site::{Site, program};

use super::hosts::{Daemon, Dnsmasq, Host, has};
use super::lab::{PACKAGES, empty_disk, netboot, runs, site};

const ROUTER: &str = "192.0.2.1/24";
const MODEL: &str = "192.0.2.2";
const PORT: u16 = 8080;
/// What QEMU gives the first card.
const DHCP: [&str; 3] = [
    "--port=0",
    "--dhcp-range=192.0.2.100,192.0.2.199,1h",
    "--dhcp-host=52:54:00:12:34:56,kiosk-7",
];
/// What a test needs of the machine that it starts.
const WORDS: &str = "console=ttyS0 oops=panic panic=1 systemd.default_device_timeout_sec=200";
/// In place of programs that have nothing to do here: the packages are there, and no systemd runs.
const NOT_HERE: &str = "apt() { [ \"$*\" = 'install dnsmasq ipxe' ]; }; systemctl() { :; }\n";

/// The commands that the guide has for the model.
fn lines_of_the_guide() -> String {
    let guide = fs::read_to_string(project().join("docs/guide.md")).unwrap();
    let (_, section) = guide
        .split_once("\n## Bare machines by network boot\n")
        .unwrap();
    let (_, block) = section.split_once("with dnsmasq and iPXE:\n\n").unwrap();
    let lines: Vec<&str> = block
        .lines()
        .map_while(|line| line.strip_prefix("    "))
        .collect();
    assert!(lines.len() > 10, "{lines:?}");
    lines.join("\n")
}

/// The model's part of a network in which the machine's card is plugged.
struct Lan {
    router: Host,
    _daemons: (Dnsmasq, Daemon, Daemon),
}

impl Lan {
    fn new(site: &Site) -> Lan {
        let (router, model) = (Host::new(), Host::new());
        router.connect("cable", &model, "lan");
        router.ip(&["link", "add", "switch", "type", "bridge"]);
        router.ip(&["tuntap", "add", "machine", "mode", "tap"]);
        for port in ["cable", "machine"] {
            router.ip(&["link", "set", port, "master", "switch"]);
            router.ip(&["link", "set", port, "up"]);
        }
        router.ip(&["addr", "add", ROUTER, "dev", "switch"]);
        router.ip(&["link", "set", "switch", "up"]);
        model.ip(&["addr", "add", &format!("{MODEL}/24"), "dev", "lan"]);
        model.ip(&["link", "set", "lan", "up"]);
        let folder = site.path("logs");
        fs::create_dir_all(&folder).unwrap();
        let of_router = Dnsmasq::start(&router, "switch", &DHCP, &folder);
        // As Debian's unit starts it.
        let mut dnsmasq = model.command("chroot");
        dnsmasq.arg(site.model.root()).args([
            "dnsmasq",
            "--keep-in-foreground",
            "--log-facility=-",
            "--pid-file=",
        ]);
        dnsmasq.args(["--user=dnsmasq", "--local-service"]);
        dnsmasq.arg("--conf-dir=/etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new");
        let log = folder.join("dnsmasq-of-the-guide.log");
        let of_guide = Daemon::start(&mut dnsmasq, &log);
        wait_for(&log, "started, version");
        let address = format!("{MODEL}:{PORT}");
        let mut serve = model.command(program("reclone-model"));
        serve.arg("serve").arg(site.store());
        serve.args(["--listen", &address]);
        let server = Daemon::start(&mut serve, &folder.join("serve.log"));
        model.wait_for_server(&address);
        Lan {
            router,
            _daemons: (of_router, of_guide, server),
        }
    }

    fn start(&self, site: &Site, by_firmware: bool) -> Machine {
        let tap = "tap,id=n,ifname=machine,script=no,downscript=no";
        let machine = site.machine("clone.img").by_card(by_firmware);
        let machine = machine.with_network(&[tap.to_owned()]);
        machine.on_host(self.router.name()).start().unwrap()
    }
}

fn wait_for(log: &Path, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let said = fs::read_to_string(log).unwrap();
        if said.contains(text) {
            return;
        }
        assert!(Instant::now() < deadline, "{said}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn the_guides_lines_for_dnsmasq_bring_a_network_card_to_a_login_prompt() {
    if !Machine::available() || !has("dnsmasq") {
        return;
    }
    let packages = [&PACKAGES[..], &["dnsmasq", "ipxe"]].concat();
    let site = site(System::DEFAULT, "netboot", &packages);
    let script = netboot(&site, &format!("http://{MODEL}:{PORT}"));
    let script = script.replace("initrd=initrd ", &format!("initrd=initrd {WORDS} "));
    site.model
        .write("srv/netboot/reclone.ipxe", &script)
        .unwrap();
    let lines = lines_of_the_guide();
    run(Command::new("chroot").arg(site.model.root()).args([
        "sh",
        "-ec",
        &format!("{NOT_HERE}{lines}"),
    ]))
    .unwrap();
    site.model
        .write("etc/reclone/policy", "exclude /srv/netboot\n")
        .unwrap();
    assert_eq!(site.publish().unwrap(), 1);
    let lan = Lan::new(&site);
    for by_firmware in [true, false] {
        empty_disk(&site, 3000);
        let (facts, _) = runs(&site, lan.start(&site, by_firmware), 1);
        assert_eq!(facts.get("hostname"), "kiosk-7", "the DHCP server's name");
        let log = facts.log();
        assert!(log.contains("starts by itself from now on"), "{log}");
        let said = fs::read_to_string(site.path("logs/dnsmasq-of-the-guide.log")).unwrap();
        for name in ["reclone.ipxe", "vmlinuz", "initrd"] {
            assert!(
                said.contains(&format!("sent /srv/netboot/{name} to ")),
                "{said}"
            );
        }
        // UEFI has no iPXE of its own here; the card's ROM is one.
        assert!(said.contains("sent /srv/netboot/ipxe.efi to "), "{said}");
    }
}
