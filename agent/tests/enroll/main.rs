//! `enroll` and `unenroll` on machines that are folders: both change a machine as a whole, or not at all.
#![allow(clippy::unwrap_used)]

mod bootable;
mod hook;
mod machine;
mod pool;
#[path = "../support/programs.rs"]
mod programs;
mod running;

use std::fs;
use std::path::Path;

use machine::{Generator, Machine, Server};
use programs::{Site, complaint, succeed};

const CONF: &str = "etc/reclone/reclone.conf";
const MARK: &str = "# By `reclone enroll`; `reclone unenroll` takes these lines out again.";
const IMAGES: [&str; 2] = ["boot/initrd.img-6.1", "boot/initrd.img-6.12"];

/// A model with a tree of one file and the modules of a kernel, published and served.
fn site(folder: &Path) -> (Site, Server) {
    let site = Site::new(folder);
    let modules = site.tree.join("usr/lib/modules/6.12-model");
    fs::create_dir_all(&modules).unwrap();
    fs::write(modules.join("modules.dep"), "").unwrap();
    fs::write(site.tree.join("file"), "content").unwrap();
    site.publish();
    let server = Server::start(&site);
    (site, server)
}

fn configuration(server: &Server) -> String {
    format!("{MARK}\nstore = {}\nkey = {}\n", server.url, server.key)
}

#[test]
fn enroll_makes_a_clone_and_unenroll_makes_it_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (_, server) = site(folder.path());
    for (generator, called) in [
        (Generator::Tools, "/usr/sbin/update-initramfs -u -k all\n"),
        (
            Generator::Dracut,
            "/usr/sbin/dracut --quiet --force --regenerate-all\n",
        ),
    ] {
        let machine = Machine::new(generator);
        let (said, log) = succeed(&mut machine.enroll(&server, &[]));
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "model:   test");
        assert_eq!(
            lines[1],
            "generation 1 would be fetched: 1 objects, 0.0 MiB"
        );
        assert_eq!(lines[5], "kernels: 6.12-model");
        assert!(lines[6].starts_with("machine: Linux "), "{said}");
        assert_eq!(
            lines[7],
            "loader:  none that gets the model's kernels: this disk has no boot loader that reclone knows: no /boot/grub/grub.cfg, and no loader/entries on a FAT, by its /etc/fstab"
        );
        assert_eq!(
            lines[8],
            "this machine is a clone from its next boot on; with reclone=off on the kernel command line it boots as it is now"
        );
        assert!(
            log.contains("the model has no modules of this machine's kernel"),
            "{log}"
        );
        assert_eq!(machine.calls(), called);
        let written = configuration(&server);
        assert_eq!(machine.read(CONF).unwrap(), written);
        for image in IMAGES {
            assert_eq!(machine.configuration_in(image).unwrap(), written);
        }
        assert!(
            !machine.path("reclone").exists(),
            "the pool is the boot's to make"
        );

        let (said, _) = succeed(&mut machine.unenroll(&[]));
        assert_eq!(said, "this machine is no clone any more\n");
        assert_eq!(machine.calls(), called);
        assert!(!machine.path("etc/reclone").exists());
        for image in IMAGES {
            assert_eq!(machine.configuration_in(image), None);
        }
    }
}

#[test]
fn a_dry_run_tells_everything_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (site, server) = site(folder.path());
    let machine = Machine::new(Generator::Tools);
    fs::copy(site.public_key(), machine.path("model.pub")).unwrap();
    let before = machine.everything();
    let words = [
        "/usr/sbin/reclone",
        "enroll",
        &server.url,
        "--dry-run",
        "--key",
        "/model.pub",
    ];
    let (said, _) = succeed(&mut machine.command(&words));
    let end = format!(
        "would write /etc/reclone/reclone.conf and run `update-initramfs -u -k all`:\n{}",
        configuration(&server)
    );
    assert!(said.ends_with(&end), "{said}");
    assert_eq!(machine.everything(), before);
    succeed(&mut machine.enroll(&server, &[]));
    let before = machine.everything();
    let (said, _) = succeed(&mut machine.unenroll(&["--dry-run"]));
    assert_eq!(
        said,
        "would make this machine no clone and run `update-initramfs -u -k all`\n"
    );
    assert_eq!(machine.everything(), before);
}

