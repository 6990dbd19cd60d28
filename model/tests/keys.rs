//! Stores and keys: what `init` makes, and whose signature a store takes.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::{Model, names, run};

#[test]
fn init_makes_a_secret_and_a_public_key() {
    let model = Model::new();
    let mode = |name: &str| fs::metadata(model.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("key"), mode("key.pub")), (0o600, 0o644));
    let public = fs::read_to_string(model.path("key.pub")).unwrap();
    let lines: Vec<&str> = public.lines().collect();
    assert!(lines[0].starts_with("untrusted comment: "));
    let record = fs::read_to_string(model.store().join(".reclone-model/store")).unwrap();
    assert_eq!(
        record,
        format!("reclone-store 1\nmodel lab\nkey {}\n", lines[1])
    );
}

#[test]
fn init_leaves_existing_keys_and_stores_alone() {
    let model = Model::new();
    let (key, store) = (model.key_text(), model.store_text());
    let before = fs::read(model.path("key")).unwrap();
    run(&["init", &store, "--key", &key])
        .expect(1)
        .says(&format!(
            "{store} is not empty; a new store needs a new or an empty folder"
        ));
    let other = model.text("other");
    run(&["init", &other, "--key", &key])
        .expect(0)
        .says("using the existing key");
    assert_eq!(fs::read(model.path("key")).unwrap(), before);
    fs::remove_file(model.path("key.pub")).unwrap();
    run(&["init", &model.text("third"), "--key", &key]).expect(0);
    assert_eq!(
        names(&model.path("third")),
        [".reclone-model", "heads", "packs"]
    );
    assert!(model.path("key.pub").exists());
}

#[test]
fn a_public_key_of_another_pair_is_not_overwritten() {
    let model = Model::without_store();
    fs::write(model.path("key.pub"), "someone's\n").unwrap();
    run(&["init", &model.store_text(), "--key", &model.key_text()])
        .expect(1)
        .says("key.pub can not be used: it is there, but its secret key");
    assert_eq!(fs::read(model.path("key.pub")).unwrap(), b"someone's\n");
    assert!(!model.path("key").exists());
}

#[test]
fn a_passphrase_protects_the_key() {
    let model = Model::without_store();
    let (store, key, file) = (
        model.store_text(),
        model.key_text(),
        model.text("passphrase"),
    );
    fs::write(&file, "correct horse\n").unwrap();
    run(&["init", &store, "--key", &key, "--passphrase-file", &file]).expect(0);
    assert_eq!(model.publish(&["--passphrase-file", &file]).generation(), 1);
    model.write("more", "x");
    model
        .publish(&[])
        .expect(1)
        .says("it needs a passphrase and there is no terminal to ask on");
    fs::write(&file, "wrong\n").unwrap();
    model
        .publish(&["--passphrase-file", &file])
        .expect(1)
        .says("Wrong password for that key");
    assert_eq!(model.head().generation, 1);
}

#[test]
fn the_wrong_key_is_refused_with_both_keys_named() {
    let model = Model::new();
    let other = Model::new();
    let public = |model: &Model| {
        let text = fs::read_to_string(model.path("key.pub")).unwrap();
        text.lines().nth(1).unwrap().to_owned()
    };
    fs::copy(other.path("key"), model.path("key")).unwrap();
    let ran = model
        .publish(&[])
        .expect(1)
        .says(&format!("has the public key {}", public(&other)));
    ran.says(&format!(
        "is signed by {}; clones that trust the store's key would refuse it",
        public(&model)
    ));
    assert!(!model.store().join("head").exists());
}

#[test]
fn a_folder_that_is_no_store_is_refused() {
    let model = Model::new();
    let text = "is no store; `reclone-model init STORE --key FILE` makes one";
    let (tree, key) = (model.text("tree"), model.key_text());
    run(&["publish", "--from", &tree, "--key", &key, &tree])
        .expect(1)
        .says(text);
    run(&["list", &tree]).expect(1).says(text);
    run(&["verify", &model.text("nowhere")])
        .expect(1)
        .says(text);
    run(&["serve", &tree]).expect(1).says(text);
    run(&["prune", "--keep", "1", &tree]).expect(1).says(text);
}

#[test]
fn a_head_is_signed_as_the_minisign_program_expects() {
    let model = Model::new();
    model.publish(&[]).expect(0);
    let head = fs::read_to_string(model.store().join("head")).unwrap();
    let (body, signature) = head.split_at(head.find("untrusted comment:").unwrap());
    fs::write(model.path("body"), body).unwrap();
    fs::write(model.path("signature"), signature).unwrap();
    let mut minisign = Command::new("minisign");
    minisign.args([
        "-V",
        "-p",
        &model.text("key.pub"),
        "-m",
        &model.text("body"),
    ]);
    match minisign.args(["-x", &model.text("signature")]).output() {
        Err(error) => eprintln!("SKIPPED: no minisign: {error}"),
        Ok(output) => {
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(
                text,
                "Signature and comment signature verified\n\
                 Trusted comment: reclone head of lab, serial 1, generation 1\n"
            );
        }
    }
}

#[test]
fn the_minisign_program_can_sign_with_the_secret_key() {
    let model = Model::new();
    fs::write(model.path("text"), "x").unwrap();
    let mut minisign = Command::new("minisign");
    minisign.args(["-S", "-s", &model.key_text(), "-m", &model.text("text")]);
    match minisign.output() {
        Err(error) => eprintln!("SKIPPED: no minisign: {error}"),
        Ok(output) => assert!(output.status.success(), "{output:?}"),
    }
}
