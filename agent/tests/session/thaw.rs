//! A thawed clone, booted as an initramfs does: the session goes on as often as it was asked to, over the same generation.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Clone;
use crate::initramfs::Initramfs;
use crate::mounts::{ext4, is_root, xfs};
use crate::programs::succeed;

/// Boots once from the disk, which is unmounted meanwhile, does `work` in the booted root, and gives what was said.
fn boot(initramfs: &Initramfs, disk: &Path, words: &str, work: &str) -> String {
    let (unshare, none) = (Command::new("unshare"), Path::new(""));
    let output = initramfs.boot_and_run(unshare, (disk, "loop"), words, (none, work));
    let log = String::from_utf8_lossy(&output.stderr).into_owned() + &initramfs.log();
    assert!(output.status.success(), "{log}\n{output:?}");
    log
}

#[test]
fn a_thawed_session_goes_on_over_its_own_generation_as_often_as_asked() {
    if !is_root() {
        return;
    }
    for (make, name) in [(ext4 as fn(&Path, u64) -> _, "ext4"), (xfs, "xfs")] {
        let clone = Clone::new(make);
        fs::hard_link(
            clone.site.tree.join("srv/data"),
            clone.site.tree.join("etc/data"),
        )
        .unwrap();
        clone.site.publish();
        succeed(&mut clone.site.sync());
        let config = "key = /etc/reclone/model.pub\n";
        let initramfs = Initramfs::new(config, &clone.site.public_key());
        let Clone { folder, disk, .. } = clone;
        drop(disk);
        let disk = folder.path().join("disk");
        let boot = |words: &str, work: &str| boot(&initramfs, &disk, words, work);
        let begin = "echo 1 > work; echo linked > srv/data; chmod 600 etc/motd; mv home/kiosk/album home/kiosk/photos; chroot .. /reclone thaw --boots 2";
        boot("", begin);
        let check = "test \"$(cat etc/data)\" = linked; test \"$(stat -c %a etc/motd)\" = 600; \
            test \"$(cat etc/motd)\" = welcome; test \"$(cat home/kiosk/photos/one)\" = 1; test ! -e home/kiosk/album; ";
        let said = boot(
            "",
            &format!("{check} grep -q 1 work; echo 2 >> work; echo more > home/kiosk/photos/three"),
        );
        assert!(
            said.contains("the last session goes on; boots to come in which it does: 1"),
            "{name}: {said}"
        );
        assert!(
            said.contains("thawed: no new generation is taken"),
            "{said}"
        );
        let said = boot("", &format!("{check} grep -q 2 work; echo 3 >> work"));
        assert!(said.contains("boots to come in which it does: 0"), "{said}");
        let said = boot(
            "",
            "test ! -e work; test -e home/kiosk/album; ! grep -q linked etc/data",
        );
        assert!(!said.contains("thawed"), "{said}");
    }
}

#[test]
fn a_frozen_clone_a_reset_and_a_lost_session_begin_anew() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4);
    let initramfs = Initramfs::new("key = /etc/reclone/model.pub\n", &clone.site.public_key());
    let Clone { folder, disk, .. } = clone;
    drop(disk);
    let disk = folder.path().join("disk");
    let boot = |words: &str, work: &str| boot(&initramfs, &disk, words, work);
    let thaw = "echo 1 > work; chroot .. /reclone thaw";
    boot("", &format!("{thaw}; chroot .. /reclone freeze"));
    boot("", &format!("test ! -e work; {thaw}"));
    // The previous generation, of which there is none, or no thaw in between: the session waits.
    boot("reclone=rollback", "test ! -e work");
    boot(
        "",
        &format!("test -e work; {thaw}; rm -r ../run/reclone/disk/reclone/sessions/*/generation"),
    );
    let said = boot("", "test ! -e work");
    assert!(
        said.contains("the session that was to go on is not there: this boot begins anew"),
        "{said}"
    );
}

#[test]
fn who_goes_back_by_hand_gets_the_other_generation_though_the_clone_was_thawed() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4);
    fs::write(clone.site.tree.join("etc/motd"), "newer").unwrap();
    clone.site.publish();
    succeed(&mut clone.site.sync());
    let initramfs = Initramfs::new("key = /etc/reclone/model.pub\n", &clone.site.public_key());
    let Clone { folder, disk, .. } = clone;
    drop(disk);
    let disk = folder.path().join("disk");
    let boot = |words: &str, work: &str| boot(&initramfs, &disk, words, work);
    let back = "chroot .. /reclone thaw --boots 9; chroot .. /reclone rollback";
    boot("", &format!("test $(cat etc/motd) = newer; {back}"));
    let said = boot("", &format!("test $(cat etc/motd) = welcome; {back}"));
    assert!(!said.contains("thawed:"), "{said}");
    boot("", "test $(cat etc/motd) = newer");
}
