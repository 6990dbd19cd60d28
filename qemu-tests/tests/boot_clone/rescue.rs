//! The rescue shell: what somebody at the machine can do by hand, and what a clone says that has nothing to boot.

use qemu_tests::facts::Facts;
use qemu_tests::image::is_clean;

use crate::{Case, store_word};

#[test]
fn the_verbs_work_by_hand_in_the_rescue_shell() {
    let Some(case) = Case::new("rescue") else {
        return;
    };
    assert_eq!(case.publish("by hand"), 2);
    let server = case.site.serve(&case.store).unwrap();
    let mut machine = case
        .site
        .machine(&case.disk)
        .words("reclone=off break=bottom")
        .with_shell()
        .start()
        .unwrap();
    machine.console.expect("(initramfs)").unwrap();
    let mut ask = |command: &str| {
        let answer = machine.report(command).unwrap();
        println!("## {command}\n{answer}");
        answer
    };
    let status = ask("reclone status");
    assert!(status.contains("current:    generation 1 ("), "{status}");
    ask("mount -o remount,rw /root");
    ask("modprobe virtio_net");
    let synced = ask(&format!("reclone sync --store {}", server.url()));
    assert!(synced.contains("generation 2 is current: "), "{synced}");
    let status = ask("reclone status --json");
    assert!(
        status.contains("\"current\":2") && status.contains("\"previous\":1"),
        "{status}"
    );
    let tree = ask(
        "mkdir /look; reclone assemble --session none /look; cat /look/etc/model-version; umount /look",
    );
    assert!(tree.ends_with("by hand\n"), "{tree}");
    ask("umount /root");
    machine.console.send("poweroff -f").unwrap();
    machine.console.drain().unwrap();
    assert!(is_clean(&case.disk_path()).unwrap());
}

#[test]
fn a_clone_with_nothing_to_boot_says_so_and_tries_again_when_told() {
    let Some(case) = Case::new("nothing") else {
        return;
    };
    let site = case.site;
    site.copy("plain.img", &case.disk).unwrap();
    // The port is free again once the server has ended.
    let server = site.serve(&site.store()).unwrap();
    let (url, port) = (server.url().to_owned(), server.port());
    drop(server);
    let mut machine = case
        .machine(&store_word(&url))
        .with_shell()
        .start()
        .unwrap();
    let said = machine.console.expect("(initramfs)").unwrap();
    for line in [
        "reclone: to boot the plain root partition: add reclone=off to the kernel command line",
        "reclone: error: http://10.0.2.2:",
        "reclone: nothing to boot, see above",
    ] {
        assert!(said.contains(line), "no `{line}` in:\n{said}");
    }
    // The plain system is back in its place, and the network is as it was.
    let found = machine
        .report("cat /root/etc/only-on-the-plain-disk; ip addr | grep -c 'inet 10'")
        .unwrap();
    assert_eq!(found, "plain\n0\n");
    let server = site.serve_at(&site.store(), port).unwrap();
    machine.console.send("exit").unwrap();
    machine.log_in().unwrap();
    let facts = Facts::of(&mut machine).unwrap();
    facts.assert_runs(1);
    assert_eq!(server.requests().unwrap()[0], "GET /head");
    facts.power_off(machine, &case.disk_path()).unwrap();
}
