//! What of a tree is published, and how: everything that Linux keeps about a path, and nothing that was excluded.
//! Run as root: devices, owners and trusted xattrs need it.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use reclone_format::{Entry, Kind, Timestamp, TreePath};
use rustix::fs::{CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, makedev};
use support::{Model, names, noise};

fn set_xattr(model: &Model, path: &str, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(model.tree().join(path), name, value, XattrFlags::empty()).unwrap();
}

fn xattrs(entry: &Entry) -> Vec<(String, Vec<u8>)> {
    let pair = |xattr: &reclone_format::Xattr| {
        (
            String::from_utf8(xattr.name.clone()).unwrap(),
            xattr.value.clone(),
        )
    };
    entry.xattrs.iter().map(pair).collect()
}

#[test]
fn every_kind_of_file_is_published_as_it_is() {
    let model = Model::new();
    model.write("regular", "12345");
    let tree = model.tree();
    symlink("/etc/passwd", tree.join("symlink")).unwrap();
    let node = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, tree.join(name), kind, Mode::from(0o640), device).unwrap();
    };
    node("fifo", FileType::Fifo, 0);
    node("socket", FileType::Socket, 0);
    node("char", FileType::CharacterDevice, makedev(4095, 1_048_575));
    node("block", FileType::BlockDevice, makedev(8, 1));
    node("whiteout", FileType::CharacterDevice, 0);
    let target = "x".repeat(4095);
    symlink(&target, tree.join("long-symlink")).unwrap();
    let ran = model.publish(&[]).expect(0);
    let kinds: Vec<Kind> = model
        .entries()
        .into_iter()
        .map(|entry| entry.kind)
        .collect();
    assert_eq!(
        [&kinds[..6], &kinds[7..]].concat(),
        [
            Kind::Directory,
            Kind::BlockDevice { major: 8, minor: 1 },
            Kind::CharDevice {
                major: 4095,
                minor: 1_048_575
            },
            Kind::Fifo,
            Kind::Symlink {
                target: target.into()
            },
            Kind::Regular {
                size: 5,
                id: reclone_format::object_id_of(b"12345")
            },
            Kind::Symlink {
                target: "/etc/passwd".into()
            },
            Kind::CharDevice { major: 0, minor: 0 },
        ]
    );
    assert_eq!(kinds[6], Kind::Socket);
    ran.says("/whiteout: clones show a character device 0:0 as an empty file");
}

