//! What the program says of itself, and how it ends: whole texts and exact statuses, for scripts and people lean on both.
#![allow(clippy::unwrap_used)]

#[path = "support/programs.rs"]
mod programs;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use programs::{Site, complaint, fail, reclone, succeed};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/help/{name}.txt"))
}

/// The verbs that the program's help lists.
fn verbs() -> Vec<String> {
    let help = fs::read_to_string(golden("reclone")).unwrap();
    let (_, commands) = help.split_once("\nCommands:\n").unwrap();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    // The lines of a verb's text that was broken stand further right.
    lines
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_help_of_the_program_and_of_each_verb_is_the_one_written_down() {
    let (said, _) = succeed(reclone().arg("--help"));
    assert_eq!(said, fs::read_to_string(golden("reclone")).unwrap());
    let verbs = verbs();
    assert_eq!(
        verbs,
        [
            "enroll", "unenroll", "sync", "fetch", "assemble", "boot", "install", "status",
            "explain", "diff", "restore", "session", "thaw", "freeze", "verify", "good", "loader",
            "rollback", "reset", "prune"
        ]
    );
    for verb in &verbs {
        let (said, _) = succeed(reclone().args([verb.as_str(), "--help"]));
        let written = fs::read_to_string(golden(verb)).unwrap_or_default();
        assert_eq!(said, written, "{}", golden(verb).display());
    }
    let files = fs::read_dir(golden("").parent().unwrap()).unwrap().count();
    assert_eq!(files, verbs.len() + 1);
}

#[test]
fn the_version_is_said() {
    let (said, _) = succeed(reclone().arg("--version"));
    assert_eq!(said, format!("reclone {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_where_help_is() {
    let help = "Run `reclone --help` for more information.\n";
    let cases: [(&[&str], &str); 6] = [
        (&["publish"], "Unrecognized argument: publish\n"),
        (
            &["sync", "--stroe", "x"],
            "Unrecognized argument: --stroe\n",
        ),
        (
            &["sync", "--store"],
            "No value provided for option '--store'.\n",
        ),
        (
            &["sync", "--timeout", "soon"],
            "Error parsing option '--timeout' with value 'soon': invalid digit found in string\n",
        ),
        (
            &["assemble"],
            "Required positional arguments not provided:\n    target\n",
        ),
        (&["boot"], "Required options not provided:\n    --root\n"),
    ];
    for (words, line) in cases {
        assert_eq!(
            fail(reclone().args(words), 2),
            format!("{line}{help}"),
            "{words:?}"
        );
    }
    let line = "reclone: one verb is needed; `reclone --help` lists them\n";
    assert_eq!(fail(&mut reclone(), 2), line);
    assert_eq!(fail(reclone().arg("--quiet"), 2), line);
    let line = "reclone: the argument \"\\xFF\" is not UTF-8\n";
    assert_eq!(fail(reclone().arg(OsStr::from_bytes(b"\xff")), 2), line);
}

#[test]
fn what_is_missing_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let no_pool = format!(
        "There is no pool at {}: mount the disk that holds it, or name it with --pool",
        path("pool")
    );
    for verb in ["status", "verify", "rollback", "reset", "prune"] {
        let mut command = reclone();
        command.args([verb, "--pool", &path("pool")]);
        assert_eq!(complaint(&mut command, 3), no_pool, "{verb}");
    }
    let mut explain = reclone();
    explain.args(["explain", "--pool", &path("pool"), "/etc"]);
    assert_eq!(complaint(&mut explain, 3), no_pool);
    let assemble = |pool: &str| {
        let mut command = reclone();
        command.args(["assemble", "--pool", pool, "--session", "none", "/mnt"]);
        command
    };
    assert_eq!(complaint(&mut assemble(&path("pool")), 3), no_pool);

    fs::create_dir(path("empty")).unwrap();
    let none = format!(
        "The pool {} has no generation yet: run `reclone sync` first",
        path("empty")
    );
    for verb in ["verify", "rollback"] {
        let mut command = reclone();
        command.args([verb, "--pool", &path("empty")]);
        assert_eq!(complaint(&mut command, 3), none, "{verb}");
    }
    assert_eq!(complaint(&mut assemble(&path("empty")), 3), none);
}

#[test]
fn a_sync_that_was_told_too_little_or_nonsense_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("key"), "not a key").unwrap();
    // Base64 may have a slash in it.
    let line = "RWSzg5yxTZ9D0ZxKUzIhTqCkbI/m8X5h2mJCVHJXJ8kX8z3nUu3lLBgk";
    let sync = |words: &[&str]| {
        let mut command = reclone();
        command.args(["sync", "--pool", &path("pool")]).args(words);
        command
    };
    let (key, pin) = (path("key"), "00");
    let cases: [(&[&str], i32, String); 7] = [
        (&[], 2, "No store is named: use --store, reclone.store= on the kernel command line, or `store = …` in /etc/reclone/reclone.conf".into()),
        (&["--store", "/store"], 2, "No key is named: use --key, or `key = …` in /etc/reclone/reclone.conf".into()),
        (&["--store", "/store", "--key", &key], 2, format!("{key}: The public key is malformed: Invalid encoding in minisign data")),
        (&["--store", "/store", "--key", "nonsense"], 2, "The public key is malformed: Invalid encoding in minisign data".into()),
        (&["--store", "/store", "--key", "/no/key"], 1, "can not read the key /no/key: No such file or directory (os error 2)".into()),
        (&["--store", "ftp://model/store", "--key", line], 2, "ftp://model/store: stores over ftp:// are not supported; use http://, https:// or a path".into()),
        (&["--store", "https://model/store", "--key", line, "--pin", pin], 2, "pin: neither 64 hex digits nor the base64 of a SHA-256 digest (`sha256//…`)".into()),
    ];
    for (words, status, line) in cases {
        assert_eq!(complaint(&mut sync(words), status), line, "{words:?}");
    }
    assert!(!Path::new(&path("pool")).exists(), "nothing was made");
    let absent = path("store");
    assert_eq!(
        complaint(&mut sync(&["--store", &absent, "--key", line]), 4),
        format!("{absent}/head: No such file or directory (os error 2)")
    );
    let start = std::time::Instant::now();
    let url = [
        "--store",
        "http://127.0.0.1:1",
        "--key",
        line,
        "--timeout",
        "1",
    ];
    let said = complaint(&mut sync(&url), 4);
    assert!(
        said.starts_with("http://127.0.0.1:1/head: no time is left to try again after: "),
        "{said}"
    );
    assert!(start.elapsed() < std::time::Duration::from_secs(3));
}

