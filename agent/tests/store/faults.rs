//! What the HTTP store does when the server fails, counted in requests and bytes.

use std::time::{Duration, Instant, SystemTime};

use reclone::store::{self, HeadAnswer, Kind, StoreOptions, Token};

use crate::certificates::Certificates;
use crate::server::{Fault, FaultyServer};
use crate::{HEAD, PACK, at, fill, kind, options, pack, read, server, traffic};

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
fn a_certificate_is_judged_by_the_newest_time_that_was_seen() {
    let early = Certificates::not_yet_valid();
    let server = FaultyServer::with_tls(early.server());
    fill(&server);
    let year_2950 = SystemTime::UNIX_EPOCH + Duration::from_secs(980 * 365 * 86_400);
    let options = StoreOptions {
        ca: Some(early.ca()),
        clock_floor: year_2950,
        ..options()
    };
    store::open(&server.url(), &options)
        .unwrap()
        .head(None)
        .unwrap();
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
