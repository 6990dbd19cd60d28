//! What every store must do, asked of each.

use reclone::store::{self, HeadAnswer, Kind, Store, StoreOptions};

use crate::certificates::Certificates;
use crate::server::{Fault, FaultyServer};
use crate::{HEAD, PACK, at, fill, kind, options, pack, read, server};

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
