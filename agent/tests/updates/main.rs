//! Updates by delta packs: what is asked of the store, and what happens where a delta does not fit; what is fetched before
//! it is committed, what a look says, and what a first clone need not fetch.
#![allow(clippy::unwrap_used)]

mod model;
mod plain_root;
mod preview;
mod staged;

#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../../../format/tests/support/mod.rs"]
mod raw;
#[path = "../support/server.rs"]
mod server;

use std::fs;
use std::path::Path;

use model::{Model, Tree, patched, prefixed, whole};
use noise::noise;
use programs::{Site, fail, succeed};
use reclone_format::PackRef;
use server::FaultyServer;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A tree whose files are long, do not compress, and differ from one version to the next in a few bytes.
fn tree(version: u8) -> Tree {
    let files = NAMES.iter().zip(1..);
    files
        .map(|(name, seed)| (*name, content(seed, version)))
        .collect()
}

fn content(seed: u64, version: u8) -> Vec<u8> {
    let mut content = noise(60_000, seed);
    for at in (0..content.len()).step_by(10_000) {
        content[at] = version;
    }
    content.extend([version; 100]);
    content
}

/// A frame for each file of version 2, made from version 1.
fn patches() -> Vec<raw::RawFrame> {
    let patch = |seed| patched(&content(seed, 1), &content(seed, 2));
    (1..=4).map(patch).collect()
}

/// A model with generation 1, which its clone has, and `more` further ones; and a server for it.
fn site(folder: &Path, more: u8) -> (Model, FaultyServer) {
    let mut model = Model::new(folder);
    model.publish(tree(1));
    succeed(&mut model.site.sync());
    for version in 2..2 + more {
        model.publish(tree(version));
    }
    (model, FaultyServer::start())
}

/// Syncs over HTTP; gives the paths that were asked for, and what was said.
fn sync(model: &Model, server: &FaultyServer) -> (Vec<String>, String) {
    model.serve(server);
    server.asked();
    let (stdout, stderr) = succeed(&mut model.site.sync_from(server.url()));
    let asked = server.asked();
    (
        asked.into_iter().map(|it| it.path).collect(),
        stdout + &stderr,
    )
}

fn packs(packs: &[&PackRef]) -> Vec<String> {
    packs
        .iter()
        .map(|pack| format!("/{}", pack.id.store_path()))
        .collect()
}

fn asked_for(first: &[&str], then: &[&PackRef]) -> Vec<String> {
    let first = first.iter().map(|path| (*path).to_owned());
    first.chain(packs(then)).collect()
}

#[test]
fn an_update_by_a_delta_is_one_request_beside_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 1);
    let delta = model.publish_patches(1);
    assert!(delta.size < 5000, "{}", delta.size);
    server.sent();
    let (asked, said) = sync(&model, &server);
    assert_eq!(asked, asked_for(&["/head"], &[&delta]));
    assert!(
        said.starts_with("generation 2 is current: 4 objects"),
        "{said}"
    );
    assert!(server.sent() < 6000);
    model.assert_followed();
    succeed(&mut model.site.verb("verify"));
}

#[test]
fn a_head_that_only_brings_deltas_costs_one_request_and_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 1);
    sync(&model, &server);
    let before = look(&model.site);
    model.publish_patches(1);
    let (asked, said) = sync(&model, &server);
    assert_eq!(asked, ["/head"]);
    assert!(
        said.starts_with("generation 2 is current, nothing newer (1 request)"),
        "{said}"
    );
    assert_eq!(model.site.status()["serial"].as_u64(), Some(3));
    let mut after = look(&model.site);
    after.retain(|path| !before.contains(path));
    let changed: Vec<&str> = after.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(changed, ["log/last-sync", "state"]);
}

/// Every file of the pool with its inode and the time of its last change.
fn look(site: &Site) -> Vec<(String, (u64, i64, i64))> {
    use std::os::unix::fs::MetadataExt;
    let mut find = std::process::Command::new("find");
    let (found, _) = succeed(
        find.arg(&site.pool)
            .args(["-type", "f", "-printf", "%P\\n"]),
    );
    let mut files: Vec<_> = found
        .lines()
        .map(|path| {
            let it = fs::metadata(site.pool.join(path)).unwrap();
            (path.to_owned(), (it.ino(), it.mtime(), it.mtime_nsec()))
        })
        .collect();
    files.sort();
    files
}

