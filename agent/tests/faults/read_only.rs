//! A disk that turns read-only while it is used, as ext4 does when it finds a fault.

use std::fs;

use crate::disk::{Clone, PausedSync, READ_ONLY};
use crate::faulty_disk::possible;
use crate::mounts::is_root;
use crate::programs::complaint;

/// Has ext4 believe that it found a fault; whether this kernel can.
fn turn_read_only(clone: &Clone) -> bool {
    let name = clone.disk.device().file_name().unwrap().to_str().unwrap();
    let trigger = format!("/sys/fs/ext4/{name}/trigger_fs_error");
    let can = fs::write(trigger, "1").is_ok();
    if !can {
        eprintln!("SKIPPED: this kernel's ext4 can not be made to turn read-only");
    }
    can
}

#[test]
fn a_disk_that_turns_read_only_under_a_sync_keeps_the_old_generation() {
    if !is_root() || !possible() {
        return;
    }
    let mut clone = Clone::new(48);
    clone.versions.publish(2);
    let sync = PausedSync::start(clone.site());
    if !turn_read_only(&clone) {
        return;
    }
    let place = |what: &str, name: &str| {
        format!("can not {what} {}: {READ_ONLY}", clone.pool(name).display())
    };
    assert_eq!(sync.fail(1), place("write", "staging/objects"));
    let locked = place("open", "lock");
    for mut verb in [
        clone.site().sync(),
        clone.site().verb("verify"),
        clone.site().verb("prune"),
    ] {
        assert_eq!(complaint(&mut verb, 1), locked, "{verb:?}");
    }
    assert_eq!(clone.versions.current(), 1);
    // The next boot is a mount anew.
    clone.boot_quietly("", 2);
    clone.versions.goes_on(2);
}
