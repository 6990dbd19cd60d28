//! What the root partition may be like.

use std::fs;
use std::process::Command;

use crate::programs::succeed;
use crate::{DHCP, Lab, MODEL, possible};

#[test]
fn a_disk_that_can_not_be_written_to_boots_what_it_has() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let _model = lab.serve(MODEL);
    let clone = lab.clone_of(MODEL);
    let booted = clone.boot_mounted("loop,ro", "");
    booted.assert_boots(1);
    for line in [
        "reclone: warning: the disk can not be written to: this boot keeps nothing",
        ": trying with what is written in memory",
    ] {
        assert!(booted.log.contains(line), "no `{line}` in:\n{}", booted.log);
    }
    clone.boot_mounted("loop", "ro").assert_boots(2);
}

#[test]
fn a_pool_may_be_on_a_partition_of_its_own() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let _model = lab.serve(MODEL);
    let clone = lab.clone_with(MODEL, "pool-device = /pool.img\npool = a/b\ntimeout = 20");
    // A loop device stands for the partition: the mount(2) of the agent takes nothing else.
    let image = clone.path("pool.raw");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    succeed(Command::new("mkfs.ext4").arg("-q").arg(&image));
    let (device, _) = succeed(
        Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&image),
    );
    std::os::unix::fs::symlink(device.trim(), clone.path("pool.img")).unwrap();
    let booted = [clone.boot(""), clone.boot("reclone=skip")];
    succeed(Command::new("losetup").arg("--detach").arg(device.trim()));
    assert!(
        booted[0].log.contains("generation 2 is new"),
        "{}",
        booted[0].log
    );
    booted[1].assert_boots(2);
    let missing = lab
        .clone_with(MODEL, "pool-device = LABEL=nowhere")
        .fail_to_boot("");
    let line = "can not mount the partition /dev/disk/by-label/nowhere";
    assert!(missing.contains(line), "no `{line}` in:\n{missing}");
}