/// A clone of generation 1, and three more, each with a delta from the one before; some files never change.
fn chain(folder: &Path, files: usize) -> (Model, Vec<PackRef>) {
    let with_more = |version| {
        let more = (0..files).map(|number| {
            let name: &str = Box::leak(format!("same-{number:04}").into_boxed_str());
            (name, number.to_string().into_bytes())
        });
        tree(version).into_iter().chain(more).collect()
    };
    let mut model = Model::new(folder);
    model.publish(with_more(1));
    succeed(&mut model.site.sync());
    let mut links = Vec::new();
    for version in 2..=4 {
        model.publish(with_more(version));
        links.push(model.publish_patches(usize::from(version) - 1));
    }
    (model, links)
}

#[test]
fn deltas_are_chained_where_none_leads_there_directly() {
    let folder = tempfile::tempdir().unwrap();
    let (model, links) = chain(folder.path(), 400);
    assert!(links.iter().map(|pack| pack.size).sum::<u64>() < model.newest_pack().prelude);
    let (asked, said) = sync(&model, &FaultyServer::start());
    let links: Vec<_> = links.iter().collect();
    assert_eq!(asked, asked_for(&["/head", "/heads/3", "/heads/2"], &links));
    assert!(
        said.starts_with("generation 4 is current: 4 objects"),
        "{said}"
    );
    model.assert_followed();
    // What was only made on the way is not kept.
    let between = raw::named(&content(1, 2)).0;
    assert!(!model.object(&between).exists());
    succeed(&mut model.site.verb("verify"));
}

#[test]
fn a_chain_that_may_cost_more_is_held_against_the_indexes_of_the_full_packs() {
    let folder = tempfile::tempdir().unwrap();
    let (model, links) = chain(folder.path(), 0);
    let full = model.newest_pack();
    assert!(links.iter().map(|pack| pack.size).sum::<u64>() > full.prelude);
    let (asked, _) = sync(&model, &FaultyServer::start());
    let packs = [&full, &links[0], &links[1], &links[2]];
    assert_eq!(asked, asked_for(&["/head", "/heads/3", "/heads/2"], &packs));
    model.assert_followed();
}

#[test]
fn a_chain_that_costs_more_than_the_full_packs_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new(folder.path());
    model.publish(tree(1));
    succeed(&mut model.site.sync());
    // What generation 2 brings is gone again in generation 3.
    let mut large = tree(1);
    large.insert("large", noise(100_000, 9));
    model.publish(large);
    model.publish_patches(1);
    let mut small = tree(1);
    small.insert("small", b"small".to_vec());
    model.publish(small);
    model.publish_patches(2);
    let server = FaultyServer::start();
    let (asked, _) = sync(&model, &server);
    let pack = model.newest_pack();
    assert_eq!(asked, asked_for(&["/head", "/heads/2"], &[&pack, &pack]));
    model.assert_followed();
}

#[test]
fn frames_may_be_based_on_what_frames_before_them_yield() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 1);
    let [a, b, c, d] = [1, 2, 3, 4].map(|seed| content(seed, 2));
    let frames = [
        patched(&content(1, 1), &a),
        prefixed(&[&a, &content(2, 1)], &[&b]),
        patched(&content(3, 1), &c),
        prefixed(&[&b, &c, &content(4, 1)], &[&d]),
    ];
    let delta = model.publish_delta(1, &frames);
    let (asked, _) = sync(&model, &server);
    assert_eq!(asked, asked_for(&["/head"], &[&delta]));
    model.assert_followed();
}

#[test]
fn a_damaged_base_costs_the_whole_object_and_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    for damage in [damage_byte as fn(&Path), damage_length, damage_all] {
        let folder = tempfile::tempdir_in(folder.path()).unwrap();
        let (mut model, server) = site(folder.path(), 1);
        let delta = model.publish_patches(1);
        damage(&model.object(&raw::named(&content(2, 1)).0));
        let (asked, said) = sync(&model, &server);
        let pack = model.newest_pack();
        assert_eq!(asked, asked_for(&["/head"], &[&delta, &pack, &pack]));
        assert!(said.contains("fetching the rest without deltas"), "{said}");
        model.assert_followed();
    }
}

