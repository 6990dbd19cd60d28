//! Files that every reader must refuse, each broken in one place.

use reclone_format::{DeltaRef, Head, PackHeader, patch};

use crate::Golden;
use crate::sample::Sample;
use crate::support::*;

/// Writes `refused/…`.
pub fn write(golden: &Golden, sample: &Sample) {
    heads(golden, &sample.head, &sample.signed);
    headers(golden, sample);
    entries(golden);
    links(golden);
    indexes(golden);
    frames(golden);
    patches(golden);
}

fn heads(golden: &Golden, head: &Head, signed: &[u8]) {
    let body = head.encode();
    let text = String::from_utf8(signed.into()).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        golden.write(&format!("refused/head/{name}"), bytes);
    };
    write("unsigned", body.as_bytes());
    write("altered", text.replace("serial 1", "serial 2").as_bytes());
    write("signature-goes-on", format!("{text}more\n").as_bytes());
    write("signature-cut", text.trim_end().as_bytes());
    // The key's number is the 8 bytes after the algorithm: change one base64 digit inside it.
    let line = text.lines().rev().nth(2).unwrap();
    let other = format!(
        "{}{}{}",
        &line[..6],
        if &line[6..7] == "A" { "B" } else { "A" },
        &line[7..]
    );
    write("other-key", text.replace(line, &other).as_bytes());
    let sign = |name: &str, from: &str, to: &str| {
        let changed = body.replacen(from, to, 1);
        assert_ne!(changed, body, "{name}");
        write(name, &golden.sign(&changed));
    };
    sign("version-2", "reclone-head 1", "reclone-head 2");
    sign("plus-sign", "serial 1", "serial +1");
    sign("leading-zero", "generation 1", "generation 01");
    sign("carriage-return", "model lab-a\n", "model lab-a\r\n");
    sign("model-name", "model lab-a", "model ../a");
    sign("line-missing", "content ", "colour ");
    sign("generation-above-serial", "generation 1", "generation 2");
    let mut twice = head.clone();
    twice.packs.push(head.packs[0].clone());
    write("pack-twice", &golden.sign(&twice.encode()));
    let mut own = head.clone();
    own.deltas.push(DeltaRef {
        from: 1,
        pack: head.packs[0].clone(),
    });
    write("delta-from-itself", &golden.sign(&own.encode()));
    let mut long = head.clone();
    long.packs[0].prelude = long.packs[0].size + 1;
    write("prelude-too-long", &golden.sign(&long.encode()));
}

/// The good bytes with a few changed.
fn changed(good: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut bad = good.to_vec();
    bad[at..at + bytes.len()].copy_from_slice(bytes);
    bad
}

fn headers(golden: &Golden, sample: &Sample) {
    let write = |name: &str, bytes: &[u8]| {
        golden.write(&format!("refused/{name}"), bytes);
    };
    let good = &sample.manifest;
    write("manifest/magic", &changed(good, 0, b"X"));
    write("manifest/version-2", &changed(good, 8, &[2]));
    write("manifest/no-entries", &changed(good, 12, &[0; 4]));
    write("manifest/too-many-entries", &changed(good, 12, &[0xff; 4]));
    write("manifest/content-sum", &changed(good, 16, &[0]));
    write("manifest/reserved", &changed(good, 31, &[1]));
    write("manifest/cut", &good[..good.len() - 1]);
    write("manifest/goes-on", &[good, &[0u8][..]].concat());
    let end = PackHeader::parse(&sample.pack).unwrap().index_end() as usize;
    let good = &sample.pack[..end];
    write("pack/magic", &changed(good, 0, b"X"));
    write("pack/version-2", &changed(good, 8, &[2]));
    write("pack/no-frames", &changed(good, 12, &[0; 4]));
    write("pack/too-many-objects", &changed(good, 16, &[0xff; 4]));
    write("pack/reserved", &changed(good, 63, &[1]));
    write("pack/cut", &good[..end - 1]);
}

fn entries(golden: &Golden) {
    let write = |name: &str, parts: &[Vec<u8>]| {
        golden.write(&format!("refused/manifest/{name}"), &tree(parts));
    };
    let one = |name: &str, part: Vec<u8>| write(name, &[top(), part]);
    write("first-not-top", &[directory(0, b"a")]);
    one("path-up", directory(0, b"../a"));
    one("path-here", directory(0, b"."));
    one("path-absolute", directory(0, b"/etc"));
    one("path-nul", directory(0, b"a\0b"));
    one("name-too-long", directory(0, &[b'x'; 256]));
    one("shares-too-much", directory(1, b"a"));
    let repeats = [top(), directory(0, b"ab"), directory(0, b"ac")];
    write("shares-too-little", &repeats);
    let order = [top(), directory(0, b"b"), directory(0, b"a")];
    write("out-of-order", &order);
    write("twice", &[top(), directory(0, b"a"), directory(1, b"")]);
    one("no-parent", directory(0, b"a/b"));
    write("parent-is-file", &[top(), empty(0, b"a"), empty(1, b"/b")]);
    one("unknown-type", entry(9, 0, b"a", &[&PLAIN]));
    let meta = |at: usize, bytes: &[u8]| {
        let plain = changed(&PLAIN, at, bytes);
        entry(DIRECTORY, 0, b"a", &[&plain])
    };
    one("permissions", meta(0, &[0, 0x10]));
    one("owner", meta(2, &[0xff; 4]));
    one("nanoseconds", meta(18, &1_000_000_000u32.to_le_bytes()));
    let xattr = |name: &[u8]| [&[name.len() as u8, 0, 0, 0, 0][..], name].concat();
    let two = [xattr(b"user.b"), xattr(b"user.a")].concat();
    let plain = changed(&PLAIN, 22, &[2]);
    let unsorted = entry(DIRECTORY, 0, b"a", &[&plain, &two]);
    one("xattrs-unsorted", unsorted);
    let (id, _) = named(b"x");
    one("empty-with-id", file(0, b"a", 0, &id));
    one("too-large", file(0, b"a", (1 << 60) + 1, &id));
    let device = [4096u32.to_le_bytes(), [0; 4]].concat();
    one("device", entry(CHAR_DEVICE, 0, b"a", &[&PLAIN, &device]));
    one("no-target", entry(SYMLINK, 0, b"a", &[&PLAIN, &[0, 0]]));
}