#[test]
fn status_tells_what_the_pool_holds() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(folder.path());
    fs::create_dir(&site.pool).unwrap();
    let (pool, store) = (
        site.pool.display().to_string(),
        site.store.display().to_string(),
    );
    let status = || {
        let (said, log) = succeed(&mut site.verb("status"));
        assert_eq!(log, "");
        let (said, free) = said.rsplit_once("free:       ").unwrap();
        assert!(free.trim_end().ends_with(" MiB"), "{free}");
        let said = said.replace(&pool, "POOL").replace(&store, "STORE");
        // What the machine of the test says of itself.
        let lines = said.split_inclusive('\n');
        lines
            .filter(|it| !it.starts_with("firmware: "))
            .collect::<String>()
    };
    assert_eq!(
        status(),
        "pool:       POOL\nmodel:      none yet\ncurrent:    none\nprevious:   none\nstore:      none yet\nlast sync:  never\n"
    );
    fs::write(site.tree.join("file"), "1").unwrap();
    site.publish();
    succeed(&mut site.sync());
    fs::write(site.tree.join("more"), "2").unwrap();
    site.publish();
    succeed(&mut site.sync());
    let line = "on trial:   boots begun without a good end: 0\n";
    assert!(status().contains(line), "{}", status());
    succeed(&mut site.verb("rollback"));
    fs::create_dir(site.pool.join("staging")).unwrap();
    let said = status();
    let (start, end) = said.split_once(" s ago").unwrap();
    let digits = start.trim_end_matches(|letter: char| letter.is_ascii_digit());
    assert_eq!(
        format!("{digits}N s ago{end}"),
        "pool:       POOL\nmodel:      test\ncurrent:    generation 1 (2 entries)\nprevious:   generation 2 (3 entries)\n\
         refused:    generation 2, rolled back here\nstore:      STORE\nlast sync:  N s ago (serial 3)\n\
         staging:    an interrupted sync, which the next one takes over\n"
    );
    let status = site.status();
    let keys: Vec<&str> = status
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "boot_loader",
            "current",
            "entries",
            "firmware",
            "free",
            "initramfs",
            "last_sync",
            "manifest",
            "model",
            "pool",
            "previous",
            "refused",
            "serial",
            "staged",
            "staging",
            "store",
            "thawed",
            "trial"
        ]
    );
    assert_eq!(
        [
            &status["current"],
            &status["previous"],
            &status["refused"],
            &status["serial"]
        ],
        [1, 2, 2, 3]
    );
    assert!(status["trial"].is_null(), "it was good enough before");
    assert_eq!(status["store"].as_str(), Some(&*store));
    assert!(status["initramfs"].is_null(), "nobody asked for a look");
}