#[test]
fn owner_mode_and_time_are_published_to_the_last_bit() {
    let model = Model::new();
    model.write("strange", "");
    let path = model.tree().join("strange");
    let owner = 4_294_967_294;
    rustix::fs::chown(
        &path,
        Some(Uid::from_raw(owner)),
        Some(Gid::from_raw(owner)),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o7777)).unwrap();
    let time = Timespec {
        tv_sec: -1_000_000_000,
        tv_nsec: 999_999_999,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    model.write("closed", "secret");
    fs::set_permissions(model.tree().join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
    model.publish(&[]).expect(0);
    let strange = model.entry("/strange");
    assert_eq!(
        (strange.perm, strange.uid, strange.gid),
        (0o7777, owner, owner)
    );
    assert_eq!(
        strange.mtime,
        Timestamp {
            sec: -1_000_000_000,
            nsec: 999_999_999
        }
    );
    assert_eq!(model.entry("/closed").perm, 0);
    assert_eq!(model.content("/closed"), b"secret");
}

#[test]
fn names_may_be_any_bytes_and_come_in_the_manifests_order() {
    let model = Model::new();
    for name in [
        &b"\xff\xfe"[..],
        b"new\nline",
        b" ",
        b"a-b/1",
        b"a/x/1",
        b"a/x/2",
        b"a/y/1",
        b"b",
    ] {
        let path = model.tree().join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    fs::write(model.tree().join("n".repeat(255)), "").unwrap();
    let deep: Vec<String> = (0..30).map(|_| "d".repeat(100)).collect();
    model.write(&format!("{}/end", deep.join("/")), "");
    model.publish(&[]).expect(0);
    let paths: Vec<TreePath> = model
        .entries()
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    let mut sorted = paths.clone();
    sorted.sort();
    assert_eq!(paths, sorted);
    assert_eq!(paths.len(), 1 + 8 + 4 + 1 + 31);
    let expected: [&[u8]; 9] = [
        b"",
        b" ",
        b"a",
        b"a-b",
        b"b",
        &[b'd'; 100],
        b"new\nline",
        &[b'n'; 255],
        b"\xff\xfe",
    ];
    let top: Vec<&[u8]> = paths[..9].iter().map(TreePath::as_bytes).collect();
    assert_eq!(top, expected);
}

#[test]
fn hard_links_are_further_names_of_the_first() {
    let model = Model::new();
    model.write("b/second", "content");
    model.write("a", "");
    symlink("x", model.tree().join("link")).unwrap();
    fs::create_dir(model.tree().join("c")).unwrap();
    fs::hard_link(model.tree().join("b/second"), model.tree().join("c/third")).unwrap();
    fs::hard_link(model.tree().join("b/second"), model.tree().join("first")).unwrap();
    fs::hard_link(model.tree().join("link"), model.tree().join("b/link")).unwrap();
    for _ in 0..2 {
        // The second time with what the stat cache knows, and one new file so that there is a generation.
        model.publish(&[]).expect(0);
        let entries = model.entries();
        let ordinal = |path: &str| {
            let at = entries
                .iter()
                .position(|entry| entry.path.to_string() == path);
            u32::try_from(at.unwrap()).unwrap()
        };
        assert_eq!(model.content("/first"), b"content");
        assert_eq!(
            model.entry("/b/second").kind,
            Kind::HardLink {
                to: ordinal("/first")
            }
        );
        assert_eq!(
            model.entry("/c/third").kind,
            Kind::HardLink {
                to: ordinal("/first")
            }
        );
        assert_eq!(
            model.entry("/b/link").kind,
            Kind::HardLink {
                to: ordinal("/link")
            }
        );
        model.write("0", "more");
    }
    model.verify().expect(0);
}

#[test]
fn xattrs_of_all_namespaces_are_published() {
    let model = Model::new();
    model.write("file", "x");
    symlink("x", model.tree().join("symlink")).unwrap();
    set_xattr(&model, "file", "user.colour", b"blue\0");
    set_xattr(&model, "file", "trusted.overlay.opaque", b"y");
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set_xattr(&model, "file", "security.capability", &capability);
    set_xattr(&model, "symlink", "trusted.on.link", b"");
    set_xattr(&model, "", "user.top", b"1");
    let acl = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255,
        255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
    ];
    set_xattr(&model, "file", "system.posix_acl_access", &acl);
    for _ in 0..2 {
        let ran = model.publish(&[]).expect(0);
        assert_eq!(
            xattrs(&model.entry("/file")),
            [
                ("security.capability".into(), capability.to_vec()),
                ("system.posix_acl_access".into(), acl.to_vec()),
                ("trusted.overlay.opaque".into(), b"y".to_vec()),
                ("user.colour".into(), b"blue\0".to_vec()),
            ]
        );
        assert_eq!(
            xattrs(&model.entry("/symlink")),
            [("trusted.on.link".into(), vec![])]
        );
        assert_eq!(
            xattrs(&model.entries()[0]),
            [("user.top".into(), b"1".to_vec())]
        );
        ran.says("/file: xattr trusted.overlay.opaque: clones with a Linux before 6.7 hide it");
        model.write("more", "x");
    }
}

#[test]
fn a_changed_xattr_alone_is_noticed() {
    let model = Model::new();
    model.write("file", "x");
    set_xattr(&model, "file", "user.a", b"1");
    model.publish(&[]).expect(0);
    set_xattr(&model, "file", "user.a", b"2");
    assert_eq!(model.publish(&[]).generation(), 2);
    assert_eq!(
        xattrs(&model.entry("/file")),
        [("user.a".into(), b"2".to_vec())]
    );
}

#[test]
fn a_sparse_file_takes_little_room_and_memory() {
    let model = Model::new();
    let path = model.tree().join("sparse");
    File::create(&path).unwrap().set_len(300 << 20).unwrap();
    let output = Command::new("/usr/bin/env")
        .args(["sh", "-c", "ulimit -v 1000000; exec \"$@\"", "sh"])
        .arg(model.publishing(&[]).get_program())
        .args(model.publishing(&["--level", "3"]).get_args())
        .output()
        .unwrap();
    support::Ran::from(output).expect(0);
    assert!(model.head().packs[0].size < 100_000, "{:?}", model.head());
    assert_eq!(model.head().content, 300 << 20);
    model.verify().expect(0);
}

#[test]
fn what_stands_between_holes_is_published() {
    let model = Model::new();
    let mut content = vec![0; 3 << 20];
    for (at, length) in [(0, 10), (1 << 20, 70_000), (2 << 20, 4096)] {
        content[at..at + length].copy_from_slice(&noise(at as u64, length));
    }
    let write_sparse = |name: &str, length: usize| {
        let file = File::create(model.tree().join(name)).unwrap();
        file.set_len(length as u64).unwrap();
        for at in [0, 1 << 20, 2 << 20] {
            let end = (at + 70_000).min(length);
            std::os::unix::fs::FileExt::write_all_at(&file, &content[at..end], at as u64).unwrap();
        }
        file.sync_all().unwrap();
        let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
        assert!(blocks * 512 < length as u64, "{name} has no hole");
    };
    write_sparse("hole-at-end", 3 << 20);
    write_sparse("data-at-end", (2 << 20) + 4096);
    model.publish(&[]).expect(0);
    assert!(model.content("/hole-at-end") == content);
    assert!(model.content("/data-at-end") == content[..(2 << 20) + 4096]);
    model.verify().expect(0);
}

#[test]
fn what_is_excluded_is_not_published() {
    let model = Model::new();
    for path in [
        "proc/1",
        "sys/x",
        "dev/null",
        "run/x",
        "tmp/x",
        "var/tmp/x",
        "lost+found/x",
        "swapfile",
        "reclone/state",
        "etc/ssh/ssh_host_rsa_key",
        "etc/ssh/ssh_host_rsa_key.pub",
        "etc/ssh/sshd_config",
        "etc/machine-id",
        "var/lib/dhcp/dhclient.leases",
        "var/cache/apt/archives/vim.deb",
        "srv/tmp/x",
        "home/a/.cache/x",
        "home/a/notes~",
        "home/a/notes",
    ] {
        model.write(path, "x");
    }
    model.write("etc/reclone/exclude", "# ours\n*~\n/home/*/.cache/\n");
    model.publish(&[]).expect(0);
    assert_eq!(
        model.paths(),
        [
            "/dev",
            "/etc",
            "/home",
            "/proc",
            "/run",
            "/srv",
            "/sys",
            "/tmp",
            "/var",
            "/etc/machine-id",
            "/etc/reclone",
            "/etc/ssh",
            "/etc/reclone/exclude",
            "/etc/ssh/sshd_config",
            "/home/a",
            "/home/a/.cache",
            "/home/a/notes",
            "/srv/tmp",
            "/srv/tmp/x",
            "/var/cache",
            "/var/lib",
            "/var/tmp",
            "/var/cache/apt",
            "/var/cache/apt/archives",
            "/var/lib/dhcp",
        ]
    );
    let file = model.tree().join("etc/reclone/exclude");
    fs::write(&file, "ok\n[\n").unwrap();
    let text = format!(
        "{}, line 2: unclosed character class; missing ']'",
        file.display()
    );
    model.publish(&[]).expect(1).says(&text);
    assert_eq!(model.head().generation, 1);
}

#[test]
fn the_store_and_its_secret_key_are_never_published() {
    let model = Model::without_store();
    model.write("file", "x");
    let (store, key) = (model.text("tree/store"), model.text("tree/key"));
    support::run(&["init", &store, "--key", &key]).expect(0);
    let tree = model.text("tree");
    let ran = support::run(&["publish", "--from", &tree, "--key", &key, &store]).expect(0);
    let listed = support::run(&["show", &store, "--files"]).expect(0).output;
    let paths: Vec<&str> = listed
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(paths, ["/", "/file", "/key.pub"]);
    let ran = ran.says("/key: left out, it is this store, its key or its passphrase");
    ran.says("/store: left out, it is this store, its key or its passphrase");
}

#[test]
fn a_file_that_never_rests_is_refused_or_published_with_a_warning() {
    let model = Model::new();
    model.write("busy", noise(1, 48 << 20));
    model.write("quiet", "x");
    let stop = AtomicBool::new(false);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(model.tree().join("busy"))
        .unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0u64;
            while !stop.load(Ordering::Relaxed) {
                std::os::unix::fs::FileExt::write_at(&file, &count.to_le_bytes(), 0).unwrap();
                count += 1;
            }
        });
        let refused = model.publish(&[]);
        let allowed = model.publish(&["--allow-changing"]);
        stop.store(true, Ordering::Relaxed);
        refused.expect(1).says(
            "One part of the tree can not be published; nothing was published:\n  /busy: it changed while it was read, \
             three times over; stop what writes it, exclude it, or give --allow-changing",
        );
        let allowed = allowed.says(
            "/busy: it changed while it was read, three times over; published as it was read last",
        );
        assert_eq!(allowed.generation(), 1);
    });
    model.verify().expect(0);
    assert_eq!(model.content("/quiet"), b"x");
    assert_eq!(model.content("/busy")[8..], noise(1, 48 << 20)[8..]);
}

