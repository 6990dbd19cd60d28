//! A tree with everything that a Linux file system can hold, made with system calls on a real one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lsetxattr, utimensat};

/// Fills `top`. Every kind of thing gets a folder of its own.
pub fn fill(top: &Path) {
    let folder = |name: &str| {
        let path = top.join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    names(&folder("names"));
    links(&folder("links"));
    contents(&folder("contents"));
    xattrs(&folder("xattrs"));
    nodes(&folder("nodes"));
    owners_and_modes(&folder("owners"));
    times(&folder("times"));
    // A folder with the name that the objects' folders have, and what looks like an image's own mark.
    fs::write(folder("ab").join("file"), "not an object").unwrap();
    fs::write(top.join("cd"), "not a folder").unwrap();
    set_time(top, 1_234_567_890, 987_654_321);
}

fn names(at: &Path) {
    for name in [&b"\xff\xfe not utf-8"[..], b"new\nline", b" ", b"..."] {
        fs::write(at.join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::write(at.join("n".repeat(255)), "long").unwrap();
    // 30 levels of 100 bytes: longer than what the top's path leaves of PATH_MAX would not be.
    let mut deep = at.to_owned();
    for level in 0..30 {
        deep.push(format!("{level:03}{}", "d".repeat(97)));
        fs::create_dir(&deep).unwrap();
    }
    fs::write(deep.join("bottom"), "deep").unwrap();
    let many = at.join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..10_000 {
        fs::write(many.join(format!("file-{number}")), number.to_string()).unwrap();
    }
}

fn links(at: &Path) {
    let other = at.join("other");
    fs::create_dir(&other).unwrap();
    let hard = |from: &str, to: &str| fs::hard_link(at.join(from), at.join(to)).unwrap();
    fs::write(at.join("file"), "linked").unwrap();
    hard("file", "other/file");
    hard("file", "a-third-name");
    symlink("nowhere", at.join("symlink")).unwrap();
    hard("symlink", "other/symlink");
    nix::unistd::mkfifo(&at.join("fifo"), Mode::from_bits_truncate(0o640)).unwrap();
    hard("fifo", "other/fifo");
    fs::write(at.join("empty"), "").unwrap();
    hard("empty", "other/empty");
    symlink("t".repeat(4095), at.join("longest")).unwrap();
    symlink(OsStr::from_bytes(b"\xff\n"), at.join("odd")).unwrap();
    set_time(&at.join("symlink"), 1, 2);
    lchown(at.join("symlink"), Some(7), Some(8)).unwrap();
}

fn contents(at: &Path) {
    for size in [0, 1, 4095, 4096, 4097, 128 * 1024, 1 << 20, (8 << 20) + 5] {
        let content: Vec<u8> = (0..size as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        fs::write(at.join(format!("size-{size}")), content).unwrap();
    }
    fs::write(at.join("same"), "1").unwrap();
    fs::write(at.join("same too"), "1").unwrap();
    fs::write(at.join("zeros"), vec![0; 100_000]).unwrap();
    let sparse = File::create(at.join("sparse")).unwrap();
    sparse.set_len(5 << 30).unwrap();
    sparse.write_all_at(b"in the middle", 3 << 30).unwrap();
    sparse.write_all_at(b"at the end", (5 << 30) - 10).unwrap();
}

fn xattrs(at: &Path) {
    let new = |name: &str| {
        let path = at.join(name);
        fs::write(&path, name).unwrap();
        path
    };
    let set = |path: &Path, name: &str, value: &[u8]| {
        lsetxattr(path, name, value, XattrFlags::empty())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    };
    let file = new("all");
    set(&file, "user.plain", b"value");
    set(&file, "user.empty", b"");
    set(&file, "trusted.mine", b"\0\xff");
    set(&file, "security.selinux", b"system_u:object_r:etc_t:s0\0");
    set(&file, "security.ima", b"\x03\x00");
    set(&file, &format!("user.{}", "n".repeat(250)), b"long name");
    // cap_net_raw=ep, as setcap writes it: struct vfs_cap_data, version 2.
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    set(&new("capability"), "security.capability", &capability);
    // user::rw- user:1000:r-- group::r-- mask::r-- other::---, as in linux/posix_acl_xattr.h.
    let acl: Vec<u8> = [2u32.to_le_bytes().to_vec()]
        .into_iter()
        .chain(
            [
                (1, 6, u32::MAX),
                (2, 4, 1000),
                (4, 4, u32::MAX),
                (16, 4, u32::MAX),
                (32, 0, u32::MAX),
            ]
            .map(|(tag, perm, id): (u16, u16, u32)| {
                [
                    &tag.to_le_bytes()[..],
                    &perm.to_le_bytes(),
                    &id.to_le_bytes(),
                ]
                .concat()
            }),
        )
        .flatten()
        .collect();
    set(&new("acl"), "system.posix_acl_access", &acl);
    let folder = at.join("folder");
    fs::create_dir(&folder).unwrap();
    set(&folder, "system.posix_acl_default", &acl);
    set(&folder, "trusted.overlay.opaque", b"y");
    set(&new("overlay"), "trusted.overlay.redirect", b"/elsewhere");
    // 64 KiB: more than a block needs the file system's feature ea_inode.
    let large = new("large");
    for number in 0..16 {
        set(&large, &format!("user.part-{number}"), &[number; 4000]);
    }
    let link = at.join("link");
    symlink("all", &link).unwrap();
    set(&link, "trusted.link", b"on a symbolic link");
}

fn nodes(at: &Path) {
    let node = |name: &str, kind, major, minor| {
        mknod(
            &at.join(name),
            kind,
            Mode::from_bits_truncate(0o600),
            makedev(major, minor),
        )
        .unwrap();
    };
    node("null", SFlag::S_IFCHR, 1, 3);
    node("large", SFlag::S_IFCHR, 4095, (1 << 20) - 1);
    node("block", SFlag::S_IFBLK, 259, 300_000);
    node("whiteout", SFlag::S_IFCHR, 0, 0);
    drop(UnixListener::bind(at.join("socket")).unwrap());
    nix::unistd::mkfifo(&at.join("fifo"), Mode::from_bits_truncate(0o7777)).unwrap();
}

fn owners_and_modes(at: &Path) {
    for mode in [0, 0o1, 0o7777, 0o4755, 0o2755, 0o1777] {
        for (name, is_dir) in [("file", false), ("folder", true)] {
            let path = at.join(format!("{name}-{mode:o}"));
            match is_dir {
                true => fs::create_dir(&path).unwrap(),
                false => fs::write(&path, "x").unwrap(),
            }
            chown(&path, Some(u32::MAX - 1), Some(u32::MAX - 1)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
        }
    }
}

/// ext4 with inodes of 256 bytes holds times from 1901 to 2446.
fn times(at: &Path) {
    for (name, sec, nsec) in [
        ("before 1970", -1_000_000_000, 1),
        ("just before 1970", -1, 999_999_999),
        ("epoch", 0, 0),
        ("after 2038", 4_000_000_000, 123_456_789),
        ("far", 15_000_000_000, 5),
    ] {
        let path = at.join(name);
        fs::write(&path, name).unwrap();
        set_time(&path, sec, nsec);
    }
    set_time(at, -5, 5);
}

fn set_time(path: &Path, sec: i64, nsec: i64) {
    let time = Timespec {
        tv_sec: sec,
        tv_nsec: nsec,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
