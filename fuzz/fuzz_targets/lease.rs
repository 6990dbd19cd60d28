//! A DHCP server's answer. Never panics; what it grants can be written into the resolver's configuration, and its address is a
//! machine's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reclone::network::dhcp::lease_in;
use reclone::network::lease::is_domain;

fuzz_target!(|data: &[u8]| {
    let Some(lease) = lease_in(data) else {
        return;
    };
    assert!(lease.prefix <= 32);
    assert!(!lease.address.is_unspecified() && !lease.address.is_multicast());
    assert!(lease.domains.iter().all(|domain| is_domain(domain)));
    assert!(lease.routes.iter().all(|route| route.prefix <= 32));
});
