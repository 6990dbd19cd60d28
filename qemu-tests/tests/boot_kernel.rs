//! A model with a new kernel: the clone starts it out of the generation, in the same boot, and boots the old generation where that does not
//! work.
#![allow(clippy::unwrap_used)]

use qemu_tests::facts::Facts;
use qemu_tests::kernels::TwoKernels;
use qemu_tests::machine::Machine;
use qemu_tests::site::{Site, store_word};

fn boot(site: &Site, words: &str, look: impl FnOnce(&mut Machine, &Facts)) {
    println!("### {words}");
    let mut machine = site.machine("clone.img").words(words).start().unwrap();
    let facts = Facts::once_up(&mut machine).unwrap();
    look(&mut machine, &facts);
    facts.power_off(machine, &site.path("clone.img")).unwrap();
}

fn kernel(machine: &mut Machine) -> String {
    machine.report("uname -r").unwrap().trim().to_owned()
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn a_clone_runs_the_kernel_of_its_model() {
    if !Machine::available() {
        return;
    }
    let kernels = TwoKernels::prepare("kernel", None);
    let TwoKernels { site, old, .. } = &kernels;
    assert_eq!(site.publish().unwrap(), 1);
    site.copy("plain.img", "clone.img").unwrap();
    let server = site.serve(&site.store()).unwrap();
    let words = store_word(server.url());
    boot(site, &words, |machine, facts| {
        facts.assert_runs(1);
        assert_eq!(&kernel(machine), old);
    });

    let new = kernels.upgrade();
    assert_eq!(site.publish().unwrap(), 2);
    let starting =
        format!("generation 2 has no modules for this kernel {old}: starting its own, {new}");
    // With the same kernel on its disk, each boot does it again.
    for _ in 0..2 {
        boot(site, &words, |machine, facts| {
            facts.assert_runs(2);
            assert_eq!(kernel(machine), new);
            let log = machine.report("cat /run/reclone/pool/log/boot; cat /proc/cmdline; ls /run/reclone/pool/kernel").unwrap();
            assert!(log.contains(&starting), "{log}");
            assert!(log.contains(&format!(" reclone.kernel={new}")), "{log}");
            assert!(
                log.contains("ls: cannot access '/run/reclone/pool/kernel'"),
                "{log}"
            );
            // The network card's driver is a module.
            assert!(
                facts.log().contains("the network is up on"),
                "{}",
                facts.log()
            );
        });
    }
    none_comes_back(site, &words, old, &starting);
}

/// A kernel from which no agent came back is not started again: the note of that is still there.
fn none_comes_back(site: &Site, words: &str, old: &str, starting: &str) {
    boot(site, words, |machine, facts| {
        facts.assert_runs(2);
        let note =
            "sed -n 's/.*\"manifest\":\"\\([0-9a-f]*\\)\".*/\\1/p' >/run/reclone/pool/kernel";
        machine
            .report(&format!("/run/initramfs/reclone status --json | {note}"))
            .unwrap();
    });
    boot(site, words, |machine, facts| {
        facts.assert_runs(1);
        assert_eq!(kernel(machine), old);
        let log = facts.log();
        assert!(!log.contains(starting), "{log}");
        let why = "and its own did not come to reclone when it was started";
        assert!(log.contains(why), "{log}");
    });
}
