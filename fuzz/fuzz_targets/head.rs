//! A head. Never panics; what parses is written back to the same bytes, with and without a signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reclone_format::head::split;
use reclone_format::{Head, PublicKey};

const KEY: &str = include_str!("../../format/testdata/v1/TEST-KEY-never-trust.pub");

fuzz_target!(|data: &[u8]| {
    let body = match split(data) {
        Ok((body, signature)) => {
            assert_eq!(format!("{body}{signature}").as_bytes(), data);
            Some(body)
        }
        Err(_) => std::str::from_utf8(data).ok(),
    };
    let parsed = body.and_then(|body| Head::parse(body).ok());
    if let (Some(body), Some(head)) = (body, &parsed) {
        assert_eq!(head.encode(), body);
    }
    let key = PublicKey::decode(KEY).expect("the test key is one");
    if let Ok(head) = Head::verify(data, &key) {
        assert_eq!(Some(head), parsed);
    }
    let _ = PublicKey::decode(&String::from_utf8_lossy(data));
});
