//! One contract for every store, and what the HTTP store does when the server fails.
#![allow(clippy::unwrap_used)]

#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/server.rs"]
mod server;

use std::io::Read;
use std::time::{Duration, Instant};

use reclone::store::{self, HeadAnswer, Kind, Store, StoreError, StoreOptions, Token, Traffic};

use certificates::Certificates;
use server::{Fault, FaultyServer};

const HEAD: &[u8] = b"reclone-head 1\n";
const PACK: &str = "packs/aa";

/// 200,000 bytes, no two stretches alike.
fn pack() -> Vec<u8> {
    (0..50_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

fn options() -> StoreOptions {
    StoreOptions {
        stall_timeout: Duration::from_millis(300),
        pause: Duration::from_millis(1),
        retries: 3,
        ..StoreOptions::default()
    }
}

fn server() -> FaultyServer {
    let server = FaultyServer::start();
    fill(&server);
    server
}

fn fill(server: &FaultyServer) {
    server.put("head", HEAD);
    server.put(PACK, &pack());
}

fn at(server: &FaultyServer) -> Box<dyn Store> {
    store::open(&server.url(), &options()).unwrap()
}

fn read(store: &dyn Store, path: &str, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    match store.read(path, offset, length)?.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(StoreError::from_io(&error).unwrap().clone()),
    }
}

fn kind<T>(result: Result<T, StoreError>) -> Kind {
    result.err().unwrap().kind()
}

fn traffic(requests: u64, bytes: u64, retries: u64) -> Traffic {
    Traffic {
        requests,
        bytes,
        retries,
    }
}

/// What every store must do. `replace` puts another head in its place.
fn keeps_the_contract(store: &dyn Store, replace: impl Fn(&[u8])) {
    let pack = pack();
    let HeadAnswer::Fresh { bytes, validators } = store.head(None).unwrap() else {
        panic!("a head that was not known is fresh");
    };
    assert_eq!(bytes, HEAD);
    assert_eq!(
        store.head(Some(&validators)).unwrap(),
        HeadAnswer::Unchanged
    );
    replace(b"another head\n");
    let HeadAnswer::Fresh { bytes, validators } = store.head(Some(&validators)).unwrap() else {
        panic!("a replaced head is fresh");
    };
    assert_eq!(bytes, b"another head\n");
    assert_eq!(
        store.head(Some(&validators)).unwrap(),
        HeadAnswer::Unchanged
    );
    replace(&vec![b'x'; (1 << 20) + 1]);
    assert_eq!(kind(store.head(None)), Kind::Corrupt);

    for (offset, length) in [(0, 200_000), (0, 1), (77, 0), (77, 100_000), (199_999, 1)] {
        let wanted = &pack[offset..offset + length];
        assert!(read(store, PACK, offset as u64, length as u64).unwrap() == wanted);
    }
    assert_eq!(kind(read(store, PACK, 0, 200_001)), Kind::Short);
    assert_eq!(kind(read(store, PACK, 199_999, 2)), Kind::Short);
    assert_eq!(kind(read(store, PACK, 200_000, 1)), Kind::Short);
    assert_eq!(kind(read(store, PACK, u64::MAX, 2)), Kind::Short);
    assert_eq!(kind(read(store, "packs/bb", 0, 1)), Kind::NotFound);
    for outside in [
        "../head",
        "packs/../head",
        "/head",
        "packs//aa",
        ".x",
        "",
        "a?b",
        "a%2fb",
    ] {
        assert_eq!(kind(read(store, outside, 0, 1)), Kind::Refused, "{outside}");
    }
}

#[test]
fn a_path_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let replace = |head: &[u8]| {
        std::fs::write(folder.path().join("new"), head).unwrap();
        std::fs::rename(folder.path().join("new"), folder.path().join("head")).unwrap();
    };
    std::fs::create_dir(folder.path().join("packs")).unwrap();
    std::fs::write(folder.path().join(PACK), pack()).unwrap();
    for prefix in ["", "file://"] {
        replace(HEAD);
        let location = format!("{prefix}{}", folder.path().display());
        keeps_the_contract(&*store::open(&location, &options()).unwrap(), replace);
    }
}

