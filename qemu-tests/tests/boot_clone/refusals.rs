//! What a clone does not take, or can not: it says so in one line and boots what it has.

use std::process::Command;

use qemu_tests::facts::Facts;
use qemu_tests::image::run;
use qemu_tests::server::StallingServer;
use qemu_tests::site::program;

use crate::{Case, store_word};

/// The one warning of a boot.
fn warning(facts: &Facts) -> &str {
    let warnings: Vec<&str> = facts
        .log()
        .lines()
        .filter_map(|line| line.strip_prefix("reclone: warning: "))
        .collect();
    assert_eq!(warnings.len(), 1, "{}", facts.log());
    warnings[0]
}

#[test]
fn a_server_that_stalls_in_mid_answer_costs_the_timeout_and_no_more() {
    let Some(case) = Case::new("stall") else {
        return;
    };
    assert_eq!(case.publish("stalled"), 2);
    let server = StallingServer::start(&case.store).unwrap();
    case.boot(
        &format!("{} reclone.timeout=15", store_word(server.url())),
        |_, facts| {
            facts.assert_runs(1);
            assert!(
                warning(facts).starts_with("http://10.0.2.2:"),
                "{}",
                facts.log()
            );
            let line = facts.log().lines().last().unwrap_or_default();
            let seconds: f64 = line
                .split(' ')
                .rev()
                .nth(1)
                .and_then(|word| word.parse().ok())
                .unwrap();
            // A busy neighbour makes the machine slow; a boot that waits for the server would take for ever.
            assert!((10.0..120.0).contains(&seconds), "{line}");
        },
    );
}

#[test]
fn a_head_that_another_key_signed_is_refused() {
    let Some(case) = Case::new("signature") else {
        return;
    };
    let (key, store) = (
        case.site.path("other.key"),
        case.site.path("signature.other"),
    );
    if store.exists() {
        std::fs::remove_dir_all(&store).unwrap();
    }
    run(Command::new(program("reclone-model"))
        .arg("init")
        .arg(&store)
        .arg("--key")
        .arg(&key))
    .unwrap();
    case.site
        .model
        .write("etc/model-version", "forged\n")
        .unwrap();
    assert_eq!(case.site.publish_to(&store, &key).unwrap(), 1);
    let server = case.site.serve(&store).unwrap();
    case.boot(&store_word(server.url()), |_, facts| {
        facts.assert_runs(1);
        assert!(warning(facts).contains("signature"), "{}", facts.log());
    });
    assert_eq!(server.requests().unwrap(), ["GET /head"]);
}

#[test]
fn an_older_head_is_refused() {
    let Some(case) = Case::new("older") else {
        return;
    };
    let server = case.site.serve(&case.store).unwrap();
    let store = store_word(server.url());
    let head = case.store.join("head");
    let first = std::fs::read(&head).unwrap();
    assert_eq!(case.publish("newer"), 2);
    case.boot(&store, |_, facts| facts.assert_runs(2));
    // Somebody gives the clone the store as it was.
    std::fs::write(&head, first).unwrap();
    case.boot(&store, |_, facts| {
        facts.assert_runs(2);
        assert!(warning(facts).contains("has serial"), "{}", facts.log());
    });
}

#[test]
fn a_full_disk_boots_what_it_has() {
    let Some(case) = Case::new("full") else {
        return;
    };
    // More than the disk can take, and nothing that could be compressed away.
    let model = case.model();
    let big = model.tree().root().join("opt/big");
    run(Command::new("dd")
        .args(["if=/dev/urandom", "bs=1M", "count=700"])
        .arg(format!("of={}", big.display())))
    .unwrap();
    let published = model.publish("big");
    std::fs::remove_file(&big).unwrap();
    drop(model);
    assert_eq!(published, 2);
    let server = case.site.serve(&case.store).unwrap();
    case.boot(&store_word(server.url()), |_, facts| {
        facts.assert_runs(1);
        assert!(facts.log().contains(" MiB are needed, "), "{}", facts.log());
    });
}

#[test]
fn a_generation_without_the_running_kernels_modules_is_left_for_the_previous_one() {
    let Some(case) = Case::new("modules") else {
        return;
    };
    let model = case.model();
    let modules = model.tree().root().join("usr/lib/modules");
    let aside = case.site.path("modules-aside");
    std::fs::rename(&modules, &aside).unwrap();
    let published = model.publish("no modules");
    std::fs::rename(&aside, &modules).unwrap();
    drop(model);
    assert_eq!(published, 2);
    let server = case.site.serve(&case.store).unwrap();
    case.boot(&store_word(server.url()), |_, facts| {
        facts.assert_runs(1);
        assert!(
            facts.get("status").contains("\"current\":2"),
            "{}",
            facts.get("status")
        );
        assert!(
            warning(facts).contains("generation 2 lacks the modules of the running kernel"),
            "{}",
            facts.log()
        );
    });
}
