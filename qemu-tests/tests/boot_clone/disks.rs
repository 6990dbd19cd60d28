//! Disks of several partitions, and disks that are not well.

use qemu_tests::image::{is_clean, make_disk, replace_file};

use crate::{Case, store_word};

const POOL: &str = "reclone.pool-device=LABEL=pool";

#[test]
fn pool_and_home_may_be_on_partitions_of_their_own() {
    let Some(case) = Case::new("own") else {
        return;
    };
    let site = case.site;
    site.copy("plain.img", &case.disk).unwrap();
    let fstab = "/dev/disk/by-id/virtio-root / ext4 errors=remount-ro 0 1\n/dev/disk/by-label/home /home ext4 defaults 0 2\n";
    replace_file(&case.disk_path(), "/etc/fstab", fstab).unwrap();
    make_disk(&site.path("own.pool"), "pool", 900).unwrap();
    make_disk(&site.path("own.home"), "home", 64).unwrap();
    let server = site.serve(&case.store).unwrap();
    let words = format!("{} {POOL}", store_word(server.url()));
    let machine = || {
        let machine = case.machine(&words).with_disk("pool", "own.pool");
        machine.with_disk("home", "own.home")
    };
    case.boot_machine(machine(), |machine, facts| {
        facts.assert_runs(1);
        let seen = "findmnt --noheadings --output SOURCE,FSTYPE /home | tr -s ' '; ls -d /run/reclone/disk/reclone 2>&1
ls /run/reclone/pooldisk | grep reclone; echo kept >/home/file; echo lost >/etc/drift";
        let expected = "/dev/disk/by-label/home ext4\nls: cannot access '/run/reclone/disk/reclone': No such file or directory\nreclone\n";
        let found = machine.report(seen).unwrap();
        assert_eq!(found.replace("/dev/vdd", "/dev/disk/by-label/home"), expected);
    });
    assert_eq!(case.publish("second"), 2);
    case.boot_machine(machine(), |machine, facts| {
        facts.assert_runs(2);
        let found = machine
            .report("cat /home/file; ls /etc/drift 2>&1")
            .unwrap();
        assert_eq!(
            found,
            "kept\nls: cannot access '/etc/drift': No such file or directory\n"
        );
    });
    for disk in ["own.pool", "own.home"] {
        assert!(is_clean(&site.path(disk)).unwrap(), "{disk}");
    }
}

#[test]
fn a_journal_is_recovered_after_the_plug_was_pulled() {
    let Some(case) = Case::new("journal") else {
        return;
    };
    let server = case.site.serve(&case.store).unwrap();
    let words = store_word(server.url());
    let mut machine = case.machine(&words).start().unwrap();
    machine.log_in().unwrap();
    machine
        .report("echo lost >/etc/drift; sync; echo more >/etc/hosts")
        .unwrap();
    drop(machine);
    assert!(
        !is_clean(&case.disk_path()).unwrap(),
        "there is nothing to recover"
    );
    case.boot(&words, |machine, facts| {
        facts.assert_runs(1);
        let found = machine
            .report(
                "ls /etc/drift 2>&1; cat /run/initramfs/fsck.log | grep -c 'recovering journal'",
            )
            .unwrap();
        assert_eq!(
            found,
            "ls: cannot access '/etc/drift': No such file or directory\n1\n"
        );
    });
}

#[test]
fn a_disk_that_is_read_only_boots_what_it_has() {
    let Some(case) = Case::new("readonly") else {
        return;
    };
    assert_eq!(case.publish("not to be had"), 2);
    let server = case.site.serve(&case.store).unwrap();
    let drive = format!("file={},format=raw,readonly=on", case.disk_path().display());
    let machine = case
        .machine(&store_word(server.url()))
        .words("ro")
        .with_drive(drive);
    case.boot_machine(machine, |machine, facts| {
        facts.assert_runs(1);
        let line = "reclone: warning: the disk can not be written to: this boot keeps nothing";
        assert!(facts.log().contains(line), "{}", facts.log());
        assert_eq!(
            machine
                .report("echo works >/etc/hosts; cat /etc/hosts")
                .unwrap(),
            "works\n"
        );
    });
}
