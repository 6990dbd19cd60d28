//! Packs and frames that lie: counts, lengths, circles, bombs.

use reclone_format::Head;

use crate::forger::{Forger, Pack, honest, one_file};
use crate::programs::{complaint, succeed};
use crate::raw::{RawFrame, compress, frame, named};
use crate::{forger, refused};

/// Publishes a tree with one file of this content, and these frames for it behind the manifest's.
fn publish_frames(forger: &Forger, content: &[u8], frames: &[RawFrame]) -> Pack {
    let (id, size) = named(content);
    publish_file(forger, &one_file(&id, size), frames)
}

fn publish_file(forger: &Forger, manifest: &[u8], frames: &[RawFrame]) -> Pack {
    let first = [frame(0, &[], &[manifest], manifest)];
    let pack = Pack::new(&[&first[..], frames].concat());
    forger.put(&[&pack]);
    let head = forger.head(manifest, 2, &[&pack]);
    forger.publish(forger.signed(&head.encode()));
    pack
}

/// Publishes `pack` under a head that says of it what it says of itself.
fn publish_pack(forger: &Forger, pack: &Pack) {
    forger.put(&[pack]);
    let manifest = honest(b"next").0;
    let head = forger.head(&manifest, 2, &[pack]);
    forger.publish(forger.signed(&head.encode()));
}

#[test]
fn a_pack_is_not_believed_its_figures() {
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    let next = || honest(b"next").1;
    let max = u32::MAX.to_le_bytes();
    let many = (1u32 << 26).to_le_bytes();
    let cases = [
        (
            next().with(8, &2u32.to_le_bytes()),
            "The pack has format version 2, this program reads 1: install a newer reclone on this machine",
        ),
        (
            next().with(0, b"RCLNMANI"),
            "The pack is malformed: its first bytes are not those of a pack",
        ),
        (
            next().with(12, &[max, max, max].concat()),
            "The pack is malformed: its counts are impossible: 4294967295 frames, 4294967295 objects, 4294967295 bases",
        ),
        (
            next().with(12, &[many, many, many].concat()),
            "The pack is malformed: its index is longer than the head says",
        ),
        (
            // The second frame's length.
            next().with(80, &u64::MAX.to_le_bytes()),
            "The pack is malformed: a frame's figures do not fit its codec",
        ),
        (
            next().with(88, &[7]),
            "The pack is malformed: a frame has the unknown codec 7",
        ),
    ];
    for (pack, line) in cases {
        publish_pack(&forger, &pack);
        refused(
            &forger,
            5,
            &format!("{}: {line}", pack.said.id.store_path()),
        );
    }
}

#[test]
fn what_a_head_says_of_a_pack_must_be_true() {
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    let (manifest, pack) = honest(b"next");
    forger.put(&[&pack]);
    let place = pack.said.id.store_path();
    let publish = |change: fn(&mut Head)| {
        let mut head = forger.head(&manifest, 2, &[&pack]);
        change(&mut head);
        forger.publish(forger.signed(&head.encode()));
    };
    publish(|head| head.packs[0].size += 1);
    let line =
        format!("{place}: The pack is malformed: its size is not the one that the head says");
    refused(&forger, 5, &line);
    publish(|head| (head.packs[0].size, head.packs[0].prelude) = (1 << 40, 1 << 40));
    let line = format!(
        "STORE/{place}: has {} bytes, 1099511627776 from 0 were expected",
        pack.bytes.len()
    );
    refused(&forger, 5, &line);
    // A name that other bytes have.
    let other = Pack::new(&[frame(0, &[], &[b"x"], b"x")]);
    std::fs::write(forger.site.store.join(&place), &other.bytes).unwrap();
    publish(|head| head.packs[0].prelude = 121);
    let line = format!(
        "{place}: The pack is malformed: its name is {}, but its index has the digest {}",
        pack.said.id, other.said.id
    );
    refused(&forger, 5, &line);
}

