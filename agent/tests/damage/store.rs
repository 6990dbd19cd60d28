//! A store that is damaged: it is refused by name, and the old generation stays.

use std::fs;

use reclone_format::pack::HEADER;
use reclone_format::{Head, PackHeader, PackRef, head};

use crate::mounts::is_root;
use crate::programs::{Site, complaint, succeed};
use crate::tree_compare::{differences, look};
use crate::{DAMAGES, Part, change, site};

fn first_pack(site: &Site) -> PackRef {
    let bytes = fs::read(site.store.join("head")).unwrap();
    let head = Head::parse(head::split(&bytes).unwrap().0).unwrap();
    head.packs[0].clone()
}

/// What a sync says about the damage, with the store's place cut off; and that it changed nothing.
fn refused(site: &Site, status: i32) -> String {
    let before = fs::read(site.pool.join("state")).unwrap();
    let said = complaint(&mut site.sync(), status);
    assert_eq!(fs::read(site.pool.join("state")).unwrap(), before);
    said.replace(&format!("{}/", site.store.display()), "")
}

#[test]
fn a_damaged_store_is_refused_by_name_and_the_old_generation_stays() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let model = look(&site.tree);
    change(&site, 2);
    let pack = first_pack(&site);
    let place = pack.id.store_path();
    let file = site.store.join(&place);
    let header = PackHeader::parse(&fs::read(&file).unwrap()[..HEADER]).unwrap();
    let part = |from, to| Part {
        file: file.clone(),
        range: (from, to),
    };
    let gone = |name: &str| (4, format!("{name}: No such file or directory (os error 2)"));
    let short = |size: u64, length: u64, from: u64| {
        let what = format!("has {size} bytes, {length} from {from} were expected");
        (5, format!("{place}: {what}"))
    };
    let (index, prelude, end) = (header.index_end(), pack.prelude, pack.size);
    let damaged = |what: &str| (5, format!("{place}: {what}"));
    // Either zstd notices, or the id of what it made.
    let frame = "";
    let signature = "head: The head is not signed by the trusted key: ";
    let cases = [
        (
            Part::whole(site.store.join("head")),
            [
                (5, format!("{signature}it carries no signature")),
                gone("head"),
                (5, format!("{signature}The signature verification failed")),
            ],
        ),
        (
            part(0, index),
            [
                short(index / 2, prelude, 0),
                gone(&place),
                damaged("The pack is malformed: its name is "),
            ],
        ),
        (
            part(index, prelude),
            [
                short((index + prelude) / 2, prelude, 0),
                gone(&place),
                damaged(frame),
            ],
        ),
        (
            part(prelude, end),
            [
                short((prelude + end) / 2, end - prelude, prelude),
                gone(&place),
                damaged(frame),
            ],
        ),
    ];
    for (part, said) in &cases {
        for (damage, (status, line)) in DAMAGES.into_iter().zip(said) {
            let before = part.damage(damage);
            let said = refused(&site, *status);
            assert!(said.starts_with(line), "{damage:?}: {said}");
            let frame = said.contains(": The frame is malformed: ") || said.contains(": Object ");
            assert_eq!(frame, *line == format!("{place}: "), "{damage:?}: {said}");
            fs::write(&part.file, before).unwrap();
        }
    }
    if is_root() {
        let assembled = site.assemble(&folder.path().join("root"), None);
        assert_eq!(
            differences(&model, &look(&assembled.0)),
            Vec::<String>::new()
        );
    }
    succeed(&mut site.sync());
    assert_eq!(site.status()["current"].as_u64(), Some(2));
}

#[test]
fn what_is_no_file_in_a_store_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    change(&site, 2);
    let place = first_pack(&site).id.store_path();
    for name in ["head", &place] {
        let path = site.store.join(name);
        let before = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(refused(&site, 5), format!("{name}: not a regular file"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(refused(&site, 5), format!("{name}: not a regular file"));
        fs::remove_dir(&path).unwrap();
        fs::write(&path, before).unwrap();
    }
    succeed(&mut site.sync());
}
