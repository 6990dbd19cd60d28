//! The login hook: what PAM and systemd run at logon, with a program in the place of `reclone` that tells how it was called.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::mounts::is_root;
use crate::programs::succeed;

#[test]
fn the_login_hook_restores_the_homes_of_those_who_are_listed_when_a_session_begins() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("reclone"), "#!/bin/sh\necho \"$@\"\n").unwrap();
    fs::set_permissions(path("reclone"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(path("homes"), "games\nnobody-of-this-name\nroot\n").unwrap();
    let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../units/fresh-home");
    let run = |user: &str, kind: &str, words: &[&str]| {
        let mut command = Command::new(&hook);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap());
        command
            .env("RECLONE", path("reclone"))
            .env("RECLONE_FRESH_HOMES", path("homes"));
        if words.is_empty() {
            command.env("PAM_USER", user).env("PAM_TYPE", kind);
        }
        succeed(command.args(words)).0
    };
    let restored = "--quiet restore --in-place /usr/games\n";
    assert_eq!(run("games", "open_session", &[]), restored);
    assert_eq!(run("", "", &["games"]), restored);
    // By the number that systemd has.
    assert_eq!(run("", "", &["5"]), restored);
    assert_eq!(run("games", "close_session", &[]), "");
    assert_eq!(run("mail", "open_session", &[]), "");
    assert_eq!(run("nobody-of-this-name", "open_session", &[]), "");
    // Root is at work.
    assert_eq!(run("root", "open_session", &[]), "");
}