#[test]
fn bases_that_go_in_circles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    let content = b"the file";
    let patch = |base: &[u8], object: &[u8]| frame(1, &[base], &[object], &compress(object, base));
    let pack = publish_frames(
        &forger,
        content,
        &[patch(b"other", content), patch(content, b"other")],
    );
    let line = format!(
        "{}: The pack is malformed: a frame needs object {} before the pack yields it",
        pack.said.id.store_path(),
        named(b"other").0
    );
    refused(&forger, 5, &line);

    // Over two packs: no pack alone shows it, and nobody looks for a base of a base for ever.
    let manifest = one_file(&named(content).0, content.len() as u64);
    let first = Pack::new(&[
        frame(0, &[], &[&manifest], &manifest),
        patch(b"other", content),
    ]);
    let second = Pack::new(&[patch(content, b"other")]);
    forger.put(&[&first, &second]);
    let head = forger.head(&manifest, 2, &[&first, &second]);
    forger.publish(forger.signed(&head.encode()));
    let line = format!(
        "The store has no usable copy of object {}: run `reclone-model verify` on the store",
        named(content).0
    );
    refused(&forger, 5, &line);
}

#[test]
fn a_frame_that_yields_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    let zeros = vec![0; 64 << 20];
    let bomb = compress(&zeros, &[]);
    assert!(bomb.len() < 8192, "{} bytes", bomb.len());
    let small = |payload: &[u8]| frame(1, &[], &[b"small"], payload);
    let mut large = small(&bomb);
    large.objects[0].1 = 1 << 60;
    let damaged = format!(
        "Object {} is damaged: its content has the id {}",
        named(b"small").0,
        named(&[0; 5]).0
    );
    let cases = [
        (small(&bomb), &damaged[..]),
        (frame(0, &[], &[b"small"], &[0; 5]), &damaged),
        (
            small(&compress(b"small and more", &[])),
            "The frame is malformed: it yields more bytes than its objects have",
        ),
        (
            small(&compress(b"sma", &[])),
            "The frame is malformed: it ends before its last object does",
        ),
        (
            small(b"not zstd"),
            "The frame is malformed: it does not decompress: Unknown frame descriptor",
        ),
        (
            large,
            "The frame is malformed: it ends before its last object does",
        ),
    ];
    for (bad, line) in cases {
        let (id, size) = bad.objects[0];
        // An object that came before the fault is whole, and the next sync would take it over.
        std::fs::remove_dir_all(forger.site.pool.join("staging")).unwrap_or_default();
        let pack = publish_file(&forger, &one_file(&id, size), &[bad]);
        refused(
            &forger,
            5,
            &format!("{}: {line}", pack.said.id.store_path()),
        );
    }
    assert!(
        !forger
            .site
            .pool
            .join("objects")
            .join(named(b"small").0.pool_path())
            .exists()
    );
}

#[test]
fn a_bomb_of_one_file_ends_with_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    // 2^50 bytes that are not zero and come in a frame of 2^44: no disk here has room for it.
    let id = named(b"never").0;
    let manifest = one_file(&id, 1 << 50);
    let mut pack = Pack::new(&[
        frame(0, &[], &[&manifest], &manifest),
        RawFrame {
            codec: 1,
            window_log: 17,
            bases: Vec::new(),
            objects: vec![(id, 1 << 50)],
            payload: vec![0; 8],
        },
    ]);
    pack = pack.with(80, &(1u64 << 44).to_le_bytes());
    pack.said.size += (1 << 44) - 8;
    forger.put(&[&pack]);
    let head = forger.head(&manifest, 2, &[&pack]);
    forger.publish(forger.signed(&head.encode()));
    let said = complaint(&mut forger.sync(), 6);
    assert!(said.contains(": 1073741840 MiB are needed, "), "{said}");
    assert_eq!(forger.site.status()["current"].as_u64(), Some(1));
    forger.publish_honestly(2, b"honest again");
    succeed(&mut forger.sync());
}