#[test]
fn what_was_done_is_one_json_object_for_those_who_ask() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(folder.path());
    let said = |mut command: Command| -> Value {
        let (said, _) = succeed(command.arg("--json"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    // What came depends on how well it was packed.
    let sync = |command: Command| {
        let mut said = said(command);
        let traffic = said.as_object_mut().unwrap();
        assert!(traffic.remove("requests").unwrap().as_u64() > Some(0));
        assert!(traffic.remove("received").unwrap().is_u64());
        said
    };
    let report = |outcome: &str, generation: u64, objects: u64, content: u64| {
        json!({
            "outcome": outcome,
            "generation": generation,
            "objects": objects,
            "content": content,
        })
    };
    let long = |letter: &str| letter.repeat(1000);
    fs::write(site.tree.join("file"), long("1")).unwrap();
    site.publish();
    assert_eq!(sync(site.sync()), report("committed", 1, 1, 1000));
    assert_eq!(sync(site.sync()), report("unchanged", 1, 0, 0));
    fs::write(site.tree.join("more"), long("2")).unwrap();
    site.publish();
    assert_eq!(sync(site.fetch()), report("staged", 2, 1, 1000));
    assert_eq!(sync(site.sync())["outcome"], "committed");
    assert_eq!(said(site.verb("rollback")), json!({ "generation": 1 }));
    assert_eq!(sync(site.sync()), report("refused", 1, 0, 0));
    fs::write(site.pool.join("thaw"), "3 1\n").unwrap();
    assert_eq!(
        said(site.sync()),
        json!({ "outcome": "thawed", "generation": 1, "boots": 3 })
    );
    assert_eq!(said(site.verb("freeze")), json!({ "thawed": true }));
    assert_eq!(said(site.verb("freeze")), json!({ "thawed": false }));
    assert_eq!(said(site.verb("rollback")), json!({ "generation": 2 }));
    let mut reset = site.verb("reset");
    reset.arg("--key").arg(site.public_key());
    let reset = said(reset);
    assert_eq!(reset["sync"]["outcome"], "unchanged");
    assert_eq!([&reset["objects"], &reset["mended"]], [2, 0]);
    assert_eq!(reset.as_object().unwrap().len(), 3);
    fs::remove_file(site.tree.join("file")).unwrap();
    for _ in 0..2 {
        fs::write(site.tree.join("more"), long("3")).unwrap();
        site.publish();
        succeed(&mut site.sync());
    }
    assert_eq!(
        said(site.verb("prune")),
        json!({ "generations": 2, "objects": 2, "bytes": 2000, "sessions": 0 })
    );
    let mut drop = reclone();
    drop.args(["session", "drop", "--all", "--pool"]);
    drop.arg(&site.pool);
    assert_eq!(said(drop), json!({ "dropped": 0 }));
}