#[test]
fn what_a_person_wrote_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (_, server) = site(folder.path());
    let machine = Machine::new(Generator::Tools);
    machine.write(CONF, "# the lab\nstore = http://old\ntimeout = 9\n");
    machine.write("etc/reclone/ca.pem", "x");
    succeed(&mut machine.enroll(&server, &["--model", "test"]));
    let own = format!("{}model = test\n", configuration(&server));
    let rest = "# the lab\ntimeout = 9\n";
    assert_eq!(machine.read(CONF).unwrap(), format!("{own}{rest}"));
    // A second time is like the first.
    succeed(&mut machine.enroll(&server, &["--model", "test"]));
    assert_eq!(machine.read(CONF).unwrap(), format!("{own}{rest}"));
    let edited = format!("{own}{rest}sessions = 5\n");
    machine.write(CONF, &edited);
    let (_, log) = succeed(&mut machine.unenroll(&[]));
    let text = "/etc/reclone/reclone.conf keeps the lines that do not make a clone";
    assert!(log.contains(text), "{log}");
    let left = format!("{rest}sessions = 5\n");
    assert_eq!(machine.read(CONF).unwrap(), left);
    assert_eq!(machine.configuration_in(IMAGES[0]).unwrap(), left);
    // Where the file goes, others in its folder do not.
    machine.write(CONF, &configuration(&server));
    let (_, log) = succeed(&mut machine.unenroll(&[]));
    assert!(
        log.contains("/etc/reclone stays: there is more in it"),
        "{log}"
    );
    assert_eq!(machine.read(CONF), None);
    assert_eq!(machine.read("etc/reclone/ca.pem").unwrap(), "x");
}

#[test]
fn an_initramfs_that_can_not_be_made_brings_the_former_configuration_back() {
    let folder = tempfile::tempdir().unwrap();
    let (_, server) = site(folder.path());
    let machine = Machine::new(Generator::Tools);
    let command = "`update-initramfs -u -k all`";
    let fine = "nothing has changed, the former configuration is back";
    for (obstacle, said) in [
        (
            "idle",
            format!("{command} did not make /boot/initrd.img-6.1 anew: {fine}"),
        ),
        (
            "blind",
            format!(
                "/boot/initrd.img-6.1 was made anew and lacks the agent or its configuration: {fine}"
            ),
        ),
        (
            "broken",
            format!(
                "{command} failed (exit status: 1): the former configuration is back, but {command} failed (exit status: 1) once more: \
                 mend that and run it, for an initramfs may have the other one"
            ),
        ),
    ] {
        for former in [None, Some("timeout = 9\n")] {
            if let Some(former) = former {
                machine.write(CONF, former);
            }
            machine.write(obstacle, "");
            let error = complaint(&mut machine.enroll(&server, &[]), 1);
            // Which of the two comes first is the disk's order.
            assert_eq!(error.replace("6.12", "6.1"), said);
            assert_eq!(machine.read(CONF).as_deref(), former);
            fs::remove_file(machine.path(obstacle)).unwrap();
            let _ = fs::remove_dir_all(machine.path("etc/reclone"));
        }
    }
    succeed(&mut machine.enroll(&server, &[]));
    let written = machine.read(CONF);
    machine.write("broken", "");
    complaint(&mut machine.unenroll(&[]), 1);
    assert_eq!(machine.read(CONF), written);
    fs::remove_file(machine.path("broken")).unwrap();
    succeed(&mut machine.unenroll(&[]));
    assert_eq!(machine.read(CONF), None);
}

#[test]
fn a_machine_that_can_not_be_a_clone_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (site, server) = site(folder.path());
    let machine = Machine::new(Generator::Tools);
    let before = machine.everything();
    let enroll = |more: &[&str], status| complaint(&mut machine.enroll(&server, more), status);
    assert_eq!(
        enroll(&["--ca", "/root/ca.pem"], 2),
        "--ca /root/ca.pem: put the file into /etc/reclone, which the initramfs takes along"
    );
    assert_eq!(
        enroll(&["--model", "other"], 5),
        "The store publishes the model `test`, this clone follows `other`: name the right store, or the model with --model or reclone.model="
    );
    let by = |store: &str, key: &str, status| {
        let words = ["/usr/sbin/reclone", "enroll", store, "--key", key];
        complaint(&mut machine.command(&words), status)
    };
    let other = Site::new(&folder.path().join("other"));
    let other = fs::read_to_string(other.public_key()).unwrap();
    let said = by(&server.url, other.lines().nth(1).unwrap(), 5);
    assert!(
        said.starts_with(&format!("{}/head: ", server.url)),
        "{said}"
    );
    let path = site.store.display().to_string();
    assert_eq!(
        by(&path, &server.key, 2),
        format!("{path}: a boot asks its store over the network, at http://… or https://…")
    );
    assert_eq!(machine.everything(), before);

    let hook = machine.path("usr/share/initramfs-tools/hooks/reclone");
    fs::remove_file(&hook).unwrap();
    assert_eq!(
        enroll(&[], 2),
        "/usr/share/initramfs-tools/hooks/reclone is missing: install the package for initramfs-tools, or `make install-clone`"
    );
    fs::remove_file(machine.path("usr/sbin/mkinitramfs")).unwrap();
    assert_eq!(
        enroll(&[], 2),
        "this machine has neither initramfs-tools nor dracut"
    );
    assert_eq!(machine.read(CONF), None);
}
