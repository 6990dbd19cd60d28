//! The embedded server as a client sees it, byte by byte over a socket.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use reclone_model::serve::{ServeOptions, Server};

/// A served store; the thread ends with the test program.
struct Served {
    address: String,
    store: tempfile::TempDir,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn served(token: Option<&str>) -> Served {
    let store = tempfile::tempdir().unwrap();
    fs::write(store.path().join("head"), "a head\n").unwrap();
    for folder in ["packs", "heads", ".reclone-model"] {
        fs::create_dir(store.path().join(folder)).unwrap();
    }
    fs::write(store.path().join("packs/aa"), "0123456789").unwrap();
    fs::write(store.path().join(".reclone-model/secret"), "no").unwrap();
    let server = Server::bind(ServeOptions {
        store: store.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        token: token.map(str::to_owned),
    })
    .unwrap();
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    std::thread::spawn(move || server.run());
    Served { address, store }
}

impl Served {
    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap()
            + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            head,
            body: bytes[end..].to_vec(),
        }
    }
}

#[test]
fn head_is_sent_once_and_then_confirmed_in_few_bytes() {
    let served = served(None);
    let first = served.ask("GET", "/head", "");
    assert_eq!((first.status, &first.body[..]), (200, &b"a head\n"[..]));
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    assert!(first.head.len() < 1024, "{}", first.head);
    let tag = first.header("etag").unwrap();
    assert!(
        tag.starts_with('"'),
        "a weak tag can not continue a range: {tag}"
    );

    let again = served.ask("GET", "/head", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert!(again.head.len() < 1024, "{}", again.head);
    let date = first.header("last-modified").unwrap();
    let again = served.ask("GET", "/head", &format!("If-Modified-Since: {date}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));

    let new = served.store.path().join("head.new");
    fs::write(&new, "another head\n").unwrap();
    fs::rename(&new, served.store.path().join("head")).unwrap();
    let fresh = served.ask("GET", "/head", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(
        (fresh.status, &fresh.body[..]),
        (200, &b"another head\n"[..])
    );
}

#[test]
fn packs_come_in_ranges_and_may_be_kept_for_ever() {
    let served = served(None);
    let whole = served.ask("GET", "/packs/aa", "");
    assert_eq!((whole.status, &whole.body[..]), (200, &b"0123456789"[..]));
    assert!(whole.header("cache-control").unwrap().contains("immutable"));
    let tag = whole.header("etag").unwrap();

    let part = served.ask(
        "GET",
        "/packs/aa",
        &format!("Range: bytes=3-5\r\nIf-Range: {tag}\r\n"),
    );
    assert_eq!((part.status, &part.body[..]), (206, &b"345"[..]));
    assert_eq!(part.header("content-range"), Some("bytes 3-5/10"));
    let other = served.ask(
        "GET",
        "/packs/aa",
        "Range: bytes=3-5\r\nIf-Range: \"other\"\r\n",
    );
    assert_eq!((other.status, other.body.len()), (200, 10));
    let beyond = served.ask("GET", "/packs/aa", "Range: bytes=10-12\r\n");
    assert_eq!(beyond.status, 416);
    let size = served.ask("HEAD", "/packs/aa", "");
    assert_eq!(
        (size.status, size.header("content-length")),
        (200, Some("10"))
    );
}

#[test]
fn nothing_else_is_served() {
    let served = served(None);
    for path in [
        "/",
        "/packs",
        "/packs/",
        "/packs/bb",
        "/.reclone-model/secret",
        "/heads/../head",
    ] {
        assert_eq!(served.ask("GET", path, "").status, 404, "{path}");
    }
    assert_eq!(
        served.ask("PUT", "/head", "Content-Length: 0\r\n").status,
        405
    );
}

#[test]
fn a_token_is_asked_for() {
    let served = served(Some("s3cret"));
    for wrong in [
        "",
        "Authorization: Bearer s3cre\r\n",
        "Authorization: Basic s3cret\r\n",
    ] {
        let answer = served.ask("GET", "/head", wrong);
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, Some("Bearer"))
        );
    }
    assert_eq!(
        served
            .ask("GET", "/head", "Authorization: Bearer s3cret\r\n")
            .status,
        200
    );
}
