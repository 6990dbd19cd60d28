//! Trees of several file systems. Run as root: it mounts.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Model, Mounted};

#[test]
fn other_file_systems_are_published_only_when_asked_for() {
    let model = Model::new();
    model.write("file", "x");
    let _disk = Mounted::new(model.tree().join("srv/data"), &["-t", "tmpfs", "none"]);
    let _kernel = Mounted::new(model.tree().join("srv/kernel"), &["-t", "sysfs", "none"]);
    model.write("srv/data/inside", "y");
    let note = "/srv/data: contents left out, they are on another file system";
    model.publish(&[]).expect(0).says(note);
    let outside = ["/file", "/srv", "/srv/data", "/srv/kernel"];
    assert_eq!(model.paths(), outside);
    model.publish(&["--cross", "/srv/data"]).expect(0);
    assert_eq!(
        model.paths(),
        [&outside[..], &["/srv/data/inside"]].concat()
    );
    // A tmpfs is the kernel's own unless it is named.
    model.publish(&["--all-file-systems"]).expect(0).says(note);
    assert_eq!(model.paths(), outside);
}

#[test]
fn a_bind_mount_is_not_published_twice() {
    let model = Model::new();
    model.write("real/file", "x");
    let real = model.text("tree/real");
    let _bound = Mounted::new(model.tree().join("bound"), &["--bind", &real]);
    model.publish(&[]).expect(0);
    assert_eq!(model.paths(), ["/bound", "/real", "/real/file"]);
}
