//! A netlink datagram with router announcements. Never panics; every server it names is in its bytes.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use reclone::sys::net::announced::parse;

fuzz_target!(|data: &[u8]| {
    for announced in parse(data) {
        let IpAddr::V6(server) = announced.server else {
            panic!("{announced:?}");
        };
        let octets = server.octets();
        assert!(data.windows(16).any(|window| window == octets));
    }
});
