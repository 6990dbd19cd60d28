//! Heads, packs and manifests of someone who has the right key and means harm, and links planted in a pool. Each is refused in
//! one clear line, in little memory, and the current generation stays current. What each parser refuses is told in
//! `format/tests/hostile.rs`; here it is the program that refuses it.
#![allow(clippy::unwrap_used)]

mod bytes;
mod forger;
mod planted;

#[path = "../support/programs.rs"]
mod programs;
#[path = "../../../format/tests/support/mod.rs"]
mod raw;

use std::fs;

use minisign::KeyPair;
use reclone_format::Head;

use forger::{Forger, Pack, honest, signed_with};
use programs::{complaint, succeed};

/// A clone with generation 1 of an honest store.
fn forger(folder: &tempfile::TempDir) -> Forger {
    let forger = Forger::new(folder.path());
    forger.publish_honestly(1, b"honest");
    succeed(&mut forger.sync());
    forger
}

/// A sync must fail with this line and status, and leave everything as it is.
#[track_caller]
fn refused(forger: &Forger, status: i32, line: &str) {
    let before = fs::read(forger.record()).unwrap();
    let said = complaint(&mut forger.sync(), status);
    let store = forger.site.store.display().to_string();
    assert_eq!(said.replace(&store, "STORE"), line);
    assert!(said.len() < 600, "one line");
    assert_eq!(fs::read(forger.record()).unwrap(), before);
    assert_eq!(forger.site.status()["current"].as_u64(), Some(1));
}

#[test]
fn a_head_that_the_right_key_did_not_sign_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    let (manifest, pack) = honest(b"next");
    forger.put(&[&pack]);
    let body = forger.head(&manifest, 2, &[&pack]).encode();

    forger.publish(&body);
    refused(
        &forger,
        5,
        "STORE/head: The head is not signed by the trusted key: it carries no signature",
    );
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    forger.publish(signed_with(&other, &body));
    refused(
        &forger,
        5,
        "STORE/head: The head is not signed by the trusted key: The signature was created with a different key than the one provided",
    );
    forger.publish(forger.signed(&body).replace("serial 2", "serial 3"));
    refused(
        &forger,
        5,
        "STORE/head: The head is not signed by the trusted key: The signature verification failed",
    );
    forger.publish(forger.signed(&body) + "\n");
    refused(
        &forger,
        5,
        "STORE/head: The head is not signed by the trusted key: its signature is not four lines, each ended by one newline",
    );
    forger.publish(vec![b'x'; (1 << 20) + 1]);
    refused(
        &forger,
        5,
        "STORE/head: the head is longer than 1048576 bytes",
    );
    forger.publish(forger.signed(&body));
    succeed(&mut forger.sync());
}

#[test]
fn a_head_that_does_not_go_forward_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let forger = Forger::new(folder.path());
    let (manifest, pack) = honest(b"first");
    forger.put(&[&pack]);
    let first = Head {
        serial: 7,
        generation: 1,
        ..forger.head(&manifest, 2, &[&pack])
    };
    forger.publish(forger.signed(&first.encode()));
    succeed(&mut forger.sync());
    let (manifest, pack) = honest(b"next");
    forger.put(&[&pack]);
    let next = forger.head(&manifest, 2, &[&pack]);

    let cases = [
        (
            Head {
                serial: 6,
                ..next.clone()
            },
            "The head has serial 6, this clone has already seen 7: an old copy of the store is refused; publish again on the model",
        ),
        (
            Head {
                serial: 7,
                ..next.clone()
            },
            "The head is not the one that this clone saw under the same serial 7: two models publish with one key; publish again on the right one",
        ),
        (
            Head {
                serial: 8,
                generation: 1,
                ..next.clone()
            },
            "The store's generation 1 is not the one that this clone has under the same number: publish again on the model",
        ),
        (
            Head {
                serial: 8,
                model: "other".into(),
                ..next.clone()
            },
            "The store publishes the model `other`, this clone follows `test`: name the right store, or the model with --model or reclone.model=",
        ),
    ];
    for (head, line) in cases {
        forger.publish(forger.signed(&head.encode()));
        refused(&forger, 5, line);
    }
    // A serial that was refused with its head was not seen.
    forger.publish(forger.signed(&Head { serial: 8, ..next }.encode()));
    succeed(&mut forger.sync());
}

#[test]
fn a_signed_head_that_says_absurd_things_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    let (manifest, pack) = honest(b"next");
    forger.put(&[&pack]);
    let body = forger.head(&manifest, 2, &[&pack]).encode();
    let many: String = (0..4097)
        .map(|at| format!("pack {at:064x} 120 120\n"))
        .collect();
    let id = raw::named(&manifest).0;
    let cases = [
        (
            body.replace("reclone-head 1", "reclone-head 2"),
            "STORE/head: The head has format version 2, this program reads 1: install a newer reclone on this machine",
        ),
        (
            body.clone() + &many,
            "STORE/head: The head is malformed: it names no pack, or too many",
        ),
        (
            body.replace("model test", "model ../../etc"),
            "STORE/head: The head is malformed: its model name is not 1 to 64 letters, digits, `.`, `_` or `-`",
        ),
        (
            body.replace("pack ", "pack ../"),
            "STORE/head: The id is malformed: it is not 64 lower-case hexadecimal digits",
        ),
        (
            body.replace(
                &format!("{id} {} 2", manifest.len()),
                &format!("{id} {} 67108865", u64::MAX),
            ),
            "STORE/head: The head is malformed: its manifest is impossibly small or large",
        ),
    ];
    for (body, line) in cases {
        forger.publish(forger.signed(&body));
        refused(&forger, 5, line);
    }
}

