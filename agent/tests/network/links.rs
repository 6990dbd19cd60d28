//! From a cable to an address and a name server.

use std::thread;
use std::time::Duration;

use crate::{DHCP, Lab, MODEL, NAME, possible};

#[test]
fn a_lease_is_taken_and_given_back() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let dnsmasq = lab.dnsmasq(&[DHCP, NAME]);
    let _model = lab.serve(MODEL);
    let booted = lab.clone_of(MODEL).boot("");
    booted.assert_boots(2);
    assert!(
        booted.log.contains("the network is up on wire after "),
        "{}",
        booted.log
    );
    assert!(booted.log.contains(" s: 192.0.2.1"), "{}", booted.log);
    assert_eq!(booted.resolv_conf, "nameserver 192.0.2.1\n");
    dnsmasq.wait_until_no_lease_is_out();
    lab.assert_links_are_untouched(&["wire"]);
}

#[test]
fn a_name_is_resolved_in_the_domain_of_the_lease() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP, NAME, "--dhcp-option=option:domain-name,lab"]);
    let _model = lab.serve(MODEL);
    let booted = lab.clone_of("model").boot("");
    booted.assert_boots(2);
    assert_eq!(booted.resolv_conf, "search lab\nnameserver 192.0.2.1\n");
}

#[test]
fn without_a_name_server_an_address_is_enough_and_a_name_is_not() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP, "--port=0", "--dhcp-option=option:dns-server"]);
    let _model = lab.serve(MODEL);
    let booted = lab.clone_of(MODEL).boot("");
    assert_eq!(booted.assert_boots(2).resolv_conf, "");
    let booted = lab.clone_of("model.lab").boot("");
    booted.assert_boots(1).assert_warns("model.lab");
}

#[test]
fn a_router_in_another_network_is_reached_by_its_route() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    lab.model
        .ip(&["addr", "add", "198.51.100.1/32", "dev", "lo"]);
    let routes = "--dhcp-option=option:classless-static-route,198.51.100.0/24,192.0.2.1";
    let _dnsmasq = lab.dnsmasq(&[DHCP, routes]);
    let _model = lab.serve("198.51.100.1");
    lab.clone_of("198.51.100.1").boot("").assert_boots(2);
    lab.assert_links_are_untouched(&["wire"]);
}

#[test]
fn a_fixed_address_asks_nobody() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[NAME]);
    let _model = lab.serve(MODEL);
    let words = "ip=192.0.2.7::192.0.2.1:255.255.255.0::wire:off:192.0.2.1";
    let booted = lab.clone_of("model.lab").boot(words);
    booted.assert_boots(2);
    assert!(booted.log.contains(": 192.0.2.7/24\n"), "{}", booted.log);
    lab.assert_links_are_untouched(&["wire"]);
}

#[test]
fn a_network_of_ipv6_alone_has_address_and_names_from_its_router() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    lab.model.ip(&["addr", "flush", "dev", "end"]);
    lab.model
        .ip(&["addr", "add", "2001:db8::1/64", "dev", "end", "nodad"]);
    let _dnsmasq = lab.dnsmasq(&[
        "--enable-ra",
        "--dhcp-range=2001:db8::,ra-only,64",
        "--dhcp-option=option6:dns-server,[2001:db8::1]",
        "--address=/model.lab/2001:db8::1",
    ]);
    let _model = lab.serve("[2001:db8::1]");
    for host in ["[2001:db8::1]", "model.lab"] {
        let booted = lab.clone_with(host, "timeout = 20").boot("");
        booted.assert_boots(2);
        assert_eq!(booted.resolv_conf, "nameserver 2001:db8::1\n");
        lab.assert_links_are_untouched(&["wire"]);
    }
}

#[test]
fn a_vlan_is_made_and_removed() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    if !lab.model.can_add_vlan("end", "5") {
        return;
    }
    lab.model.ip(&["addr", "flush", "dev", "end"]);
    lab.model
        .ip(&["addr", "add", "192.0.2.1/24", "dev", "end.5"]);
    lab.model.ip(&["link", "set", "end.5", "up"]);
    let folder = lab.folder.path();
    let _dnsmasq = crate::Dnsmasq::start(&lab.model, "end.5", &[DHCP], folder);
    let _model = lab.serve(MODEL);
    let booted = lab.clone_of(MODEL).boot("vlan=vlan5:wire");
    booted.assert_boots(2);
    assert!(
        booted.log.contains("the network is up on wire.5 after "),
        "{}",
        booted.log
    );
    lab.assert_links_are_untouched(&["wire"]);
}

#[test]
fn of_two_cards_the_one_that_is_connected_serves() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    // One has no cable; one has a cable to a network where nobody answers.
    lab.clone.connect("aaa", &lab.model, "aaa-end");
    lab.clone.connect("bbb", &lab.model, "bbb-end");
    lab.model.ip(&["link", "set", "bbb-end", "up"]);
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let _model = lab.serve(MODEL);
    let booted = lab.clone_of(MODEL).boot("");
    booted.assert_boots(2);
    assert!(
        booted.log.contains("the network is up on wire after "),
        "{}",
        booted.log
    );
    lab.assert_links_are_untouched(&["aaa", "bbb", "wire"]);
}

#[test]
fn a_carrier_that_comes_after_five_seconds_is_waited_for() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let _model = lab.serve(MODEL);
    lab.model.ip(&["link", "set", "end", "down"]);
    let booted = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(5));
            lab.model.ip(&["link", "set", "end", "up"]);
        });
        lab.clone_with(MODEL, "timeout = 20").boot("")
    });
    booted.assert_boots(2);
}

#[test]
fn without_a_cable_without_a_server_or_with_the_wrong_card_the_clone_boots_what_it_has() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let clone = lab.clone_with(MODEL, "timeout = 3");
    let booted = clone.boot("");
    booted
        .assert_boots(1)
        .assert_warns("no DHCP server answered in time");
    let named = lab.clone_with("model.lab", "timeout = 3").boot("");
    named
        .assert_boots(1)
        .assert_warns("no DHCP server and no IPv6 router answered in time");
    let booted = clone.boot("ip=eth7:dhcp");
    booted
        .assert_boots(1)
        .assert_warns("there is no wired network card `eth7`");
    lab.model.ip(&["link", "set", "end", "down"]);
    clone
        .boot("")
        .assert_boots(1)
        .assert_warns("no cable is plugged in");
    lab.assert_links_are_untouched(&["wire"]);
}

#[test]
fn a_network_that_is_up_already_stays_as_it_is() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _model = lab.serve(MODEL);
    lab.clone
        .ip(&["addr", "add", "192.0.2.9/24", "dev", "wire"]);
    lab.clone.ip(&["link", "set", "wire", "up"]);
    lab.clone_of(MODEL).boot("").assert_boots(2);
    let said = lab
        .clone
        .ip(&["-brief", "-4", "address", "show", "dev", "wire"]);
    assert!(
        said.contains("UP") && said.contains("192.0.2.9/24"),
        "{said}"
    );
}
