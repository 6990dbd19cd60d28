//! `reclone sync --dry-run`: what it says comes true, and it writes nothing.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::content;
use crate::model::Model;
use crate::programs::{complaint, succeed};
use crate::server::FaultyServer;
use crate::{site, tree};

fn look(model: &Model, server: &FaultyServer, options: &[&str]) -> String {
    model.serve(server);
    let mut sync = model.site.sync_from(server.url());
    succeed(sync.arg("--dry-run").args(options)).0
}

/// Everything below a folder, with all times but that of reading.
fn everything(folder: &Path) -> String {
    let mut find = Command::new("find");
    succeed(find.arg(folder).args(["-printf", "%p %i %s %T@ %C@\\n"])).0
}

/// What was announced as `requests` and `bytes`, and what a sync then takes.
fn announced_and_taken(model: &Model) -> [(u64, u64); 2] {
    let server = FaultyServer::start();
    let said: Value = serde_json::from_str(&look(model, &server, &["--json"])).unwrap();
    let number = |key: &str| said[key].as_u64().unwrap();
    server.asked();
    server.sent();
    succeed(&mut model.site.sync_from(server.url()));
    let taken = (server.asked().len() as u64, server.sent());
    [(number("requests"), number("bytes")), taken]
}

#[test]
fn a_look_writes_nothing_and_names_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 0);
    let mut next = tree(1);
    next.remove("b");
    next.insert("c", content(3, 2));
    next.insert("e", content(5, 2));
    model.publish(next);
    model.publish_patches(1);
    let before = everything(&model.site.pool);
    let said = look(&model, &server, &["--diff"]);
    assert_eq!(everything(&model.site.pool), before);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[0],
        "generation 2 would be fetched: 2 objects, 0.1 MiB"
    );
    assert!(lines[1].ends_with(" bytes) in 2 requests"), "{said}");
    assert_eq!(lines[2], "files: 1 added, 1 changed, 1 removed");
    assert!(lines[3].starts_with("disk: 16."), "{said}");
    assert_eq!(lines[4..], ["- /b", "~ /c", "+ /e"]);
    let json: Value = serde_json::from_str(&look(&model, &server, &["--json"])).unwrap();
    assert_eq!(json["paths"].as_array().unwrap().len(), 0);
    assert!(json["seconds"].is_null());

    succeed(&mut model.site.sync());
    assert_eq!(
        look(&model, &server, &["--diff"]),
        "generation 2 is current, nothing newer to fetch\n"
    );
}

#[test]
fn what_a_look_announces_comes_true() {
    let folder = tempfile::tempdir().unwrap();
    // A first clone, into a pool that is not there.
    let mut model = Model::new(folder.path());
    model.publish(tree(1));
    let [announced, taken] = announced_and_taken(&model);
    assert_eq!(announced, taken);
    assert_eq!(announced.0, 3);
    // An update by a delta.
    model.publish(tree(2));
    model.publish_patches(1);
    let [announced, taken] = announced_and_taken(&model);
    assert_eq!(announced, taken);
    assert_eq!(announced.0, 2);
    // Over the full packs.
    model.publish(tree(3));
    let [announced, taken] = announced_and_taken(&model);
    assert_eq!(announced, taken);
    assert_eq!(announced.0, 3);
}

#[test]
fn a_look_makes_no_pool() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new(folder.path());
    model.publish(tree(1));
    let said = look(&model, &FaultyServer::start(), &[]);
    assert!(
        said.starts_with("generation 1 would be fetched: 4 objects"),
        "{said}"
    );
    assert!(!model.site.pool.exists());
}

#[test]
fn the_time_is_told_once_a_transfer_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, server) = site(folder.path(), 0);
    model.publish(tree(2));
    std::fs::write(model.site.pool.join("log/rate"), "1000\n").unwrap();
    let said: Value = serde_json::from_str(&look(&model, &server, &["--json"])).unwrap();
    let bytes = said["bytes"].as_u64().unwrap();
    assert_eq!(said["seconds"].as_f64(), Some(bytes as f64 / 1000.0));
}

#[test]
fn paths_are_only_for_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = site(folder.path(), 0);
    let said = complaint(model.site.sync().arg("--diff"), 2);
    assert_eq!(said, "--diff goes with --dry-run");
}