fn links(golden: &Golden) {
    let write = |name: &str, parts: &[Vec<u8>]| {
        golden.write(&format!("refused/manifest/{name}"), &tree(parts));
    };
    write("link-to-directory", &[top(), hard_link(0, b"a", 0)]);
    write("link-to-itself", &[top(), hard_link(0, b"a", 1)]);
    let ahead = [top(), hard_link(0, b"a", 2), empty(0, b"b")];
    write("link-ahead", &ahead);
    let chain = [
        top(),
        empty(0, b"a"),
        hard_link(0, b"b", 1),
        hard_link(0, b"c", 2),
    ];
    write("link-to-link", &chain);
}

fn indexes(golden: &Golden) {
    let write = |name: &str, frames: &[RawFrame]| {
        golden.write(&format!("refused/pack/{name}"), &pack(frames).0);
    };
    let good = || frame(0, &[], &[b"one"], b"one");
    let one = |name: &str, change: fn(&mut RawFrame)| {
        let mut frame = good();
        change(&mut frame);
        write(name, &[frame]);
    };
    one("codec-4", |frame| frame.codec = 4);
    one("window-28", |frame| {
        (frame.codec, frame.window_log) = (1, 28)
    });
    one("window-9", |frame| (frame.codec, frame.window_log) = (1, 9));
    one("stored-with-window", |frame| frame.window_log = 17);
    one("stored-with-base", |frame| {
        frame.bases = vec![named(b"old")]
    });
    one("stored-with-other-length", |frame| frame.payload.push(0));
    one("empty-object", |frame| frame.objects.push(named(b"")));
    one("repacked-without-base", |frame| {
        (frame.codec, frame.window_log) = (3, 17)
    });
    one("patch-without-base", |frame| {
        (frame.codec, frame.window_log) = (2, 17)
    });
    let big = (named(b"old").0, (1 << 28) + 1);
    let mut large = frame(1, &[], &[b"one"], b"one");
    large.bases.push(big);
    write("bases-too-large", &[large]);
    write("base-is-own-object", &[frame(1, &[b"a"], &[b"a"], b"x")]);
    let cycle = [
        frame(1, &[b"b"], &[b"a"], b"x"),
        frame(1, &[b"a"], &[b"b"], b"x"),
    ];
    write("base-from-later-frame", &cycle);
}

fn frames(golden: &Golden) {
    let write = |name: &str, frame: RawFrame| {
        golden.write(&format!("refused/frame/{name}"), &pack(&[frame]).0);
    };
    let good = compress(b"one", &[]);
    write("other-content", frame(0, &[], &[b"one"], b"two"));
    write("not-zstd", frame(1, &[], &[b"one"], b"not zstd"));
    write("cut", frame(1, &[], &[b"one"], &good[..good.len() - 1]));
    let goes_on = [&good[..], b"x"].concat();
    write("goes-on", frame(1, &[], &[b"one"], &goes_on));
    write(
        "two-zstd-frames",
        frame(1, &[], &[b"one", b"one"], &good.repeat(2)),
    );
    write("too-short", frame(1, &[], &[b"one", b"two"], &good));
    let bomb = compress(&[&b"one"[..], &vec![0; 16 << 20]].concat(), &[]);
    write("bomb", frame(1, &[], &[b"one"], &bomb));
    let mut window = frame(1, &[], &[b"one"], &good);
    window.window_log = 16;
    write("window-above-index", window);
}

/// All of one patch: 3 bytes of base `old`, then `!`.
fn patches(golden: &Golden) {
    let write = |name: &str, payload: &[u8]| {
        let frame = frame(2, &[b"old"], &[b"old!"], payload);
        golden.write(&format!("refused/patch/{name}"), &pack(&[frame]).0);
    };
    let steps = |name: &str, steps: &[patch::Step], diff: &[u8], extra: &[u8]| {
        write(name, &patch::encode(steps, diff, extra, 17).unwrap());
    };
    let none = [0; 3];
    steps("step-too-long", &[(3, 2, 0)], &none, b"!!");
    steps("step-empty", &[(0, 0, 0), (3, 1, 0)], &none, b"!");
    steps("step-out-of-base", &[(4, 0, 0)], &[0; 4], b"");
    steps("seek-out-of-base", &[(2, 0, -3), (1, 1, 0)], &none, b"!");
    steps("step-too-many", &[(3, 1, 0), (1, 0, 0)], &none, b"!");
    steps("control-too-short", &[(3, 0, 0)], &none, b"!");
    steps("difference-too-short", &[(3, 1, 0)], &[0; 2], b"!");
    steps("difference-too-long", &[(3, 1, 0)], &[0; 4], b"!");
    steps("extra-too-short", &[(3, 1, 0)], &none, b"");
    steps("extra-too-long", &[(3, 1, 0)], &none, b"!!");
    let good = patch::encode(&[(3, 1, 0)], &none, b"!", 17).unwrap();
    write("goes-on", &[&good[..], b"x"].concat());
    write("lengths", &changed(&good, 0, &(65u64 << 20).to_le_bytes()));
    write("cut", &good[..20]);
}
