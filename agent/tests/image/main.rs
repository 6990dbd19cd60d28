//! The image of a tree with everything in it, shown by the running kernel: alone, and below an overlay in both of the
//! forms in which clones mount it. Then what others say about the image: `fsck.erofs` and the crate `composefs`.
#![allow(clippy::unwrap_used)]

mod cost;
mod readers;
mod seen;
mod tree;

#[path = "../support/mounts.rs"]
mod mounts;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use mounts::{Mount, is_root};
use seen::{Paths, View, compare, expect, look};
use tree::{Builder, Tree, everything, give};

/// An image, mounted, and its objects, all on a file system in memory: that one holds files of any size.
struct Bench {
    // Unmounted in this order.
    image: Mount,
    _memory: Mount,
    top: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new(tree: &Tree) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("memory");
        let memory = Mount::new("tmpfs", Path::new("none"), "mode=755", &top);
        for path in ["objects", "upper", "work"] {
            fs::create_dir(top.join(path)).unwrap();
        }
        fs::write(top.join("image"), tree.image()).unwrap();
        for entry in &tree.entries {
            let Some((id, size)) = entry.object() else {
                continue;
            };
            let object = top.join("objects").join(&seen::object_path(&id)[1..]);
            fs::create_dir_all(object.parent().unwrap()).unwrap();
            let file = File::create(object).unwrap();
            file.write_all_at(&tree.contents[&id], 0).unwrap();
            file.set_len(size).unwrap();
        }
        let at = top.join("erofs");
        let image = Mount::new("erofs", &top.join("image"), "loop,ro", &at);
        Self {
            image,
            _memory: memory,
            top,
            _folder: folder,
        }
    }

    /// Throws away what was changed.
    fn new_session(&self) {
        for path in ["upper", "work"] {
            fs::remove_dir_all(self.top.join(path)).unwrap();
            fs::create_dir(self.top.join(path)).unwrap();
        }
    }

    /// Mounts the overlay; `between` stands between image and objects.
    fn overlay(&self, between: &str, writable: bool) -> Mount {
        let place = |name: &str| self.top.join(name).display().to_string();
        let (image, objects) = (self.image.path().display(), place("objects"));
        let mut all = format!("lowerdir={image}{between}{objects},metacopy=on,redirect_dir=on");
        if writable {
            all += &format!(",upperdir={},workdir={}", place("upper"), place("work"));
        }
        Mount::new("overlay", Path::new("none"), &all, &self.top.join("clone"))
    }
}

/// Whether the kernel is at least this version; says so where a test can not be made.
fn has_kernel(wanted: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split('.').map(|part| part.parse().unwrap());
    let found = (parts.next().unwrap(), parts.next().unwrap());
    if found < wanted {
        eprintln!("SKIPPED: kernel {found:?} can not do what {wanted:?} can");
    }
    found >= wanted
}

/// What the overlay of this kernel must show.
fn expect_clone(tree: &Tree) -> Paths {
    let mut paths = expect(tree, View::Clone);
    if !has_kernel((6, 7)) {
        for seen in paths.values_mut() {
            let hidden = |name: &str| name.starts_with("trusted.overlay.");
            seen.xattrs.retain(|name, _| !hidden(name));
        }
    }
    paths
}

/// What stands between image and objects in the forms of mount that this kernel knows.
fn forms() -> Vec<&'static str> {
    let mut forms = vec![":"];
    if has_kernel((6, 5)) {
        forms.push("::");
    }
    forms
}

/// What is not the image's to say: the number of links of a merged directory, and with an upper layer all of the top.
fn without_top(mut paths: Paths) -> Paths {
    paths.remove(&b""[..]);
    paths
}

#[test]
fn the_kernel_reads_from_the_image_what_the_manifest_says() {
    if !is_root() {
        return;
    }
    let tree = everything(true);
    let bench = Bench::new(&tree);
    let found = look(bench.image.path());
    compare(&found, &expect(&tree, View::Image), "the image");
}

#[test]
fn an_overlay_with_a_data_only_layer_is_the_tree() {
    if !is_root() || !has_kernel((6, 5)) {
        return;
    }
    let tree = everything(true);
    let bench = Bench::new(&tree);
    let expected = expect_clone(&tree);
    let clone = bench.overlay("::", false);
    let mut found = look(clone.path());
    // An overlay counts no links of its top.
    found.get_mut(&b""[..]).unwrap().links = expected[&b""[..]].links;
    compare(&found, &expected, "data-only, read-only");
    drop(clone);
    let clone = bench.overlay("::", true);
    let found = without_top(look(clone.path()));
    compare(&found, &without_top(expected), "data-only, writable");
}

