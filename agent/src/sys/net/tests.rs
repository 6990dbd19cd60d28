//! Links in a network namespace of the test's own.
#![allow(clippy::unwrap_used)]

use super::*;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Runs `work` where there is no link but the loopback; a thread of its own keeps that from the other tests.
fn in_a_namespace(work: impl FnOnce() + Send + 'static) {
    let tried = std::thread::spawn(|| {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
            eprintln!("SKIPPED: a network namespace needs root");
            return;
        }
        work();
    });
    tried.join().unwrap();
}

#[test]
fn a_link_goes_up_and_down() {
    in_a_namespace(|| {
        assert_eq!(Link::ethernet().unwrap(), []);
        let link = Link { name: "lo".into() };
        assert!(!link.is_ethernet().unwrap());
        assert!(!link.is_up().unwrap());
        link.raise().unwrap();
        assert!(link.has_carrier().unwrap());
        assert!(link.has_address().unwrap());
        link.lower().unwrap();
        assert!(!link.is_up().unwrap());
        assert!(!link.has_address().unwrap());
        let gone = Link {
            name: "a-name-that-is-too-long".into(),
        };
        assert_eq!(gone.is_up().unwrap_err().raw_os_error(), Some(libc::ENODEV));
    });
}

#[test]
fn an_address_and_its_routes_come_and_go_with_the_link() {
    in_a_namespace(|| {
        let made = std::process::Command::new("ip")
            .args(["link", "add", "wire", "type", "veth", "peer", "name", "end"])
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: no pair of virtual links");
            return;
        }
        let link = Link {
            name: "wire".into(),
        };
        assert!(Link::ethernet().unwrap().contains(&link));
        assert_ne!(link.hardware_address().unwrap(), [0; 6]);
        link.raise().unwrap();
        assert!(!link.has_carrier().unwrap(), "the other end is off");
        Link { name: "end".into() }.raise().unwrap();
        // The kernel notices a carrier in its own time.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !link.has_carrier().unwrap() {
            assert!(Instant::now() < deadline, "no carrier came");
            std::thread::sleep(Duration::from_millis(10));
        }
        link.set_address(Ipv4Addr::new(192, 0, 2, 5), 28).unwrap();
        let router = Ipv4Addr::new(198, 51, 100, 1);
        link.add_route(router, 32, None).unwrap();
        for _ in 0..2 {
            link.add_route(Ipv4Addr::UNSPECIFIED, 0, Some(router))
                .unwrap();
        }
        match link.add_vlan(5) {
            Ok(vlan) => {
                assert_eq!(vlan.name(), "wire.5");
                vlan.raise().unwrap();
                vlan.remove_vlan().unwrap();
            }
            Err(error) => eprintln!("SKIPPED: VLANs: {error}"),
        }
        let said = std::process::Command::new("ip")
            .args(["-4", "route"])
            .output()
            .unwrap();
        let mut routes: Vec<String> = String::from_utf8(said.stdout)
            .unwrap()
            .lines()
            .map(|line| line.trim().to_owned())
            .collect();
        routes.sort();
        let expected = [
            "192.0.2.0/28 dev wire proto kernel scope link src 192.0.2.5",
            "198.51.100.1 dev wire scope link",
            "default via 198.51.100.1 dev wire",
        ];
        assert_eq!(routes, expected);
        link.lower().unwrap();
        assert!(!link.has_address().unwrap());
    });
}