#[test]
fn http_keeps_the_contract() {
    let server = server();
    keeps_the_contract(&*at(&server), |head| server.put("head", head));
}

#[test]
fn http_with_dates_instead_of_tags_keeps_the_contract() {
    let server = FaultyServer::with_dates();
    fill(&server);
    keeps_the_contract(&*at(&server), |head| server.put("head", head));
}

#[test]
fn https_with_an_own_authority_keeps_the_contract() {
    let certificates = Certificates::new();
    let server = FaultyServer::with_tls(certificates.server());
    fill(&server);
    let options = StoreOptions {
        ca: Some(certificates.ca()),
        ..options()
    };
    let store = store::open(&server.url(), &options).unwrap();
    keeps_the_contract(&*store, |head| server.put("head", head));
}

#[test]
fn https_with_a_pinned_key_keeps_the_contract() {
    // The certificate is not valid for decades: a pin asks no clock.
    let certificates = Certificates::not_yet_valid();
    let server = FaultyServer::with_tls(certificates.server());
    fill(&server);
    let options = StoreOptions {
        pin: Some(certificates.pin()),
        ..options()
    };
    let store = store::open(&server.url(), &options).unwrap();
    keeps_the_contract(&*store, |head| server.put("head", head));
}

#[test]
fn a_server_without_ranges_keeps_the_contract() {
    let server = server();
    let store = at(&server);
    server.fail([Fault::NoRange]);
    assert!(store.ranges());
    assert!(read(&*store, PACK, 1000, 10).unwrap() == pack()[1000..1010]);
    assert!(!store.ranges());
    // From now on it is not asked for ranges any more.
    server.asked();
    assert!(read(&*store, PACK, 5, 5).unwrap() == pack()[5..10]);
    assert_eq!(server.asked()[0].header("range"), None);
    keeps_the_contract(&*store, |head| server.put("head", head));
}

#[test]
fn a_known_head_costs_one_request_and_no_body() {
    let server = server();
    let store = at(&server);
    let HeadAnswer::Fresh { validators, .. } = store.head(None).unwrap() else {
        panic!()
    };
    assert_eq!(store.traffic(), traffic(1, 15, 0));
    assert_eq!(
        store.head(Some(&validators)).unwrap(),
        HeadAnswer::Unchanged
    );
    assert_eq!(store.traffic(), traffic(2, 15, 0));
    assert_eq!(server.asked().len(), 2);
    server.fail([Fault::NoCondition]);
    let fresh = HeadAnswer::Fresh {
        bytes: HEAD.to_vec(),
        validators: validators.clone(),
    };
    assert_eq!(store.head(Some(&validators)).unwrap(), fresh);
}

#[test]
fn one_connection_serves_many_requests() {
    let server = server();
    let store = at(&server);
    store.head(None).unwrap();
    for offset in [0, 5000, 90_000] {
        assert_eq!(read(&*store, PACK, offset, 5000).unwrap().len(), 5000);
    }
    assert_eq!((server.asked().len(), server.connections()), (4, 1));
}

#[test]
fn a_broken_read_goes_on_with_one_range_from_the_byte_reached() {
    let server = server();
    let store = at(&server);
    server.fail([Fault::Drop(50_000), Fault::Drop(0), Fault::TooLong(7)]);
    assert!(read(&*store, PACK, 100, 150_000).unwrap() == pack()[100..150_100]);
    let asked = server.asked();
    let ranges: Vec<_> = asked
        .iter()
        .map(|asked| asked.header("range").unwrap())
        .collect();
    assert_eq!(
        ranges,
        [
            "bytes=100-150099",
            "bytes=50100-150099",
            "bytes=50100-150099"
        ]
    );
    assert_eq!(asked[0].header("if-range"), None);
    assert!(asked[1].header("if-range").unwrap().starts_with('"'));
    assert_eq!(store.traffic(), traffic(3, 150_000, 2));
}

