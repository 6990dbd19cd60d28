//! The parts of the network that need none: what a store asks for, and what the kernel's tables mean.
#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_store_says_what_network_it_needs() {
    let cases = [
        ("http://model/store", None, Some(Need::Any)),
        ("HTTPS://model.lab:8443/store", None, Some(Need::Any)),
        ("http://192.0.2.1:8080/store", None, Some(Need::V4)),
        ("http://[2001:db8::1]:8080/store", None, Some(Need::V6)),
        (
            "http://model/store",
            Some("http://192.0.2.1:3128"),
            Some(Need::V4),
        ),
        (
            "http://192.0.2.1/store",
            Some("http://user:word@proxy:3128"),
            Some(Need::Any),
        ),
        ("/media/usb/store", Some("http://192.0.2.1:3128"), None),
        ("file:///media/usb/store", None, None),
    ];
    for (store, proxy, expected) in cases {
        assert_eq!(need(store, proxy), expected, "{store} by {proxy:?}");
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
    let tentative = "fd000000000000000000000000000002 02 40 00 40     ens2\n";
    let global = "fd000000000000000000000000000002 02 40 00 00     ens2\n";
    assert!(!has_global_address(&format!(
        "{loopback}{link_local}{tentative}"
    )));
    assert!(has_global_address(&format!("{loopback}{global}")));
}
