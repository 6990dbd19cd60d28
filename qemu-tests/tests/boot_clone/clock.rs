//! A machine whose clock has lost the time, and one whose clock then jumps.

use qemu_tests::server::Server;
use qemu_tests::site::program;

use crate::{Case, store_word};

#[test]
fn a_clock_in_1970_does_not_keep_a_clone_from_an_https_store() {
    let Some(case) = Case::new("clock") else {
        return;
    };
    assert_eq!(case.publish("over https"), 2);
    let tls = case.site.path("tls");
    let (certificate, key) = (tls.with_extension("crt"), tls.with_extension("key"));
    let options = [
        "--tls-cert".as_ref(),
        certificate.as_os_str(),
        "--tls-key".as_ref(),
        key.as_os_str(),
    ];
    let log = case.store.with_extension("requests");
    let server =
        Server::start_with(&program("reclone-model"), &case.store, 0, &log, &options).unwrap();
    assert!(server.url().starts_with("https://"), "{}", server.url());
    let words = format!(
        "{} reclone.ca=/etc/reclone/ca.pem",
        store_word(server.url())
    );
    let machine = case.machine(&words);
    case.boot_machine(
        machine.with_options(&["-rtc", "base=1970-01-01T00:00:00"]),
        |machine, facts| {
            facts.assert_runs(2);
            assert_eq!(facts.get("version"), "over https");
            machine.report("echo renamed >/etc/hostname").unwrap();
        },
    );
    drop(server);
    seventy_years_later(&case);
}

/// What the last session changed stays, and what is newest is told by its serial, not by the time.
fn seventy_years_later(case: &Case) {
    assert_eq!(case.publish("in 2040"), 3);
    let server = case.site.serve(&case.store).unwrap();
    let machine = case.machine(&store_word(server.url()));
    case.boot_machine(
        machine.with_options(&["-rtc", "base=2040-01-01T00:00:00"]),
        |machine, facts| {
            let year = machine.report("date +%Y").unwrap();
            assert_eq!(year, "2040\n");
            facts.assert_runs(3);
            assert_eq!(facts.get("hostname"), "renamed");
        },
    );
}
