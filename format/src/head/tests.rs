//! Heads as they are written, and every other way to write one.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::object_id_of;

fn sample() -> Head {
    let pack = |byte, size| PackRef {
        id: PackId::from_bytes([byte; 32]),
        size,
        prelude: 120,
    };
    Head {
        model: "lab-a".into(),
        serial: 9,
        generation: 3,
        created: -5,
        manifest: ManifestRef {
            id: object_id_of(b"manifest"),
            size: 8,
            entries: 7,
        },
        content: 12,
        packs: vec![pack(1, 1000), pack(2, 120)],
        deltas: vec![DeltaRef {
            from: 2,
            pack: pack(3, 500),
        }],
    }
}

#[test]
fn a_head_comes_back_as_it_was_written() {
    assert_eq!(Head::parse(&sample().encode()).unwrap(), sample());
}

#[test]
fn every_line_is_needed_and_no_other_is_accepted() {
    let text = sample().encode();
    let lines: Vec<&str> = text.lines().collect();
    for missing in 0..7 {
        let rest: Vec<&str> = lines
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != missing)
            .map(|(_, l)| *l)
            .collect();
        assert!(
            Head::parse(&rest.join("\n")).is_err(),
            "without `{}`",
            lines[missing]
        );
    }
    assert!(Head::parse(&format!("{text}colour blue\n")).is_err());
    let late = format!("{text}pack {} 200 120\n", PackId::from_bytes([4; 32]));
    assert!(Head::parse(&late).is_err());
}

#[test]
fn a_head_is_written_in_one_way_only() {
    let text = sample().encode();
    for (from, to) in [
        ("serial 9", "serial +9"),
        ("serial 9", "serial 09"),
        ("created -5", "created -05"),
        ("\n", "\r\n"),
        ("1000 120\n", "1000 0120\n"),
    ] {
        let other = text.replace(from, to);
        assert_ne!(other, text, "{from}");
        assert!(Head::parse(&other).is_err(), "{to:?}");
    }
    assert!(Head::parse(text.trim_end()).is_err());
    assert!(Head::parse(&format!("{text}\n")).is_err());
}

#[test]
fn nothing_may_stand_around_the_lines_of_a_signature() {
    let signature = "untrusted comment: x\nAA\ntrusted comment: y\nBB\n";
    let file = |signature: &str| format!("body\n{signature}");
    assert_eq!(
        split(file(signature).as_bytes()).unwrap(),
        ("body\n", signature)
    );
    for bad in [
        &signature[..signature.len() - 1],
        &format!("{signature}\n"),
        &format!("{signature}more\n"),
        &signature.replace('\n', "\r\n"),
    ] {
        assert!(split(file(bad).as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn figures_that_contradict_each_other_are_refused() {
    let change = |change: fn(&mut Head)| {
        let mut head = sample();
        change(&mut head);
        Head::parse(&head.encode())
    };
    assert!(change(|head| head.serial = 2).is_err());
    assert!(change(|head| head.generation = 0).is_err());
    assert!(change(|head| head.manifest.entries = 0).is_err());
    assert!(change(|head| head.packs.clear()).is_err());
    assert!(change(|head| head.packs[0].prelude = 1001).is_err());
    assert!(change(|head| head.packs[0].prelude = 119).is_err());
    assert!(change(|head| head.packs[1] = head.packs[0].clone()).is_err());
    assert!(change(|head| head.deltas[0].from = 3).is_err());
    assert!(change(|head| head.deltas[0].from = 0).is_err());
    assert!(change(|head| head.deltas.push(head.deltas[0].clone())).is_err());
    assert!(change(|head| head.model = "../x".into()).is_err());
    assert!(change(|head| head.model = "a b".into()).is_err());
}

#[test]
fn a_newer_head_says_so() {
    let newer = sample()
        .encode()
        .replace("reclone-head 1", "reclone-head 2");
    assert!(matches!(
        Head::parse(&newer),
        Err(Error::Version {
            found: 2,
            known: 1,
            ..
        })
    ));
}
