//! Generations that are no good, however they fail: the clone goes back to the one before by itself, once, and takes the next.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use qemu_tests::facts::Facts;
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::server::Server;
use qemu_tests::site::{Site, store_word};

/// One boot is as many as a new generation gets, and a minute for it.
const IMPATIENT: &str = "reclone.trial.boots=1 reclone.trial.timeout=60";
const WANTED: &str = "etc/systemd/system/multi-user.target.wants/part.service";

struct Case {
    site: Site,
    server: Server,
}

impl Case {
    fn words(&self) -> String {
        format!("{} {IMPATIENT}", store_word(self.server.url()))
    }

    /// The model gets a service that is started with the system.
    fn add_service(&self, lines: &str) {
        let tree = &self.site.model;
        let service = format!("[Service]\nType=oneshot\n{lines}\n");
        tree.write("etc/systemd/system/part.service", &service)
            .unwrap();
        symlink("../part.service", tree.root().join(WANTED)).unwrap();
    }

    fn remove_service(&self) {
        fs::remove_file(self.site.model.root().join(WANTED)).unwrap();
    }

    fn publish(&self, generation: u64) {
        assert_eq!(self.site.publish().unwrap(), generation);
    }

    fn start(&self) -> Machine {
        let words = self.words();
        println!("### {words}");
        let launch = self.site.machine("clone.img").words(&words);
        // A kernel that panics is this test's own: nothing on the command line has it start again.
        launch.with_shell().start().unwrap()
    }

    /// Boots a generation that starts the machine again by itself; the console has said this before.
    fn fails(&self, generation: u64, said: &str) {
        let ended = self.start().wait_until_off().unwrap();
        let on_trial = format!("generation {generation} is on trial: boot 1 of 1");
        for words in [&*on_trial, said] {
            assert!(
                ended.said.contains(words),
                "no `{words}` in:\n{}",
                ended.said
            );
        }
    }

    /// Boots, and this generation comes up, well.
    fn runs(&self, generation: u64, look: impl FnOnce(&mut Machine, &Facts)) {
        let mut machine = self.start();
        let facts = Facts::once_up(&mut machine).unwrap();
        facts.assert_runs(generation);
        look(&mut machine, &facts);
        let clone = self.site.path("clone.img");
        facts.power_off(machine, &clone).unwrap();
    }

    /// Boots, and this generation comes back in place of the failed one.
    fn goes_back(&self, failed: u64, back: u64) {
        self.runs(back, |_, facts| {
            let line = format!(
                "generation {failed} began 1 boots and none came to a good end: back to generation {back}, until the store has a newer one"
            );
            assert!(facts.log().contains(&line), "{}", facts.log());
            let refused = format!("\"refused\":{failed}");
            assert!(facts.get("status").contains(&refused), "{facts}");
            assert!(facts.get("status").contains("\"trial\":null"), "{facts}");
        });
    }
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn a_generation_that_is_no_good_makes_room_for_the_one_before() {
    if !Machine::available() {
        return;
    }
    let site = Site::prepare(System::DEFAULT, "trial", &[], |_| Ok(())).unwrap();
    site.copy("plain.img", "clone.img").unwrap();
    let server = site.serve(&site.store()).unwrap();
    let case = Case { site, server };
    case.publish(1);
    case.runs(1, |_, facts| {
        assert!(!facts.log().contains("on trial"), "{}", facts.log());
    });
    it_panics(&case);
    it_never_gets_there(&case);
    it_is_ill(&case);
    it_hangs(&case);
    it_has_no_init(&case);
    it_is_good(&case);
}

fn it_panics(case: &Case) {
    case.add_service("ExecStart=sh -c 'echo c >/proc/sysrq-trigger'");
    case.publish(2);
    case.remove_service();
    case.fails(2, "Kernel panic - not syncing: sysrq triggered crash");
    case.goes_back(2, 1);
}

/// It waits for something that does not come, and systemd starts the machine again, in order.
fn it_never_gets_there(case: &Case) {
    case.add_service("ExecStart=sleep infinity");
    case.publish(3);
    case.remove_service();
    case.fails(3, "reclone: all disks are clean");
    case.goes_back(3, 1);
}

fn it_is_ill(case: &Case) {
    let check = "etc/reclone/health.d/10-network";
    let path = case.site.model.root().join(check);
    let script = "#!/bin/sh\necho no network\nexit 1\n";
    case.site.model.write(check, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    case.publish(4);
    fs::write(&path, "#!/bin/sh\n").unwrap();
    let said = "The health check /etc/reclone/health.d/10-network failed: exit status: 1";
    case.fails(4, said);
    case.goes_back(4, 1);
}

/// Nothing of systemd runs: the watchdog starts the machine again.
fn it_hangs(case: &Case) {
    let init = init(case);
    let link = fs::read_link(&init).unwrap();
    fs::remove_file(&init).unwrap();
    let script = "#!/bin/sh\necho HANGING >/dev/console\nwhile :; do sleep 1000; done\n";
    fs::write(&init, script).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    case.publish(5);
    fs::remove_file(&init).unwrap();
    symlink(link, &init).unwrap();
    case.fails(5, "HANGING");
    case.goes_back(5, 1);
}

/// That is seen before it is tried.
fn it_has_no_init(case: &Case) {
    let init = init(case);
    let aside = init.with_extension("aside");
    fs::rename(&init, &aside).unwrap();
    case.publish(6);
    fs::rename(&aside, &init).unwrap();
    case.runs(1, |_, facts| {
        let line = "generation 6 lacks what is to run first: its init";
        assert!(facts.log().contains(line), "{}", facts.log());
    });
}

fn init(case: &Case) -> PathBuf {
    case.site.model.root().join("usr/sbin/init")
}

/// It proves itself, and nothing stays behind that could start the machine again.
fn it_is_good(case: &Case) {
    case.publish(7);
    case.runs(7, |machine, facts| {
        let log = facts.log();
        assert!(log.contains("generation 7 is on trial: boot 1 of 1"), "{log}");
        assert!(facts.get("status").contains("\"trial\":null"), "{facts}");
        let left = "cat /proc/sys/kernel/panic /sys/class/watchdog/watchdog0/state; ls /run/reclone/trial; \
            journalctl --unit reclone-good.service --output cat | grep ^generation";
        assert_eq!(
            machine.report(left).unwrap(),
            "0\ninactive\nls: cannot access '/run/reclone/trial': No such file or directory\n\
             generation 7 has proved itself\n"
        );
    });
    case.runs(7, |_, facts| {
        assert!(!facts.log().contains("on trial"), "{}", facts.log());
    });
}