#[test]
fn a_broken_read_goes_on_without_ranges() {
    let server = server();
    let store = at(&server);
    server.fail([Fault::Drop(50_000), Fault::NoRange]);
    assert!(read(&*store, PACK, 0, 200_000).unwrap() == pack());
    assert_eq!(store.traffic(), traffic(2, 250_000, 1));
}

#[test]
fn a_stall_in_mid_body_is_noticed_and_the_read_goes_on() {
    let server = server();
    let store = at(&server);
    server.fail([Fault::Stall(70_000)]);
    let start = Instant::now();
    assert!(read(&*store, PACK, 0, 200_000).unwrap() == pack());
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        server.asked()[1].header("range"),
        Some("bytes=70000-199999")
    );
    assert_eq!(store.traffic(), traffic(2, 200_000, 1));
}

#[test]
fn a_server_that_stalls_for_ever_is_given_up() {
    let server = server();
    let store = at(&server);
    server.fail(vec![Fault::Stall(0); 9]);
    let error = store.head(None).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(
        error
            .to_string()
            .ends_with("/head: the server sent nothing for 0.3 s"),
        "{error}"
    );
    assert_eq!(store.traffic(), traffic(4, 0, 3));
}

#[test]
fn a_file_that_changes_under_the_read_is_never_mixed() {
    for server in [FaultyServer::start(), FaultyServer::with_dates()] {
        fill(&server);
        let mut other = pack();
        other.reverse();
        server.fail([Fault::Drop(50_000), Fault::Replace(other)]);
        let store = at(&server);
        assert_eq!(kind(read(&*store, PACK, 0, 200_000)), Kind::Corrupt);
        assert_eq!(store.traffic(), traffic(2, 50_000, 1));
    }
}

#[test]
fn a_wrong_range_or_no_http_is_an_error_at_once() {
    let server = server();
    let store = at(&server);
    for fault in [
        Fault::WrongRange,
        Fault::Garbage,
        Fault::Status(304, ""),
        Fault::Status(204, ""),
    ] {
        server.fail([fault.clone()]);
        assert_eq!(
            kind(read(&*store, PACK, 10, 10)),
            Kind::Corrupt,
            "{fault:?}"
        );
        assert_eq!(server.asked().len(), 1, "{fault:?}");
    }
}

#[test]
fn only_what_may_pass_is_tried_again() {
    let cases = [
        (404, Kind::NotFound, 1),
        (410, Kind::NotFound, 1),
        (401, Kind::Refused, 1),
        (403, Kind::Refused, 1),
        (400, Kind::Refused, 1),
        (429, Kind::Temporary, 4),
        (500, Kind::Temporary, 4),
        (503, Kind::Temporary, 4),
    ];
    for (status, expected, requests) in cases {
        let server = server();
        let store = at(&server);
        server.fail(vec![Fault::Status(status, ""); 9]);
        assert_eq!(
            (kind(store.head(None)), server.asked().len()),
            (expected, requests),
            "{status}"
        );
        let store = at(&server);
        assert_eq!(kind(read(&*store, PACK, 0, 1)), expected, "{status}");
        assert_eq!(server.asked().len(), requests, "{status}");
    }
}

#[test]
fn retry_after_is_honoured_within_reason() {
    let server = server();
    server.fail([Fault::Status(503, "Retry-After: 1\r\n")]);
    let start = Instant::now();
    at(&server).head(None).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    server.fail([Fault::Status(503, "Retry-After: 3600\r\n")]);
    assert_eq!(kind(at(&server).head(None)), Kind::Temporary);
}

