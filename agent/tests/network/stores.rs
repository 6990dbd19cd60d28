//! From an address to a generation: what servers and what is between them and the clone may do.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::certificates::Certificates;
use crate::clone::{Clone, base};
use crate::hosts::{self, Daemon};
use crate::server::{Fault, FaultyServer};
use crate::{DHCP, Lab, MODEL, NAME, PORT, possible};

/// A lab with DHCP, where a server with the store's files fails as told.
fn faulty(lab: &Lab, tls: Option<&Certificates>) -> FaultyServer {
    let listener = lab
        .model
        .enter(|| TcpListener::bind((MODEL, PORT)).unwrap());
    let server = FaultyServer::at(listener, tls.map(Certificates::server));
    put(&server, &base().site.store, "");
    server
}

fn put(server: &FaultyServer, folder: &Path, name: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{name}{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => put(server, &entry.path(), &format!("{path}/")),
            false => server.put(&path, &fs::read(entry.path()).unwrap()),
        }
    }
}

#[test]
fn a_server_that_fails_for_a_moment_is_asked_again() {
    if !possible() {
        return;
    }
    let cases: [(&str, Vec<Fault>); 8] = [
        (
            "503 and come back later",
            vec![Fault::Status(503, "Retry-After: 1\r\n")],
        ),
        ("500", vec![Fault::Status(500, "")]),
        (
            "a connection that breaks in the head",
            vec![Fault::Drop(100)],
        ),
        (
            "a connection that breaks in a pack",
            vec![Fault::None, Fault::None, Fault::Drop(300_000)],
        ),
        (
            "a pack that ends too early",
            vec![Fault::None, Fault::None, Fault::TooLong(10)],
        ),
        (
            "a server without ranges",
            vec![Fault::None, Fault::NoRange, Fault::NoRange],
        ),
        (
            "a redirect",
            vec![Fault::Redirect(format!("http://{MODEL}:{PORT}/head"))],
        ),
        (
            "a stall in a pack",
            vec![Fault::None, Fault::None, Fault::Stall(300_000)],
        ),
    ];
    for (what, faults) in cases {
        let lab = Lab::new();
        let _dnsmasq = lab.dnsmasq(&[DHCP]);
        let server = faulty(&lab, None);
        server.fail(faults);
        let booted = lab.clone_with(MODEL, "timeout = 60").boot("");
        assert!(
            booted.log.contains("generation 2 is new"),
            "{what}: {}",
            booted.log
        );
        booted.assert_boots(2);
    }
}

#[test]
fn a_server_that_fails_for_good_is_named_and_the_clone_boots_what_it_has() {
    if !possible() {
        return;
    }
    let garbage = || vec![Fault::Garbage; 40];
    let cases: [(&str, Vec<Fault>, &str); 6] = [
        ("404", vec![Fault::Status(404, "")], "there is no such file"),
        ("500", vec![Fault::Status(500, ""); 40], "500"),
        (
            "503",
            vec![Fault::Status(503, "Retry-After: 600\r\n"); 40],
            "503",
        ),
        ("no HTTP", garbage(), "192.0.2.1"),
        (
            "a head that is another's",
            vec![Fault::Replace(b"untrusted comment: x\n".to_vec())],
            "head",
        ),
        (
            "a redirect in a circle",
            vec![Fault::Redirect(format!("http://{MODEL}:{PORT}/head")); 40],
            "redirect",
        ),
    ];
    for (what, faults, warning) in cases {
        let lab = Lab::new();
        let _dnsmasq = lab.dnsmasq(&[DHCP]);
        let server = faulty(&lab, None);
        server.fail(faults);
        let booted = lab.clone_with(MODEL, "timeout = 6").boot("");
        println!("{what}:");
        booted.assert_boots(1).assert_warns(warning);
    }
}

#[test]
fn a_server_that_stalls_is_left_at_the_deadline() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let server = faulty(&lab, None);
    server.fail(vec![Fault::Stall(10); 40]);
    let booted = lab.clone_with(MODEL, "timeout = 4").boot("");
    booted.assert_boots(1).assert_warns("192.0.2.1");
}

#[test]
fn a_pack_that_was_damaged_on_its_way_is_not_taken() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let server = faulty(&lab, None);
    let packs = base().site.store.join("packs");
    for entry in fs::read_dir(packs).unwrap() {
        let entry = entry.unwrap();
        let mut bytes = fs::read(entry.path()).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes[last / 2] ^= 1;
        server.put(
            &format!("packs/{}", entry.file_name().to_string_lossy()),
            &bytes,
        );
    }
    let booted = lab.clone_of(MODEL).boot("");
    booted.assert_boots(1).assert_warns("packs/");
}

#[test]
fn a_head_that_changes_between_two_requests_is_no_mixture() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let server = faulty(&lab, None);
    let first = fs::read(base().site.store.join("heads/1")).unwrap();
    // Each answer after the first replaces the head; the packs stay.
    server.fail([Fault::None]);
    server.put("heads/1", &first);
    let clone = lab.clone_of(MODEL);
    clone.boot("").assert_boots(2);
    server.put("head", &first);
    clone
        .boot("")
        .assert_boots(2)
        .assert_warns("an old copy of the store is refused");
}

#[test]
fn https_with_an_authority_of_ones_own() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP, NAME]);
    let certificates = Certificates::of("model.lab");
    let _server = faulty(&lab, Some(&certificates));
    let store = format!("https://model.lab:{PORT}");
    let clone = Clone::new(&lab.clone, &store, "ca = /etc/reclone/ca.pem\ntimeout = 20");
    fs::copy(certificates.ca(), clone.path("etc/reclone/ca.pem")).unwrap();
    clone.boot("").assert_boots(2);
    let other = Certificates::of("model.lab");
    let clone = Clone::new(&lab.clone, &store, "ca = /etc/reclone/ca.pem\ntimeout = 20");
    fs::copy(other.ca(), clone.path("etc/reclone/ca.pem")).unwrap();
    clone.boot("").assert_boots(1).assert_warns("ca =");
}

#[test]
fn a_proxy_reaches_what_the_clone_can_not() {
    if !possible() || !hosts::has("tinyproxy") {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let _model = lab.serve("127.0.0.1");
    let config = lab.folder.path().join("tinyproxy.conf");
    fs::write(
        &config,
        format!("Port 3128\nListen {MODEL}\nTimeout 60\nMaxClients 10\n"),
    )
    .unwrap();
    let mut command = lab.model.command("tinyproxy");
    command.args(["-d", "-c"]).arg(&config);
    let _proxy = Daemon::start(&mut command, &lab.folder.path().join("proxy.log"));
    lab.model.wait_for_server(&format!("{MODEL}:3128"));
    let config = format!("timeout = 20\nproxy = http://{MODEL}:3128");
    lab.clone_with("127.0.0.1", &config)
        .boot("")
        .assert_boots(2);
}
