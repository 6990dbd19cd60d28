#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::exclude::Exclude;
use crate::folder::{Crossing, ScanOptions};
use crate::keys::{Passphrase, Signer};
use crate::progress::{Progress, Unit};
use crate::scan::scan;

fn lint_of(tree: &Path, policy: &str) -> Vec<String> {
    let tree = LiveTree::open(tree).unwrap();
    let exclude = Exclude::new(None).unwrap();
    let options = ScanOptions {
        exclude: &exclude,
        crossing: &Crossing::default(),
        never: &[],
        cache: None,
    };
    let scanned = scan(
        &tree,
        &options,
        &Progress::start("scanning", Unit::Pieces, 0),
    )
    .unwrap();
    let mut rules = Policy::default();
    rules.add("policy", policy.as_bytes()).unwrap();
    let findings = lint(&tree, &scanned.nodes, &rules);
    findings
        .iter()
        .map(|it| format!("{}: {}", it.path, it.what))
        .collect()
}

/// What is found in a tree with this one file.
fn found(path: &str, content: &[u8]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    lint_of(folder.path(), "")
}

#[test]
fn secrets_and_identities_are_named() {
    let mut swap = vec![0; 64 << 10];
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    for (path, content, expected) in [
        (
            "etc/ssl/private/web.key",
            &b"-----BEGIN PRIVATE KEY-----\nx"[..],
            "it is a private key",
        ),
        (
            "root/.ssh/id_ed25519",
            b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
            "it is a private key",
        ),
        (
            "home/anna/id_rsa",
            b"-----BEGIN RSA PRIVATE KEY-----\n",
            "it is a private key",
        ),
        (
            "root/model.key",
            b"untrusted comment: minisign encrypted secret key\nRWRTY0IyAAAA\n",
            "it is a secret key of minisign",
        ),
        (
            "srv/keys/lab-2",
            b"untrusted comment: rsign encrypted secret key\nRWQAAEIyAAAA\n",
            "it is a secret key of minisign",
        ),
        ("etc/krb5.keytab", b"\x05\x02", "it is a keytab"),
        (
            "etc/NetworkManager/system-connections/a.nmconnection",
            b"[wifi-security]\npsk=x\n",
            "it holds the key of a wireless network",
        ),
        (
            "etc/wpa_supplicant/wpa.conf",
            b"network={\n\tpsk=\"x\"\n}",
            "it holds the key of a wireless network",
        ),
        (
            "root/.aws/credentials",
            b"x",
            "it holds passwords or tokens",
        ),
        (
            "home/anna/.bash_history",
            b"ls\n",
            "it is a history of commands",
        ),
        (
            "etc/machine-id",
            b"0de10de10de10de10de10de10de10de1\n",
            "it is this machine's identity",
        ),
        ("var/lib/dhcp/x.lease", b"lease", "it is a network lease"),
        (
            "var/lib/postgresql/17/main/postmaster.pid",
            b"1",
            "a database is in use here",
        ),
        (
            "var/lib/app/a.sqlite-wal",
            b"1",
            "a database is in use here",
        ),
        ("srv/swap", &swap, "it is a swap file"),
    ] {
        let found = found(path, content);
        assert_eq!(found.len(), 1, "{path}: {found:?}");
        assert!(
            found[0].starts_with(&format!("/{path}: {expected}")),
            "{found:?}"
        );
    }
}

#[test]
fn a_key_that_this_program_makes_is_named() {
    let folder = tempfile::tempdir().unwrap();
    Signer::create(&folder.path().join("lab"), &Passphrase::None).unwrap();
    let found = lint_of(folder.path(), "");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("/lab: it is a secret key"),
        "{found:?}"
    );
}

#[test]
fn a_store_in_the_tree_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (place, head) in [
        ("a", "reclone-head 1\n"),
        ("b", "reclone-head 1\n"),
        ("c", "x"),
    ] {
        let store = folder.path().join("srv").join(place);
        fs::create_dir_all(&store).unwrap();
        fs::write(store.join("head"), head).unwrap();
        if place != "b" {
            fs::create_dir(store.join("packs")).unwrap();
        }
    }
    let found = lint_of(folder.path(), "");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("/srv/a: it is a store, "), "{found:?}");
}

#[test]
fn what_only_looks_like_a_secret_is_not_named() {
    for (path, content) in [
        (
            "root/model.key.pub",
            &b"untrusted comment: minisign public key 00AEB2\nRWQAAEIxAAAA\n"[..],
        ),
        ("etc/ssl/certs/ca.pem", b"-----BEGIN CERTIFICATE-----\n"),
        ("etc/NetworkManager/system-connections/a", b"[ethernet]\n"),
        ("etc/machine-id", b""),
        ("usr/share/doc/id_rsa", b"how to make one"),
        ("home/anna/journal", b"dear diary"),
    ] {
        assert_eq!(found(path, content), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn what_will_not_work_on_a_clone_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path();
    fs::create_dir_all(top.join("etc")).unwrap();
    fs::create_dir_all(top.join("boot")).unwrap();
    fs::create_dir_all(top.join("usr/sbin")).unwrap();
    let fstab = "# UUID=0 /x ext4\nUUID=1 / ext4\nUUID=2 /srv ext4 defaults\nLABEL=a /opt ext4 nofail\ntmpfs /tmp tmpfs\n";
    fs::write(top.join("etc/fstab"), fstab).unwrap();
    fs::write(top.join("boot/initrd.img-6"), "x").unwrap();
    let kept = |line: &str| {
        format!(
            "/etc/fstab: the line for {line} does not reach the clones, which keep their own fstab"
        )
    };
    let lacks = "/boot/initrd.img-6: the agent is not installed on this machine, so this initramfs lacks it: a clone that boots it is none any more";
    assert_eq!(
        lint_of(top, ""),
        [
            kept("UUID=2 at /srv"),
            kept("LABEL=a at /opt"),
            lacks.into()
        ]
    );
    fs::write(top.join("usr/sbin/reclone"), "x").unwrap();
    let waits = "/etc/fstab: a clone without UUID=2 waits for it and comes up degraded: add nofail to the line for /srv";
    let old = "/boot/initrd.img-6: it is older than the agent: make it anew, with update-initramfs -u or dracut --force";
    assert_eq!(lint_of(top, "reset /etc/fstab"), [waits, old]);
}
