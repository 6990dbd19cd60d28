#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn policy(text: &str) -> Policy {
    let mut policy = Policy::default();
    policy.add("policy", text.as_bytes()).unwrap();
    policy
}

fn error(text: &[u8]) -> String {
    Policy::default()
        .add("policy", text)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_pattern_names_the_paths_that_gitignore_would() {
    for (pattern, path, is_folder, expected) in [
        ("*.o", &b"a.o"[..], false, true),
        ("*.o", b"src/deep/a.o", false, true),
        ("*.o", b"a.old", false, false),
        ("/a.o", b"src/a.o", false, false),
        ("src/*.o", b"src/a.o", false, true),
        ("src/*.o", b"x/src/a.o", false, false),
        ("/src/*.o", b"src/deep/a.o", false, false),
        ("/src/**/a.o", b"src/very/deep/a.o", false, true),
        ("/src/**/a.o", b"src/a.o", false, true),
        ("/src/**", b"src/a/b", false, true),
        ("/src/**", b"src", true, false),
        ("/home/*/", b"home/anna", true, true),
        ("/home/*/", b"home/anna", false, false),
        ("/home/*", b"home/anna", false, true),
        ("/etc", b"etc/passwd", false, true),
        ("/etc", b"etcetera", false, false),
        ("?.o", b"x.o", false, true),
        ("[a-c].o", b"b.o", false, true),
        ("[!a-c].o", b"b.o", false, false),
        ("/{a,b}", b"{a,b}", false, true),
        ("/{a,b}", b"a", false, false),
        ("/x*{a,b}", b"x{a,b}", false, true),
        ("/\\*", b"*", false, true),
        ("/\\*", b"a", false, false),
        ("/\\n", b"n", false, true),
        ("/a\\ ", b"a ", false, true),
        ("/\\!a", b"!a", false, true),
    ] {
        let lines = format!("reset {pattern}");
        let found = policy(&lines).verdict(path, is_folder).is_some();
        assert_eq!(found, expected, "`{pattern}` for {}", path.escape_ascii());
    }
}

#[test]
fn later_lines_win_but_a_kept_folder_is_kept_as_a_whole() {
    use Rule::{Exclude, Follow, Keep, Reset, Seed};
    let policy = policy(
        "# comment\n\n  follow /etc\nreset /etc/ssh\nkeep /home\nreset /home/guest\nkeep /var/lib/x\nreset /var/lib\n\
         exclude *.tmp\nseed /srv/db\nkeep /opt/*/state",
    );
    for (path, is_folder, expected) in [
        (&b"etc/passwd"[..], false, Follow),
        (b"etc/ssh/sshd_config", false, Reset),
        (b"home", true, Keep),
        (b"home/guest/file", false, Keep),
        (b"var/lib/x", true, Reset),
        (b"etc/a.tmp", false, Exclude),
        (b"srv/db/base/1", false, Seed),
        (b"srv/db/a.tmp", false, Seed),
        (b"srv", true, Reset),
        (b"opt/a/state", false, Keep),
        (b"opt/a", true, Reset),
        (b"", true, Reset),
    ] {
        assert_eq!(
            policy.rule(path, is_folder),
            expected,
            "{}",
            path.escape_ascii()
        );
    }
    let verdict = policy.verdict(b"home/guest/file", false).unwrap();
    assert_eq!((verdict.line.number, verdict.at), (5, 4));
    assert_eq!(verdict.line.to_string(), "keep /home");
}

#[test]
fn what_can_not_be_used_is_named_by_file_line_and_column() {
    for (text, expected) in [
        (
            "retain /a",
            "policy:1:1: `retain` is no rule: reset, keep, seed, follow and exclude are",
        ),
        (
            "reset /a\n  keep",
            "policy:2:7: there is no path behind the rule",
        ),
        ("reset  /a[b", "policy:1:10: this `[` has no `]`"),
        (
            "reset /a\\",
            "policy:1:9: a backslash stands before what it takes the meaning from",
        ),
        (
            "reset !a",
            "policy:1:7: `!` is not supported: a later line with another rule takes a path back",
        ),
        ("reset /a/../b", "policy:1:10: a path has no `.` or `..`"),
        ("reset /a//b", "policy:1:10: it has an empty name"),
        (
            "follow /",
            "policy:1:8: it names the whole tree: `mode = follow` in reclone.conf does that",
        ),
        (
            "keep *.db",
            "policy:1:6: keep and seed want a path from the top, such as /home/*, without `**`: a boot can not search the whole tree",
        ),
        ("reset /a\0", "policy:1:9: it contains a NUL byte"),
    ] {
        assert_eq!(error(text.as_bytes()), expected);
    }
    assert_eq!(
        error(&vec![b'\n'; MAX_FILE + 1]),
        "policy:1:1: it is larger than 1 MiB"
    );
    let many = "reset a\n".repeat(MAX_RULES + 1);
    assert_eq!(
        error(many.as_bytes()),
        "policy:4097:1: there are more than 4096 rules"
    );
}

#[test]
fn a_file_that_can_not_be_used_adds_no_rule() {
    let mut policy = Policy::built_in();
    let before = policy.clone();
    policy
        .add("policy", b"reset /etc/hostname\nnonsense")
        .unwrap_err();
    assert_eq!(policy, before);
}

proptest! {
    /// Whatever a file holds, it is read or refused, and what is read governs every path in the same way whoever asks.
    #[test]
    fn no_file_and_no_path_is_too_strange(text in "(?s)((reset|keep|seed|follow|exclude) .{0,40}\n){0,8}", path in "[a-c*\\[/]{0,12}") {
        let mut policy = Policy::default();
        let _ = policy.add("policy", text.as_bytes());
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let path = parts.join("/");
        if let Some(verdict) = policy.verdict(path.as_bytes(), false) {
            prop_assert!(verdict.at <= path.len());
        }
    }

    /// Of a path and a pattern made of the same letters, name by name, the quick ways agree with the glob crate.
    #[test]
    fn patterns_with_and_without_globs_agree(names in proptest::collection::vec("[ab]{1,2}", 1..4), other in proptest::collection::vec("[ab]{1,2}", 1..4)) {
        let (plain, path) = (names.join("/"), other.join("/"));
        let with_class = names.iter().map(|name| format!("[{}]{}", &name[..1], &name[1..])).collect::<Vec<_>>().join("/");
        let matches = |pattern: &str| policy(&format!("reset /{pattern}")).lines()[0].pattern.matches(path.as_bytes(), true);
        prop_assert_eq!(matches(&plain), plain == path);
        prop_assert_eq!(matches(&with_class), plain == path);
    }
}