#[test]
fn an_overlay_with_the_objects_as_an_ordinary_layer_is_the_tree() {
    if !is_root() {
        return;
    }
    let tree = everything(true);
    let bench = Bench::new(&tree);
    let expected = without_top(expect_clone(&tree));
    for writable in [false, true] {
        let clone = bench.overlay(":", writable);
        let found = without_top(look(clone.path()));
        compare(&found, &expected, "ordinary layer");
    }
}

#[test]
fn the_folders_of_objects_can_not_be_reached_by_name() {
    if !is_root() {
        return;
    }
    let mut tree = Builder::new();
    tree.file("file", b"content");
    let bench = Bench::new(&tree.finish());
    for between in forms() {
        let clone = bench.overlay(between, true);
        for number in 0..256 {
            let path = clone.path().join(format!("{number:02x}"));
            let error = fs::symlink_metadata(path).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
        // A name that is hidden can be given anew.
        fs::create_dir(clone.path().join("ab")).unwrap();
        assert_eq!(fs::read_dir(clone.path().join("ab")).unwrap().count(), 0);
        fs::remove_dir(clone.path().join("ab")).unwrap();
        assert_eq!(fs::read_dir(clone.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_whiteout_of_the_tree_hides_what_it_should_in_an_overlay_inside_the_clone() {
    if !is_root() || !has_kernel((6, 8)) {
        return;
    }
    let tree = everything(true);
    let bench = Bench::new(&tree);
    let clone = bench.overlay("::", false);
    let layers = clone.path().join("layers");
    let options = format!("lowerdir={0}/top:{0}/base", layers.display());
    let inner = Mount::new(
        "overlay",
        Path::new("none"),
        &options,
        &bench.top.join("inner"),
    );
    let names = fs::read_dir(inner.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["opaque", "there"]);
}

#[test]
fn a_file_of_the_image_can_be_changed_linked_and_replaced() {
    if !is_root() {
        return;
    }
    let mut tree = Builder::new();
    tree.directory("etc").perm = 0o755;
    tree.file("etc/motd", b"hello").mtime.sec = 1;
    tree.file("etc/second", b"second");
    let bench = Bench::new(&tree.finish());
    for between in forms() {
        let clone = bench.overlay(between, true);
        let etc = clone.path().join("etc");
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(etc.join("motd"))
            .unwrap();
        file.write_all(b", clone").unwrap();
        fs::hard_link(etc.join("second"), etc.join("third")).unwrap();
        fs::rename(etc.join("second"), clone.path().join("ab")).unwrap();
        assert_eq!(fs::read(etc.join("motd")).unwrap(), b"hello, clone");
        assert_eq!(fs::read(etc.join("third")).unwrap(), b"second");
        assert_eq!(fs::read(clone.path().join("ab")).unwrap(), b"second");
        assert_eq!(fs::read_dir(&etc).unwrap().count(), 2);
        fs::rename(&etc, clone.path().join("cd")).unwrap();
        let moved = clone.path().join("cd/motd");
        assert_eq!(fs::read(moved).unwrap(), b"hello, clone");
        drop(file);
        drop(clone);
        bench.new_session();
    }
}

#[test]
fn the_same_manifest_makes_the_same_image() {
    let tree = everything(true);
    assert!(tree.image() == tree.image());
}

#[test]
fn an_image_is_as_large_as_its_inodes_and_names() {
    let mut tree = Builder::new();
    for folder in 0..100 {
        tree.directory(format!("{folder}"));
        for number in 0..50 {
            let name = format!("{folder}/file number {number}");
            let content = name.clone().into_bytes();
            let file = tree.file(name, &content);
            give(
                file,
                &[("security.selinux", b"system_u:object_r:usr_t:s0\0")],
            );
        }
    }
    let per_file = tree.finish().image().len() / 5000;
    // 192 for the inode, 12 and up to 17 for the name, and what is left free at the end of blocks.
    assert!((219..240).contains(&per_file), "{per_file}");
}

#[test]
fn a_top_directory_alone_makes_an_image() {
    let image = Builder::new().finish().image();
    // Superblock, inodes with the whiteouts' names, shared xattrs.
    assert_eq!(image.len(), 3 * 4096);
}