#[test]
fn what_can_not_be_read_is_named_and_nothing_is_published() {
    let model = Model::new();
    model.write("open", "x");
    model.write("closed", "x");
    model.write("folder/x", "x");
    let close = |path: &str| {
        fs::set_permissions(model.tree().join(path), fs::Permissions::from_mode(0o0)).unwrap();
    };
    close("closed");
    close("folder");
    // As another user, who owns the store but not the tree.
    for path in [".", "store", "key", "tree"] {
        let mut chown = Command::new("chown");
        chown.args(["-R", "65534:65534"]).arg(model.path(path));
        if path == "." {
            chown = Command::new("chmod");
            chown.arg("711").arg(model.path(path));
        }
        assert!(chown.status().unwrap().success());
    }
    for path in ["closed", "folder"] {
        std::os::unix::fs::chown(model.tree().join(path), Some(0), Some(0)).unwrap();
    }
    let program = model.path("reclone-model");
    fs::copy(support::PROGRAM, &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&program)
        .args(model.publishing(&[]).get_args())
        .output()
        .unwrap();
    let ran = support::Ran::from(output).expect(1);
    let ran = ran.says("2 parts of the tree can not be published; nothing was published:");
    let ran = ran.says("\n  /closed: Permission denied");
    ran.says("\n  /folder: Permission denied");
    assert!(!model.store().join("head").exists());
    assert_eq!(names(&model.store().join("packs")), [""; 0]);
}
