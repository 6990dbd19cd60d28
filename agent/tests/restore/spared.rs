//! What a restore leaves alone, and what it refuses before it changes anything.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::mounts::{Mount, ext4, is_root};
use crate::programs::{complaint, succeed};
use crate::tree_compare::look;
use crate::{Clone, home, restore};

#[test]
fn what_is_mounted_what_is_kept_and_the_pool_stay() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4, home);
    let _assembled = clone.assemble();
    let root = clone.root();
    fs::write(root.join("etc/hostname"), "clone").unwrap();
    fs::write(root.join("etc/ssh/ssh_host_key"), "secret").unwrap();
    fs::write(root.join("etc/motd"), "changed").unwrap();
    fs::write(root.join("etc/more"), "new").unwrap();
    let inner = Mount::new(
        "tmpfs",
        Path::new("none"),
        "size=1m",
        &root.join("home/kiosk/mnt"),
    );
    fs::write(inner.path().join("file"), "mounted").unwrap();
    fs::write(root.join("home/kiosk/.profile"), "changed").unwrap();
    restore(&clone.site, &root, &["/", "/etc", "/home/kiosk"]);
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(read("etc/hostname"), "clone");
    assert_eq!(read("etc/ssh/ssh_host_key"), "secret");
    assert_eq!(read("etc/motd"), "welcome");
    assert!(!root.join("etc/more").exists());
    assert_eq!(read("home/kiosk/.profile"), "profile");
    assert_eq!(read("home/kiosk/mnt/file"), "mounted");
    drop(inner);
    restore(&clone.site, &root, &["/home"]);
    assert!(!root.join("home/kiosk/mnt").exists());

    let mut command = clone.site.verb("restore");
    command.arg("--to").arg(&root);
    assert_eq!(
        complaint(command.arg("/etc/hostname"), 2),
        "/etc/hostname makes this clone itself and is not restored"
    );
    // The pool is below the top that is restored, and lives.
    let disk = clone.disk.path().to_owned();
    let mut command = clone.site.verb("restore");
    succeed(command.arg("--to").arg(&disk).arg("/"));
    assert_eq!(look(&disk.join("home")), look(&disk.join("home")));
    assert!(
        !clone.site.tree.exists(),
        "the rest of that disk is not the model's"
    );
    succeed(&mut clone.site.verb("verify"));
}

#[test]
fn nothing_is_followed_and_wrong_paths_are_refused() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4, home);
    let _assembled = clone.assemble();
    let root = clone.root();
    let victim = clone.folder.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("one"), "victim's").unwrap();
    let folder = root.join("home/kiosk/.config/app");
    fs::remove_dir_all(&folder).unwrap();
    symlink(&victim, &folder).unwrap();
    let run = |path: &str, status| {
        let mut command = clone.site.verb("restore");
        command.arg("--to").arg(&root).arg(path);
        complaint(&mut command, status)
    };
    assert_eq!(
        run("/home/kiosk/.config/app/one", 2),
        format!(
            "{}/home/kiosk/.config/app/one goes through a symbolic link: name the path that it leads to",
            root.display()
        )
    );
    restore(&clone.site, &root, &["/home/kiosk"]);
    assert_eq!(fs::read(victim.join("one")).unwrap(), b"victim's");
    assert_eq!(fs::read(folder.join("one")).unwrap(), b"one");
    assert_eq!(
        run("/home/nobody", 3),
        "Generation 1 has no /home/nobody: `reclone diff` tells what was added since"
    );
    symlink("etc", root.join("conf")).unwrap();
    assert_eq!(
        run("/conf/motd", 2),
        format!(
            "{}/conf/motd goes through a symbolic link: name the path that it leads to",
            root.display()
        )
    );
    assert_eq!(
        run("/home/../etc", 2),
        "/home/../etc: a path must not go up with `..`"
    );
    let mut command = clone.site.verb("restore");
    assert_eq!(
        complaint(command.args(["--generation", "7", "/etc"]), 3),
        format!("The pool {} has no generation 7", clone.site.pool.display())
    );
    // What an earlier run left, or a user put there, is no obstacle.
    let aside = root.join("home/.reclone-restore");
    fs::create_dir_all(aside.join("old")).unwrap();
    fs::write(root.join("home/kiosk/.profile"), "changed").unwrap();
    restore(&clone.site, &root, &["/home/kiosk"]);
    assert!(!aside.exists());
    // One that works there is.
    fs::create_dir(&aside).unwrap();
    fs::write(root.join("home/kiosk/.profile"), "changed").unwrap();
    let lock = File::open(&aside).unwrap();
    lock.lock().unwrap();
    let said = run("/home/kiosk", 7);
    assert!(
        said.ends_with("another reclone works on this pool; try again when it is done"),
        "{said}"
    );
}

#[test]
fn a_damaged_object_is_found_before_anything_is_replaced() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4, home);
    let _assembled = clone.assemble();
    let root = clone.root();
    let id = reclone_format::object_id_of(b"two").pool_path();
    fs::write(clone.site.pool.join("objects").join(&id), "tw0").unwrap();
    fs::write(root.join("home/kiosk/.config/app/one"), "1").unwrap();
    fs::write(root.join("home/kiosk/.config/app/two"), "2").unwrap();
    let mut command = clone.site.verb("restore");
    command.arg("--to").arg(&root).arg("/home/kiosk");
    let said = complaint(&mut command, 8);
    assert!(
        said.contains(&id) && said.ends_with("run `reclone verify --repair`"),
        "{said}"
    );
    assert_eq!(
        fs::read(root.join("home/kiosk/.config/app/one")).unwrap(),
        b"1"
    );
    assert!(!root.join("home/.reclone-restore").exists());
}

#[test]
fn only_root_restores() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("reclone");
    fs::copy(env!("CARGO_BIN_EXE_reclone"), &program).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--clear-groups"])
        .arg(&program);
    assert_eq!(
        complaint(command.args(["restore", "/etc"]), 2),
        "Only root may restore"
    );
}
