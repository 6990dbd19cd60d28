//! `reclone fetch`: everything but the commit.

use std::fs;

use crate::model::{Model, Tree};
use crate::programs::{reclone, succeed};
use crate::server::FaultyServer;
use crate::{asked_for, content, site, sync, tree};

/// Fetches over HTTP; gives the paths that were asked for, and what was said.
fn fetch(model: &Model, server: &FaultyServer) -> (Vec<String>, String) {
    model.serve(server);
    server.asked();
    let mut fetch = reclone();
    fetch.arg("fetch").arg("--pool").arg(&model.site.pool);
    fetch.arg("--key").arg(model.site.public_key());
    let (stdout, stderr) = succeed(fetch.arg("--store").arg(server.url()));
    let asked = server.asked().into_iter().map(|it| it.path);
    (asked.collect(), stdout + &stderr)
}

fn numbers(model: &Model) -> (Option<u64>, Option<u64>) {
    let status = model.site.status();
    (status["current"].as_u64(), status["staged"].as_u64())
}

#[test]
fn what_was_fetched_becomes_current_for_one_request() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 1);
    let delta = model.publish_patches(1);
    let (asked, said) = fetch(&model, &server);
    assert_eq!(asked, asked_for(&["/head"], &[&delta]));
    assert!(
        said.starts_with("generation 2 is staged: 4 objects"),
        "{said}"
    );
    assert_eq!(numbers(&model), (Some(1), Some(2)));
    let (asked, said) = fetch(&model, &server);
    assert_eq!(asked, ["/head"]);
    assert!(
        said.starts_with("generation 2 is staged: 0 objects"),
        "{said}"
    );

    let (asked, said) = sync(&model, &server);
    assert_eq!(asked, ["/head"]);
    assert!(
        said.starts_with("generation 2 is current: 0 objects"),
        "{said}"
    );
    assert_eq!(numbers(&model), (Some(2), None));
    model.assert_followed();
    succeed(&mut model.site.verb("verify"));
}

#[test]
fn what_was_fetched_helps_towards_a_newer_generation() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 1);
    fetch(&model, &server);
    let newer: Tree = tree(2).into_iter().chain([("e", content(5, 3))]).collect();
    model.publish(newer);
    let (_, said) = sync(&model, &server);
    assert!(said.contains("took over 4 objects"), "{said}");
    assert!(
        said.starts_with("generation 3 is current: 1 objects"),
        "{said}"
    );
    model.assert_followed();
}

#[test]
fn what_is_gone_from_what_was_fetched_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let (model, server) = site(folder.path(), 1);
    fetch(&model, &server);
    let id = crate::raw::named(&content(3, 2)).0;
    fs::remove_file(model.site.pool.join("staging/objects").join(id.pool_path())).unwrap();
    let (_, said) = sync(&model, &server);
    assert!(said.contains("took over 3 objects"), "{said}");
    model.assert_followed();
}

#[test]
fn what_was_fetched_without_its_note_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (model, server) = site(folder.path(), 1);
    fetch(&model, &server);
    fs::write(model.site.pool.join("staging/ready"), "2 \n").unwrap();
    assert_eq!(numbers(&model), (Some(1), None));
    let (_, said) = sync(&model, &server);
    assert!(said.contains("took over 4 objects"), "{said}");
    model.assert_followed();
}

#[test]
fn what_does_not_belong_to_what_was_fetched_does_not_get_into_the_pool() {
    let folder = tempfile::tempdir().unwrap();
    let (model, server) = site(folder.path(), 1);
    fetch(&model, &server);
    let id = crate::raw::named(b"something else").0;
    let path = model.site.pool.join("staging/objects").join(id.pool_path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, b"other").unwrap();
    let (_, said) = sync(&model, &server);
    assert!(said.contains("took over 4 objects"), "{said}");
    assert!(!model.object(&id).exists());
    model.assert_followed();
}
