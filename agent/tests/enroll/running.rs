//! A clone that runs: `/etc` is the model's, and what the boot went by is in `/run`.

use std::fs;

use crate::machine::{Generator, Machine};
use crate::programs::{complaint, succeed};
use crate::{CONF, site};

#[test]
fn a_clone_that_runs_can_not_be_enrolled() {
    let folder = tempfile::tempdir().unwrap();
    let (_, server) = site(folder.path());
    let machine = Machine::new(Generator::Tools);
    fs::create_dir_all(machine.path("run/reclone/pool")).unwrap();
    let said = "what runs is a generation of the model, and what is changed in it goes: \
                boot with reclone=off on the kernel command line and run this there";
    assert_eq!(complaint(&mut machine.enroll(&server, &[]), 2), said);
    assert_eq!(complaint(&mut machine.unenroll(&[]), 2), said);
}

#[test]
fn by_hand_a_clone_follows_whom_its_boot_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (site, server) = site(folder.path());
    let machine = Machine::new(Generator::Tools);
    fs::create_dir_all(machine.path("run/reclone/pool")).unwrap();
    machine.write(CONF, "store = http://127.0.0.1:1\nkey = the models own\n");
    let boots = format!(
        "store = {}\nkey = /etc/reclone/model.pub\ntoken-file = /etc/reclone/token\n",
        server.url
    );
    machine.write("run/reclone/etc/reclone.conf", &boots);
    machine.write("run/reclone/etc/token", "x");
    fs::copy(site.public_key(), machine.path("run/reclone/etc/model.pub")).unwrap();
    let run = |words: &[&str]| machine.command(&[&["/usr/sbin/reclone"], words].concat());

    let (said, _) = succeed(&mut run(&["sync"]));
    assert!(said.starts_with("generation 1 is current"), "{said}");
    fs::write(site.tree.join("file"), "changed").unwrap();
    site.publish();
    let (said, _) = succeed(&mut run(&["fetch"]));
    assert!(said.starts_with("generation 2 is staged"), "{said}");
    let (said, _) = succeed(&mut run(&["reset"]));
    assert!(said.starts_with("generation 2 is current"), "{said}");
    // What is said wins.
    let said = complaint(&mut run(&["sync", "--store", "/no store"]), 4);
    assert!(said.starts_with("/no store/head: "), "{said}");
    // Without a configuration of the boot it is the one that is there.
    fs::remove_file(machine.path("run/reclone/etc/reclone.conf")).unwrap();
    let said = complaint(&mut run(&["sync", "--timeout", "1"]), 2);
    assert!(said.starts_with("The public key is malformed"), "{said}");
    // And without any, the store is that of the last sync.
    fs::remove_file(machine.path(CONF)).unwrap();
    let key = ["sync", "--key", "/run/reclone/etc/model.pub"];
    let (said, _) = succeed(&mut run(&key));
    assert!(
        said.starts_with("generation 2 is current, nothing newer"),
        "{said}"
    );
}
