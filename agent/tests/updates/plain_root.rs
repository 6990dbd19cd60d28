//! A first clone of a machine that has the model's files already.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::model::Model;
use crate::mounts::{Mount, is_root};
use crate::programs::succeed;
use crate::server::FaultyServer;
use crate::{content, tree};

/// A first sync with this plain root; gives what was said, and the bytes that came.
fn first_sync(model: &Model, root: &Path) -> (String, u64) {
    let server = FaultyServer::start();
    model.serve(&server);
    let mut sync = model.site.sync_from(server.url());
    let (stdout, stderr) = succeed(sync.arg("--plain-root").arg(root));
    (stdout + &stderr, server.sent())
}

#[test]
fn files_that_are_here_already_are_not_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new(folder.path());
    model.publish(tree(1));
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    // One that is right, one of the right size, one that only a link leads to, one that is nothing to read.
    fs::write(root.join("a"), content(1, 1)).unwrap();
    fs::write(root.join("b"), content(2, 9)).unwrap();
    fs::write(root.join("elsewhere"), content(3, 1)).unwrap();
    symlink("elsewhere", root.join("c")).unwrap();
    succeed(Command::new("mkfifo").arg(root.join("d")));
    let (said, sent) = first_sync(&model, &root);
    assert!(said.contains("took 1 objects, 0.1 MiB, from"), "{said}");
    assert!(
        said.starts_with("generation 1 is current: 3 objects"),
        "{said}"
    );
    assert!((180_000..185_000).contains(&sent), "{sent}");
    model.assert_followed();
    assert!(fs::read(root.join("b")).unwrap() == content(2, 9));
    succeed(&mut model.site.verb("verify"));
}

#[test]
fn an_update_does_not_look_at_the_plain_root() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new(folder.path());
    model.publish(tree(1));
    succeed(&mut model.site.sync());
    model.publish(tree(2));
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), content(1, 2)).unwrap();
    let (said, _) = first_sync(&model, &root);
    assert!(!said.contains("took"), "{said}");
    model.assert_followed();
}

#[test]
fn copies_share_their_blocks_where_the_file_system_can() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk");
    fs::File::create(&image)
        .unwrap()
        .set_len(400 << 20)
        .unwrap();
    let mut mkfs = Command::new("mkfs.xfs");
    succeed(mkfs.args(["-q", "-m", "reflink=1"]).arg(&image));
    let disk = Mount::new("xfs", &image, "loop", &folder.path().join("mounted"));
    let mut model = Model::new(folder.path());
    model.site.pool = disk.path().join("pool");
    model.publish(tree(1));
    let root = disk.path().join("root");
    fs::create_dir(&root).unwrap();
    for (name, content) in tree(1) {
        fs::write(root.join(name), content).unwrap();
    }
    let (said, _) = first_sync(&model, &root);
    assert!(said.contains("took 4 objects"), "{said}");
    model.assert_followed();
    let id = crate::raw::named(&content(1, 1)).0;
    let mut filefrag = Command::new("filefrag");
    let (extents, _) = succeed(filefrag.arg("-v").arg(model.object(&id)));
    assert!(extents.contains("shared"), "{extents}");
}