#[test]
fn a_manifest_that_is_said_to_be_larger_than_the_disk_is_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    let (manifest, pack) = honest(b"next");
    forger.put(&[&pack]);
    let mut head = forger.head(&manifest, 2, &[&pack]);
    head.manifest.size = u64::MAX;
    forger.publish(forger.signed(&head.encode()));
    let said = complaint(&mut forger.sync(), 6);
    let start = format!(
        "{}: 17592186044415 MiB are needed, ",
        forger.site.pool.display()
    );
    let end =
        " MiB are free: make room on this disk, or put the pool on a larger one with pool-device";
    assert!(said.starts_with(&start) && said.ends_with(end), "{said}");
    // One that would fit but is not in the pack.
    head.manifest.size = 1 << 20;
    forger.publish(forger.signed(&head.encode()));
    let line = format!(
        "The store has no usable copy of object {}: run `reclone-model verify` on the store",
        head.manifest.id
    );
    refused(&forger, 5, &line);
}

/// A head and a pack whose only frame is this manifest; what it says of its entries is right, whatever it really has.
fn publish_manifest(forger: &Forger, manifest: &[u8], entries: u32) {
    let payload = raw::compress(manifest, &[]);
    let pack = Pack::new(&[raw::frame(1, &[], &[manifest], &payload)]);
    forger.put(&[&pack]);
    let head = forger.head(manifest, entries, &[&pack]);
    forger.publish(forger.signed(&head.encode()));
}

#[test]
fn a_manifest_that_could_harm_the_tree_is_refused() {
    use raw::*;
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    let link = entry(SYMLINK, 0, b"a", &[&PLAIN, &[4, 0], b"/etc"]);
    let twice = "manifest: The manifest is malformed: /a: it is out of order, or there twice";
    let cases = [
        (
            tree(&[top(), directory(0, b"a/../../etc/passwd")]),
            "manifest: The path is malformed: a/../../etc/passwd: it has a part `.` or `..`",
        ),
        (
            tree(&[top(), directory(0, b"/etc")]),
            "manifest: The path is malformed: /etc: it has an empty part",
        ),
        (
            tree(&[top(), empty(0, b"a\nERROR: boot failed\x1b[2J/..")]),
            "manifest: The path is malformed: a\\nERROR: boot failed\\x1b[2J/..: it has a part `.` or `..`",
        ),
        (
            tree(&[top(), link, empty(1, b"/passwd")]),
            "manifest: The manifest is malformed: /a/passwd: its parent is not a directory of this manifest",
        ),
        (tree(&[top(), empty(0, b"a"), empty(1, b"")]), twice),
        (tree(&[top(), empty(0, b"a"), hard_link(1, b"", 1)]), twice),
        (
            tree(&[top(), empty(0, b"b"), hard_link(0, b"c", 2)]),
            "manifest: The manifest is malformed: /c: it links to entry 2, which is not the first name of an earlier file",
        ),
    ];
    for (manifest, line) in cases {
        let entries = u32::from_le_bytes(manifest[12..16].try_into().unwrap());
        publish_manifest(&forger, &manifest, entries);
        refused(&forger, 5, line);
    }
}

#[test]
fn a_manifest_is_not_believed_its_figures() {
    use raw::*;
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    let id = named(b"x").0;
    let exa: Vec<Vec<u8>> = (0..16u8)
        .map(|at| file(0, &[b'a' + at], 1 << 60, &id))
        .collect();
    let exa = [vec![top()], exa].concat();
    let mut newer = tree(&[top()]);
    newer[8] = 2;
    let xattrs = [&PLAIN[..22], &[1, 0], &[1], &u32::MAX.to_le_bytes(), b"x"].concat();
    let cases = [
        (
            manifest(1 << 26, 0, &[top()]),
            1 << 26,
            "manifest: The manifest is malformed: it ends early",
        ),
        (
            tree(&[top()]),
            1 << 26,
            "manifest: The head is malformed: its entries or its content are not those of its manifest",
        ),
        (
            manifest(17, 0, &exa),
            17,
            "manifest: The manifest is malformed: /p: the contents add up to more than 2^64 bytes",
        ),
        (
            tree(&[entry(DIRECTORY, 0, b"", &[&xattrs])]),
            1,
            "manifest: The manifest is malformed: an xattr value has 4294967295 bytes, at most 65536 are allowed",
        ),
        (
            newer,
            1,
            "manifest: The manifest has format version 2, this program reads 1: install a newer reclone on this machine",
        ),
    ];
    for (manifest, entries, line) in cases {
        publish_manifest(&forger, &manifest, entries);
        refused(&forger, 5, line);
    }
    let sizes = [top(), file(0, b"a", 1, &id), file(0, b"b", 2, &id)];
    publish_manifest(&forger, &manifest(3, 3, &sizes), 3);
    let line = format!("manifest: The manifest is malformed: it names object {id} with two sizes");
    refused(&forger, 5, &line);
    let lost = manifest(2, 1 << 60, &[top(), file(0, b"file", 1 << 60, &id)]);
    publish_manifest(&forger, &lost, 2);
    let line = format!(
        "The store has no usable copy of object {id}: run `reclone-model verify` on the store"
    );
    refused(&forger, 5, &line);
}