#[test]
fn nothing_goes_on_past_the_deadline() {
    let server = server();
    let by = |millis| StoreOptions {
        deadline: Some(Instant::now() + Duration::from_millis(millis)),
        stall_timeout: Duration::from_secs(60),
        ..options()
    };
    server.fail([Fault::Stall(1000), Fault::Status(503, "Retry-After: 9\r\n")]);
    let start = Instant::now();
    let store = store::open(&server.url(), &by(400)).unwrap();
    assert_eq!(kind(read(&*store, PACK, 0, 5000)), Kind::Deadline);
    assert_eq!(store.traffic(), traffic(1, 1000, 0));
    let store = store::open(&server.url(), &by(400)).unwrap();
    assert_eq!(kind(store.head(None)), Kind::Deadline);
    let store = store::open(&server.url(), &by(0)).unwrap();
    assert_eq!(kind(store.head(None)), Kind::Deadline);
    assert_eq!(store.traffic(), traffic(0, 0, 0));
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let (server, target) = (server(), server());
    let store = at(&server);
    server.fail([Fault::Redirect(format!("{}/head", target.url()))]);
    let HeadAnswer::Fresh { bytes, .. } = store.head(None).unwrap() else {
        panic!()
    };
    assert_eq!((bytes, store.traffic()), (HEAD.to_vec(), traffic(2, 15, 0)));
    server.fail(vec![Fault::Redirect("/head".to_owned()); 9]);
    server.asked();
    assert_eq!(kind(store.head(None)), Kind::Refused);
    assert_eq!(server.asked().len(), 6);
}

#[test]
fn the_token_goes_to_its_own_host_only() {
    let (server, target) = (server(), server());
    let options = StoreOptions {
        token: Some(Token::new(" s3cret\n")),
        ..options()
    };
    assert!(!format!("{options:?}").contains("s3cret"));
    let store = store::open(&server.url(), &options).unwrap();
    server.fail([Fault::Redirect(format!(
        "http://localhost:{}/head",
        target.port
    ))]);
    store.head(None).unwrap();
    assert_eq!(
        server.asked()[0].header("authorization"),
        Some("Bearer s3cret")
    );
    assert_eq!(target.asked()[0].header("authorization"), None);
    server.fail([Fault::Redirect("/head".to_owned())]);
    store.head(None).unwrap();
    assert_eq!(
        server.asked()[1].header("authorization"),
        Some("Bearer s3cret")
    );
}

#[test]
fn a_server_that_can_not_prove_itself_is_refused_with_the_way_out() {
    let (good, other, early) = (
        Certificates::new(),
        Certificates::new(),
        Certificates::not_yet_valid(),
    );
    let cases = [
        (
            &good,
            StoreOptions {
                ca: Some(other.ca()),
                ..options()
            },
            "give the authority's with `ca =`",
        ),
        (
            &good,
            StoreOptions {
                pin: Some(other.pin()),
                ..options()
            },
            "not the one of `pin =`",
        ),
        (
            &early,
            StoreOptions {
                ca: Some(early.ca()),
                ..options()
            },
            "set the clock",
        ),
    ];
    for (certificates, options, wanted) in cases {
        let server = FaultyServer::with_tls(certificates.server());
        let error = store::open(&server.url(), &options)
            .unwrap()
            .head(None)
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Tls, "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
        assert_eq!(server.connections(), 1, "asking again does not help");
    }
}

#[test]
fn wrong_options_are_refused_when_opened() {
    let open = |location: &str, options| kind(store::open(location, &options));
    assert_eq!(open("ftp://host/store", options()), Kind::Other);
    assert_eq!(
        open("http://user:secret@host/store", options()),
        Kind::Other
    );
    assert_eq!(open("http://host/store?x", options()), Kind::Other);
    assert_eq!(open("http://", options()), Kind::Other);
    let bad_pin = StoreOptions {
        pin: Some("00".into()),
        ..options()
    };
    assert_eq!(open("https://host/store", bad_pin), Kind::Other);
    let no_ca = StoreOptions {
        ca: Some("/nowhere/ca.pem".into()),
        ..options()
    };
    assert_eq!(open("https://host/store", no_ca), Kind::Tls);
}

#[test]
fn a_server_that_is_not_there_is_a_temporary_failure() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let store = store::open(&format!("http://127.0.0.1:{port}"), &options()).unwrap();
    assert_eq!(kind(store.head(None)), Kind::Temporary);
    assert_eq!(store.traffic(), traffic(4, 0, 3));
}
