//! A part of a tree made exact again: in an assembled root, on a plain disk, on an empty one. What came of it is looked at with system
//! calls and held against the model's tree.
#![allow(clippy::unwrap_used)]

mod login;
mod random;
mod spared;
mod told;
mod untouched;

#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../flow/nasty.rs"]
mod nasty;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/tree_compare.rs"]
mod tree_compare;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use mounts::{Mount, ext4, is_root, xfs};
use programs::{Assembled, Site, succeed};
use tree_compare::{Seen, differences, look};

/// `reclone restore` of paths below the folder that stands for the top.
fn restore(site: &Site, to: &Path, words: &[&str]) -> String {
    let mut command = site.verb("restore");
    succeed(command.arg("--to").arg(to).args(words)).0
}

fn diff(site: &Site, to: &Path, status: i32) -> Vec<String> {
    let mut command = site.verb("diff");
    let output = command.arg("--to").arg(to).output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_same(model: &BTreeMap<PathBuf, Seen>, found: &Path) {
    let mut found = look(found);
    for it in found.values_mut() {
        // XFS shows its ACLs once more under a name of its own.
        it.xattrs
            .retain(|name, _| !name.starts_with(b"trusted.SGI_ACL_"));
    }
    let mut lines = differences(model, &found);
    lines.truncate(20);
    assert_eq!(lines, Vec::<String>::new());
}

/// What an overlay shows of a tree: no whiteouts, and its own marks as it likes.
fn without_whiteouts(mut seen: BTreeMap<PathBuf, Seen>) -> BTreeMap<PathBuf, Seen> {
    seen.remove(Path::new("nodes/whiteout"));
    for it in seen.values_mut() {
        it.xattrs
            .retain(|name, _| !name.starts_with(b"trusted.overlay."));
    }
    seen
}

/// A site on a disk, with a session in which the generation can be written to.
struct Clone {
    folder: tempfile::TempDir,
    disk: Mount,
    site: Site,
}

impl Clone {
    fn new(disk: fn(&Path, u64) -> Mount, fill: fn(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(folder.path(), 700);
        let site = Site::new(disk.path());
        fill(&site.tree);
        site.publish();
        succeed(&mut site.sync());
        Self { folder, disk, site }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn assemble(&self) -> Assembled {
        self.site
            .assemble(&self.root(), Some(&self.disk.path().join("session")))
    }
}

/// Everything that a tree can hold, but a sparse file that does not take long to read.
fn fill(top: &Path) {
    nasty::fill(top);
    let sparse = File::create(top.join("contents/sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 32 << 20).unwrap();
}

/// Changes of every kind, below a filled tree.
fn disturb(top: &Path) {
    let path = |name: &str| top.join(name);
    fs::remove_dir_all(path("names/many")).unwrap();
    fs::write(path("names/new"), "new").unwrap();
    fs::create_dir_all(path("names/deep/new")).unwrap();
    fs::write(path("names/deep/new/file"), "new").unwrap();
    // One name of a file is written to, another goes, another file gets one more.
    fs::write(path("links/file"), "written").unwrap();
    fs::remove_file(path("links/other/empty")).unwrap();
    fs::hard_link(path("contents/same"), path("contents/third")).unwrap();
    fs::remove_file(path("links/symlink")).unwrap();
    symlink("elsewhere", path("links/symlink")).unwrap();
    // Another content of the same size and time.
    let file = path("contents/size-4097");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let open = File::options().write(true).open(&file).unwrap();
    open.write_all_at(b"other", 100).unwrap();
    open.set_modified(time).unwrap();
    fs::write(path("contents/sparse"), "short").unwrap();
    // Attributes of a file, a folder, a link.
    let set_mode = |name: &str, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode("owners/file-4755", 0o755);
    set_mode("owners/folder-1777", 0o700);
    chown(path("owners/file-0"), Some(7), Some(7)).unwrap();
    std::os::unix::fs::lchown(path("links/longest"), Some(7), Some(7)).unwrap();
    for (name, xattr) in [
        ("xattrs/capability", "security.capability"),
        ("xattrs/acl", "system.posix_acl_access"),
        ("xattrs/folder", "system.posix_acl_default"),
        ("xattrs/all", "security.selinux"),
    ] {
        // An overlay over EROFS takes no ACL for a file that has not been written to.
        let mode = fs::metadata(path(name)).unwrap().permissions();
        fs::set_permissions(path(name), mode).unwrap();
        rustix::fs::lremovexattr(path(name), xattr).unwrap();
    }
    // A folder takes a file's place and the other way round.
    fs::remove_file(path("nodes/fifo")).unwrap();
    fs::create_dir(path("nodes/fifo")).unwrap();
    fs::write(path("nodes/fifo/file"), "new").unwrap();
    fs::remove_dir_all(path("links/other")).unwrap();
    fs::write(path("links/other"), "new").unwrap();
    // A folder under another's name.
    fs::rename(path("times"), path("moved")).unwrap();
}

#[test]
fn a_whole_root_is_restored_onto_an_empty_disk_bit_by_bit() {
    if !is_root() {
        return;
    }
    // What xfs can not hold.
    fn for_xfs(top: &Path) {
        fill(top);
        for name in ["links/longest", "times/far", "nodes/large", "nodes/block"] {
            fs::remove_file(top.join(name)).unwrap();
        }
        symlink("near", top.join("links/longest")).unwrap();
    }
    type Case = (fn(&Path, u64) -> Mount, fn(&Path));
    let cases: [Case; 2] = [(ext4, fill), (xfs, for_xfs)];
    for (disk, fill) in cases {
        let clone = Clone::new(ext4, fill);
        let model = look(&clone.site.tree);
        let target = tempfile::tempdir().unwrap();
        let target = disk(target.path(), 600);
        restore(&clone.site, target.path(), &["/"]);
        assert_same(&model, target.path());
        let sparse = fs::metadata(target.path().join("contents/sparse")).unwrap();
        assert!(
            sparse.blocks() * 512 < 1 << 20,
            "{} blocks",
            sparse.blocks()
        );
        assert_eq!(diff(&clone.site, target.path(), 0), Vec::<String>::new());
        // All of it again, after everything was changed.
        disturb(target.path());
        restore(&clone.site, target.path(), &["/", "--checksum"]);
        assert_same(&model, target.path());
    }
}

#[test]
fn a_session_is_made_like_the_generation_whatever_was_done_in_it() {
    if !is_root() {
        return;
    }
    for in_place in [true, false] {
        let clone = Clone::new(ext4, fill);
        let model = without_whiteouts(look(&clone.site.tree));
        let assembled = clone.assemble();
        let root = clone.root();
        assert_eq!(diff(&clone.site, &root, 0), Vec::<String>::new());
        disturb(&root);
        let told = diff(&clone.site, &root, 9);
        for line in [
            "removed     /names/many",
            "added       /names/new",
            "added       /names/deep",
            "changed     /links/file",
            "changed     /links/other",
            "changed     /contents/size-4097",
            "attributes  /contents/same",
            "added       /contents/third",
            "attributes  /owners/file-4755",
            "attributes  /owners/folder-1777",
            "attributes  /xattrs/folder",
            "changed     /nodes/fifo",
            "removed     /times",
            "added       /moved",
        ] {
            assert!(told.iter().any(|it| it == line), "{line}\n{told:#?}");
        }
        match in_place {
            true => restore(&clone.site, &root, &["/", "--in-place"]),
            false => {
                let mut tops: Vec<String> = fs::read_dir(&clone.site.tree)
                    .unwrap()
                    .map(|entry| format!("/{}", entry.unwrap().file_name().display()))
                    .collect();
                tops.retain(|top| top != "/ab" && top != "/cd");
                let tops: Vec<&str> = tops.iter().map(String::as_str).collect();
                restore(&clone.site, &root, &tops);
                restore(&clone.site, &root, &["/"])
            }
        };
        let found = without_whiteouts(look(&root));
        assert_eq!(differences(&model, &found), Vec::<String>::new());
        assert_eq!(diff(&clone.site, &root, 0), Vec::<String>::new());
        drop(assembled);
    }
}

/// A few files, as a home has them.
fn home(top: &Path) {
    fs::create_dir_all(top.join("home/kiosk/.config/app")).unwrap();
    fs::create_dir_all(top.join("etc/ssh")).unwrap();
    for (name, content) in [
        ("home/kiosk/.profile", "profile"),
        ("home/kiosk/.config/app/one", "one"),
        ("home/kiosk/.config/app/two", "two"),
        ("etc/hostname", "model"),
        ("etc/motd", "welcome"),
    ] {
        fs::write(top.join(name), content).unwrap();
    }
}

#[test]
fn no_program_sees_half_a_folder() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4, home);
    let _assembled = clone.assemble();
    let folder = clone.root().join("home/kiosk");
    let model = look(&clone.site.tree.join("home"));
    fs::write(folder.join(".profile"), "other").unwrap();
    fs::write(folder.join(".config/app/three"), "three").unwrap();
    let (before, old) = (fs::metadata(&folder).unwrap(), File::open(&folder).unwrap());
    restore(&clone.site, &clone.root(), &["/home/kiosk"]);
    // The name leads to another folder, and who is in the old one finds nothing in it any more.
    assert_ne!(fs::metadata(&folder).unwrap().ino(), before.ino());
    let in_old = format!("/proc/self/fd/{}/.profile", old.as_raw_fd());
    assert!(!Path::new(&in_old).exists());
    assert_same(&model, &clone.root().join("home"));

    // Where one file differs, one rename does it, and the folder is the same one.
    let before = fs::metadata(&folder).unwrap().ino();
    fs::write(folder.join(".config/app/one"), "1").unwrap();
    restore(&clone.site, &clone.root(), &["/home/kiosk"]);
    assert_eq!(fs::metadata(&folder).unwrap().ino(), before);
    assert_same(&model, &clone.root().join("home"));
    fs::remove_dir_all(&folder).unwrap();
    restore(&clone.site, &clone.root(), &["/home/kiosk"]);
    assert_same(&look(&clone.site.tree.join("home/kiosk")), &folder);
}

#[test]
fn untouched_files_are_not_read_and_not_even_listed() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4, home);
    let _assembled = clone.assemble();
    let root = clone.root();
    fs::write(root.join("home/kiosk/.profile"), "profilE").unwrap();
    // An object that is gone would be missed by who reads it.
    fs::remove_dir_all(clone.site.pool.join("objects.gone")).ok();
    let two = reclone_format::object_id_of(b"two").pool_path();
    fs::remove_file(clone.site.pool.join("objects").join(two)).unwrap();
    restore(&clone.site, &root, &["/home/kiosk"]);
    assert_eq!(
        fs::read(root.join("home/kiosk/.profile")).unwrap(),
        b"profile"
    );
    // Who asks for every file to be read is told.
    let mut command = clone.site.verb("restore");
    command.arg("--to").arg(&root);
    assert_eq!(
        command
            .args(["--checksum", "/home"])
            .output()
            .unwrap()
            .status
            .code(),
        Some(1)
    );
}

#[test]
fn a_folder_under_an_others_name_is_noticed_though_no_file_in_it_was_touched() {
    if !is_root() {
        return;
    }
    // The same names, sizes and times in two folders, as packages have them.
    fn twins(top: &Path) {
        for (folder, content) in [("a", "first"), ("b", "other")] {
            fs::create_dir_all(top.join(folder).join("sub")).unwrap();
            for name in ["file", "sub/file"] {
                let path = top.join(folder).join(name);
                fs::write(&path, content).unwrap();
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
                File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_modified(time)
                    .unwrap();
            }
        }
    }
    let clone = Clone::new(ext4, twins);
    let _assembled = clone.assemble();
    let root = clone.root();
    fs::rename(root.join("a"), root.join("c")).unwrap();
    fs::rename(root.join("b"), root.join("a")).unwrap();
    fs::rename(root.join("c"), root.join("b")).unwrap();
    assert_eq!(fs::read(root.join("a/sub/file")).unwrap(), b"other");
    restore(&clone.site, &root, &["/"]);
    assert_same(&look(&clone.site.tree), &root);
}