fn damage_byte(path: &Path) {
    let mut content = fs::read(path).unwrap();
    content[30_000] ^= 1;
    fs::write(path, content).unwrap();
}

fn damage_length(path: &Path) {
    let content = fs::read(path).unwrap();
    fs::write(path, &content[..100]).unwrap();
}

fn damage_all(path: &Path) {
    fs::remove_file(path).unwrap();
}

#[test]
fn a_delta_that_is_damaged_or_missing_is_gone_without() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 1);
    let delta = model.publish_patches(1);
    let path = model.site.store.join(delta.id.store_path());
    let good = fs::read(&path).unwrap();
    let pool = model.site.pool.clone();
    let full = model.newest_pack();
    let bad_frame = [&good[..good.len() - 20], &[0; 20]].concat();
    let bad_index = [&good[..70], &[9], &good[71..]].concat();
    let short = good[..good.len() - 20].to_vec();
    for (number, bad) in [Some(bad_frame), Some(bad_index), Some(short), None]
        .into_iter()
        .enumerate()
    {
        model.site.pool = folder.path().join(format!("pool-{number}"));
        let mut copy = std::process::Command::new("cp");
        succeed(copy.arg("-a").arg(&pool).arg(&model.site.pool));
        match bad {
            Some(bad) => fs::write(&path, bad).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let (asked, said) = sync(&model, &FaultyServer::start());
        assert!(asked.ends_with(&packs(&[&full, &full])), "{asked:?}");
        assert!(said.contains("without"), "{said}");
        model.assert_followed();
    }
    drop(server);
}

#[test]
fn a_frame_that_needs_more_memory_than_there_is_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 1);
    let mut frames = patches();
    frames[3].window_log = 27;
    let delta = model.publish_delta(1, &frames);
    let (asked, said) = sync(&model, &server);
    let full = model.newest_pack();
    assert_eq!(asked, asked_for(&["/head"], &[&delta, &full, &full]));
    assert!(
        said.contains("1 frames need more memory than the"),
        "{said}"
    );
    model.assert_followed();
}

#[test]
fn a_base_that_came_with_the_same_delta_is_not_called_damaged_where_the_frame_is() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 1);
    let mut frames = patches();
    frames[3] = patched(&content(3, 2), &content(4, 2));
    // A recipe that nobody can follow.
    frames[3].codec = 3;
    let delta = model.publish_delta(1, &frames);
    let full = model.newest_pack();
    let (asked, said) = sync(&model, &server);
    assert_eq!(asked, asked_for(&["/head"], &[&delta, &full, &full]));
    assert!(said.contains("fetching the rest without deltas"), "{said}");
    assert!(!said.contains("verify --repair"), "{said}");
    model.assert_followed();
}

#[test]
fn what_a_broken_delta_brought_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 1);
    let delta = model.publish_patches(1);
    let full = model.site.store.join(model.newest_pack().id.store_path());
    fs::rename(&full, full.with_extension("away")).unwrap();
    let base = model.object(&raw::named(&content(4, 1)).0);
    let good = fs::read(&base).unwrap();
    damage_byte(&base);
    fail(&mut model.site.sync(), 4);
    fs::write(&base, good).unwrap();
    let (asked, said) = sync(&model, &server);
    assert_eq!(asked, asked_for(&["/head"], &[&delta]));
    assert!(said.contains("took over 3 objects"), "{said}");
    assert!(
        said.starts_with("generation 2 is current: 1 objects"),
        "{said}"
    );
    model.assert_followed();
}

#[test]
fn objects_that_a_delta_lacks_come_from_the_full_packs() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 1);
    let frames: Vec<_> = (1..=3u64).map(|seed| whole(&content(seed, 2))).collect();
    let delta = model.publish_delta(1, &frames);
    let (asked, _) = sync(&model, &server);
    let full = model.newest_pack();
    assert_eq!(asked, asked_for(&["/head"], &[&delta, &full, &full]));
    model.assert_followed();
}
