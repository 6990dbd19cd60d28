//! What a user did in a real Debian: undone at once, kept over boots, brought back after its end, gone at the next login.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use qemu_tests::facts::Facts;
use qemu_tests::image::{project, run};
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::site::{Site, store_word};

const RECLONE: &str = "/run/initramfs/reclone";

/// The model has a kiosk user, whose home is fresh at each login.
fn add_kiosk(site: &Site) {
    let tree = &site.model;
    let passwd = fs::read_to_string(tree.root().join("etc/passwd")).unwrap();
    let kiosk = "kiosk:*:4711:4711::/home/kiosk:/bin/sh\n";
    tree.write("etc/passwd", &(passwd + kiosk)).unwrap();
    tree.write("etc/reclone/fresh-homes", "kiosk\n").unwrap();
    tree.write("home/kiosk/.profile", "the model's\n").unwrap();
    tree.write("home/kiosk/.config/app", "the model's\n")
        .unwrap();
    let pam = fs::read_to_string(tree.root().join("etc/pam.d/su")).unwrap();
    let line = "session optional pam_exec.so quiet /usr/lib/reclone/fresh-home\n";
    tree.write("etc/pam.d/su", &(pam + line)).unwrap();
    let mut install = Command::new("install");
    let hook = project().join("units/fresh-home");
    let folder = tree.root().join("usr/lib/reclone");
    run(install.arg("-D").arg("-t").arg(folder).arg(hook)).unwrap();
    let mut chown = Command::new("chown");
    run(chown
        .args(["-R", "4711:4711"])
        .arg(tree.root().join("home/kiosk")))
    .unwrap();
    let mut capability = Command::new("setcap");
    let file = tree.root().join("home/kiosk/.config/app");
    run(capability.arg("cap_net_raw=ep").arg(file)).unwrap();
}

/// Boots the clone with these words, does `work` once it runs this generation, and powers off.
fn boot(site: &Site, words: &str, generation: u64, work: impl FnOnce(&mut Machine)) {
    println!("### {words}");
    let mut machine = site.machine("clone.img").words(words).start().unwrap();
    let facts = Facts::once_up(&mut machine).unwrap();
    facts.assert_runs(generation);
    work(&mut machine);
    facts.power_off(machine, &site.path("clone.img")).unwrap();
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn work_is_undone_kept_brought_back_and_gone_at_login() {
    if !Machine::available() {
        return;
    }
    let site = Site::prepare(System::DEFAULT, "session", &[], |_| Ok(())).unwrap();
    add_kiosk(&site);
    assert_eq!(site.publish().unwrap(), 1);
    site.copy("plain.img", "clone.img").unwrap();
    let server = site.serve(&site.store()).unwrap();
    let store = store_word(server.url());
    boot(&site, &store, 1, undone_at_once);
    site.model.write("etc/model-version", "2\n").unwrap();
    assert_eq!(site.publish().unwrap(), 2);
    let asked = server.requests().unwrap().len();
    boot(&site, &store, 1, |machine| {
        let said = machine
            .report("cat /root/thesis; stat -c %a /etc/issue; grep -c thawed: /run/reclone/log");
        assert_eq!(said.unwrap(), "much work\n600\n2\n");
    });
    assert_eq!(server.requests().unwrap().len(), asked, "nothing was asked");
    boot(&site, &store, 2, brought_back);
}

fn undone_at_once(machine: &mut Machine) {
    let login = "echo other >/home/kiosk/.profile; rm -r /home/kiosk/.config; touch /home/kiosk/new; \
        su kiosk -c 'cat .profile .config/app; ls -A' 2>&1; getcap /home/kiosk/.config/app; cd /; \
        stat -c '%U %a' /home/kiosk";
    let said = machine.report(&format!("cd /home/kiosk; {login}")).unwrap();
    println!("{said}");
    let app = "/home/kiosk/.config/app cap_net_raw=ep";
    assert_eq!(
        machine
            .report("cat /home/kiosk/.profile /home/kiosk/.config/app; ls -A /home/kiosk")
            .unwrap(),
        "the model's\nthe model's\n.config\n.profile\n",
        "{said}"
    );
    if !said.contains("getcap: ") && said.contains("getcap") {
        assert!(said.contains(app), "{said}");
    }
    let exchange = format!(
        "echo 1 >/etc/skel/one; rm /etc/skel/.bashrc; {RECLONE} diff /etc/skel 2>/dev/null; echo $?; \
         {RECLONE} -q restore /etc/skel >/dev/null; {RECLONE} diff /etc/skel; echo $?"
    );
    let said = machine.report(&exchange).unwrap();
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("attributes"))
        .collect();
    assert_eq!(
        lines,
        [
            "removed     /etc/skel/.bashrc",
            "added       /etc/skel/one",
            "9",
            "0"
        ]
    );
    let keep = format!(
        "echo much work >/root/thesis; chmod 600 /etc/issue; {RECLONE} thaw; {RECLONE} status | grep thawed"
    );
    let said = machine.report(&keep).unwrap();
    assert!(
        said.contains("what is written stays over the next boot"),
        "{said}"
    );
    assert!(said.contains("boots to come: 1"), "{said}");
}

/// The background unit has counted the session that ended with this boot.
fn brought_back(machine: &mut Machine) {
    let said = machine.report(
        "ls /root/thesis 2>&1; while systemctl is-active --quiet reclone-prune.service; do sleep 0.2; done; \
         journalctl --unit reclone-prune.service --output cat | grep -c 'has ended'",
    );
    let said = said.unwrap();
    assert!(
        said.starts_with("ls: cannot access '/root/thesis'"),
        "{said}"
    );
    assert!(said.ends_with("\n1\n"), "{said}");
    let said = machine.report(&format!(
        "{RECLONE} session list; {RECLONE} session diff 2>/dev/null | grep thesis; \
         {RECLONE} session recover --to /srv /root/thesis 2>/dev/null; cat /srv/thesis"
    ));
    let said = said.unwrap();
    assert!(said.starts_with("1: over generation 1, ended "), "{said}");
    assert!(
        said.ends_with(
            "added       /root/thesis\n/root/thesis of session 1 is at /srv/thesis\nmuch work\n"
        ),
        "{said}"
    );
}
