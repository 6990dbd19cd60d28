//! Sessions that go on over other generations: random changes of clone and model, held against the rules told in the simplest way.
#![allow(clippy::unwrap_used)]

mod reference;

#[path = "../support/initramfs.rs"]
mod initramfs;
#[path = "../keep/machine.rs"]
mod machine;
#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/programs.rs"]
mod programs;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use machine::Machine;
use mounts::is_root;
use reference::{Tree, carried};

const FOLDERS: [&str; 3] = ["data", "data/in", "etc"];
const FILES: [&str; 7] = [
    "top",
    "data/a",
    "data/b",
    "data/in/c",
    "data/in/d",
    "etc/e",
    "etc/f",
];

/// A random change of a tree, and the shell command that does it.
fn change(random: &mut fastrand::Rng, tree: &mut Tree, count: &mut u32) -> String {
    *count += 1;
    match random.u32(0..10) {
        // A whole folder goes, or is replaced by a new one.
        0 => {
            let folder = FOLDERS[random.usize(0..2)];
            tree.retain(|path, _| path != folder && !path.starts_with(&format!("{folder}/")));
            format!("rm -rf {folder}\n")
        }
        1..4 => {
            let file = FILES[random.usize(0..FILES.len())];
            tree.remove(file);
            format!("rm -f {file}\n")
        }
        _ => {
            let file = FILES[random.usize(0..FILES.len())];
            let text = format!("content {count}");
            let mut folder = String::new();
            for part in file
                .split('/')
                .rev()
                .skip(1)
                .collect::<Vec<_>>()
                .iter()
                .rev()
            {
                let _ = write!(folder, "{}{part}", if folder.is_empty() { "" } else { "/" });
                tree.insert(folder.clone(), None);
            }
            tree.insert(file.into(), Some(text.clone()));
            let make = if folder.is_empty() {
                String::new()
            } else {
                format!("mkdir -p {folder}; ")
            };
            // By rename, as editors do, or in place.
            let write = match random.bool() {
                true => format!("echo {text} >.new; mv .new {file}\n"),
                false => format!("echo {text} >{file}\n"),
            };
            make + &write
        }
    }
}

/// Prints every path of interest: a folder, or a file with its content.
const LOOK: &str = "find top data etc ! -path 'etc/reclone*' ! -path etc/machine-id 2>/dev/null | sort | while read -r path; do
    if [ -d $path ]; then echo $path; else echo $path=$(cat $path); fi; done";

fn looked(printed: &str) -> Tree {
    let lines = printed.lines().map(|line| match line.split_once('=') {
        Some((path, text)) => (path.to_owned(), Some(text.to_owned())),
        None => (line.to_owned(), None),
    });
    lines.collect()
}

fn shell(folder: &std::path::Path, script: &str) {
    programs::succeed(
        std::process::Command::new("sh")
            .args(["-ec", script])
            .current_dir(folder),
    );
}

#[test]
fn local_and_model_changes_meet_as_the_rules_say() {
    if !is_root() {
        return;
    }
    let rounds = std::env::var("ROUNDS").map_or(12, |it| it.parse().unwrap());
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |it| it.parse().unwrap());
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let clone = Machine::new("ext4").with_config("mode = follow\n");
    fs::write(clone.model("etc/reclone/policy"), "").unwrap();
    let mut count = 0;
    let mut model: Tree = BTreeMap::from([("etc".to_owned(), None)]);
    let mut local = model.clone();
    let mut last_model = model.clone();
    for round in 0..rounds {
        let mut script = String::new();
        for _ in 0..random.u32(0..5) {
            script += &change(&mut random, &mut model, &mut count);
        }
        // A publish without a change makes no generation.
        shell(
            &clone.site.tree,
            &format!("{script}echo {round} >etc/reclone/round"),
        );
        clone.update();
        let (expected, saved) = carried(&last_model, &local, &model);
        let mut changed = expected.clone();
        let mut changes = String::new();
        for _ in 0..random.u32(0..5) {
            changes += &change(&mut random, &mut changed, &mut count);
        }
        let booted = clone.boot("", &format!("{LOOK}; {changes}"));
        assert_eq!(
            looked(&booted.printed),
            expected,
            "round {round}: {}",
            booted.log
        );
        let said = booted.log.contains(&format!(
            "{} paths are the model's, who changed them, too",
            saved.len()
        ));
        assert_eq!(
            said,
            !saved.is_empty(),
            "round {round}: {saved:?} {}",
            booted.log
        );
        for (path, text) in &saved {
            let find = format!("cat reclone/saved/*/{path}");
            assert!(
                clone.disk_script(&find).contains(text),
                "round {round}: {path}"
            );
        }
        (last_model, local) = (model.clone(), changed);
        // The same generation once more: the session goes on as it is.
        let again = clone.run(LOOK);
        assert_eq!(looked(&again), local, "round {round}, again");
    }
}

#[test]
fn what_follows_by_a_rule_goes_on_and_the_rest_does_not() {
    if !is_root() {
        return;
    }
    let clone = Machine::new("xfs");
    fs::write(
        clone.model("etc/reclone/policy"),
        "follow /opt\nreset /opt/cache\nfollow /etc/app.conf\n",
    )
    .unwrap();
    for file in ["etc/app.conf", "etc/other", "opt/tool", "opt/cache/x"] {
        fs::write(clone.model(file), "model\n").unwrap();
    }
    clone.update();
    clone.run(
        "for f in etc/app.conf etc/other opt/tool opt/cache/x opt/new; do echo own >$f; done; chmod 700 opt; \
         mv opt/tool opt/moved; ln opt/new opt/second; setfattr -n user.a -v b opt/new; chown 7:8 opt/new",
    );
    let look = "cat etc/app.conf etc/other opt/moved opt/cache/x opt/new; test ! -e opt/tool; stat -c '%a' opt; stat -c '%h %u:%g' opt/new; \
        getfattr --only-values -n user.a opt/second";
    let expected = "own\nmodel\nown\nmodel\nown\n700\n2 7:8\nb";
    assert_eq!(clone.run(look), expected);
    fs::write(clone.model("etc/app.conf"), "newer\n").unwrap();
    clone.update();
    let booted = clone.boot("", look);
    assert_eq!(booted.printed, expected.replacen("own", "newer", 1));
    assert_eq!(
        clone.disk_script("cat reclone/saved/*/etc/app.conf"),
        "own\n"
    );
    let marks = clone.disk_script("getfattr -R -d -m trusted.overlay.redirect reclone/sessions/*-*/upper 2>/dev/null; getfattr -R -d -m trusted.overlay.metacopy reclone/sessions/*-*/upper");
    assert_eq!(marks, "", "nothing of the old overlay is in the new one");
    // The newer of the two wins where that is asked for; the clock of the model stands still here.
    let clone = clone.with_config("local-newer-wins = yes\n");
    clone.run("echo newest >etc/app.conf; touch -d 2100-01-01 etc/app.conf; echo old >opt/second; touch -d 1999-01-01 opt/second");
    fs::write(clone.model("etc/app.conf"), "model again\n").unwrap();
    clone.update();
    assert_eq!(clone.run("cat etc/app.conf"), "newest\n");
}
