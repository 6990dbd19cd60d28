//! What is told of differences: to people, to scripts, and of the generation that comes next.

use std::fs;

use crate::mounts::{ext4, is_root};
use crate::programs::{fail, succeed};
use crate::tree_compare::{differences, look};
use crate::{Clone, diff, home, restore};

#[test]
fn differences_are_told_as_json_and_a_dry_run_changes_nothing() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4, home);
    let _assembled = clone.assemble();
    let root = clone.root();
    fs::write(root.join("home/kiosk/.profile"), "changed").unwrap();
    let before = look(&root);
    let said = restore(&clone.site, &root, &["--dry-run", "/home"]);
    assert_eq!(said, "changed     /home/kiosk/.profile\n");
    let said = restore(&clone.site, &root, &["-n", "--json", "/home"]);
    let value: serde_json::Value = serde_json::from_str(&said).unwrap();
    let expected = serde_json::json!({
        "generation": 1,
        "differences": [{ "path": "/home/kiosk/.profile", "change": "changed" }],
    });
    assert_eq!(value, expected);
    assert_eq!(differences(&before, &look(&root)), Vec::<String>::new());
    let said = fail(clone.site.verb("diff").arg("--to").arg(&root), 9);
    assert_eq!(said, "ERROR [reclone] 1 paths differ\n");
    let said = restore(&clone.site, &root, &["/home"]);
    assert_eq!(said, "/home is as in generation 1 again: 1 path differed\n");
    let said = restore(&clone.site, &root, &["/home"]);
    assert_eq!(said, "/home is as in generation 1\n");
    // What was done before something fails is told, and what failed.
    let fails = |words: &[&str]| {
        fs::write(root.join("home/kiosk/.profile"), "changed").unwrap();
        let mut command = clone.site.verb("restore");
        command.arg("--to").arg(&root).args(words);
        let output = command
            .args(["/home", "/nothing", "/etc"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        fails(&[]),
        "/home is as in generation 1 again: 1 path differed\n"
    );
    let value: serde_json::Value = serde_json::from_str(&fails(&["--json"])).unwrap();
    assert_eq!(value["differences"], expected["differences"]);
    assert_eq!(
        value["error"],
        "Generation 1 has no /nothing: `reclone diff` tells what was added since"
    );
}

#[test]
fn what_the_next_boot_brings_is_told_and_single_files_of_it_can_be_had_now() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4, home);
    let _assembled = clone.assemble();
    let (root, site) = (clone.root(), &clone.site);
    let next = |status| {
        let mut command = site.verb("diff");
        command.args(["--next", "--to"]).arg(&root);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(next(0), "");
    fs::write(site.tree.join("etc/motd"), "hello").unwrap();
    fs::remove_dir_all(site.tree.join("home/kiosk/.config")).unwrap();
    fs::write(site.tree.join("etc/new"), "new").unwrap();
    site.publish();
    succeed(&mut site.sync());
    let lines = next(9);
    let mut lines: Vec<&str> = lines.lines().collect();
    // The times of the folders are others, too.
    lines.retain(|line| !line.starts_with("attributes"));
    assert_eq!(
        lines,
        [
            "changed     /etc/motd",
            "added       /etc/new",
            "removed     /home/kiosk/.config"
        ]
    );
    // Without a word, it is the generation that runs.
    assert_eq!(diff(site, &root, 0), Vec::<String>::new());
    restore(site, &root, &["--generation", "current", "/etc/motd"]);
    assert_eq!(fs::read(root.join("etc/motd")).unwrap(), b"hello");
    restore(site, &root, &["--generation", "1", "/etc/motd"]);
    assert_eq!(fs::read(root.join("etc/motd")).unwrap(), b"welcome");
    assert_eq!(diff(site, &root, 0), Vec::<String>::new());
}
