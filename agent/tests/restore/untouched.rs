//! What nobody touched costs nothing.

use std::fs;
use std::process::Command;

use crate::mounts::{ext4, is_root};
use crate::tree_compare::look;
use crate::{Clone, assert_same, home};

#[test]
fn beside_what_was_changed_and_removed_nothing_is_looked_at() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4, home);
    let _assembled = clone.assemble();
    let root = clone.root();
    // The kernel leaves what it makes whiteouts of where it notes changed files with several names.
    fs::remove_file(root.join("home/kiosk/.config/app/one")).unwrap();
    fs::write(root.join("etc/motd"), "changed").unwrap();
    let verb = clone.site.verb("restore");
    let calls = root.with_extension("calls");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-e", "trace=statx,openat2", "-o"])
        .arg(&calls);
    strace.arg(verb.get_program()).args(verb.get_args());
    strace.arg("--to").arg(&root).args(["--in-place", "/"]);
    match strace.output() {
        Err(error) => eprintln!("SKIPPED: no strace: {error}"),
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            let calls = fs::read_to_string(calls).unwrap();
            let seen = |name: &str| calls.contains(&format!("\"{name}\""));
            assert!(seen("one") && seen("motd"), "{calls}");
            assert!(!seen("two") && !seen("hostname"), "{calls}");
            assert_same(&look(&clone.site.tree), &root);
        }
    }
}
