//! The parts of the network that need none: what the kernel's tables mean, leases, and a program that does not end.
#![allow(clippy::unwrap_used)]

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn places(folder: &Path, script: &str) -> Places {
    let places = Places {
        script: folder.join("script"),
        leases: folder.into(),
        resolv_conf: folder.join("resolv.conf"),
        output: folder.join("output"),
    };
    fs::write(&places.script, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&places.script, fs::Permissions::from_mode(0o755)).unwrap();
    places
}

#[test]
fn only_stores_behind_http_need_a_network() {
    for store in ["http://model/store", "HTTPS://model/store"] {
        assert!(is_needed(store), "{store}");
    }
    for store in ["/media/usb/store", "file:///media/usb/store"] {
        assert!(!is_needed(store), "{store}");
    }
}

#[test]
fn a_route_or_a_global_address_means_up() {
    let head =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
    assert!(!has_route(head));
    assert!(!has_route(&format!(
        "{head}lo\t0000007F\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
    )));
    assert!(has_route(&format!(
        "{head}ens2\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    )));
    let loopback = "00000000000000000000000000000001 01 80 10 80       lo\n";
    let link_local = "fe80000000000000505400fffe123456 02 40 20 80     ens2\n";
    let global = "fd000000000000000000000000000002 02 40 00 80     ens2\n";
    assert!(!has_global_address(&format!("{loopback}{link_local}")));
    assert!(has_global_address(&format!("{loopback}{global}")));
}

#[test]
fn a_lease_names_the_servers_that_resolve_names() {
    let lease = "DEVICE='ens2'\nIPV4ADDR='10.0.2.15'\nIPV4DNS0='10.0.2.3'\nIPV4DNS1='0.0.0.0'\nDNSDOMAIN='lab.example'\n";
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path(), "true");
    fs::write(folder.path().join("net-ens2.conf"), lease).unwrap();
    name_servers(&places).unwrap();
    let expected = "nameserver 10.0.2.3\nsearch lab.example\n";
    assert_eq!(fs::read_to_string(&places.resolv_conf).unwrap(), expected);
    fs::write(&places.resolv_conf, "nameserver 192.0.2.1\n").unwrap();
    name_servers(&places).unwrap();
    let kept = fs::read_to_string(&places.resolv_conf).unwrap();
    assert_eq!(kept, "nameserver 192.0.2.1\n", "what is there stays");
}

#[test]
fn a_program_that_does_not_end_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path(), "sleep 1000 & echo $!; wait");
    let started = Instant::now();
    let error = run(&places, started + Duration::from_millis(300)).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(100));
    assert_eq!(
        error.to_string(),
        "The network did not come up: no DHCP server answered in time"
    );
    let child: i32 = fs::read_to_string(&places.output)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // A signal is delivered at once, but a busy machine may need a moment to act on it.
    while is_alive(child) {
        assert!(started.elapsed() < Duration::from_secs(100), "{child}");
        thread::sleep(TICK);
    }
}

/// Whether the process runs; one that is only waiting for its new parent to notice its end does not.
fn is_alive(process: i32) -> bool {
    let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    !(state.is_empty() || state.contains(") Z ") || state.contains(") X "))
}

#[test]
fn a_program_that_fails_says_how() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path(), "exit 7");
    let error = run(&places, Instant::now() + Duration::from_secs(100)).unwrap_err();
    let expected = format!(
        "The network did not come up: {} ended with exit status: 7",
        places.script.display()
    );
    assert_eq!(error.to_string(), expected);
}
