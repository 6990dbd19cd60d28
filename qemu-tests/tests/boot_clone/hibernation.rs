//! Hibernation: the resume comes before the root is mounted, so a system that resumes never meets the agent.

use std::process::Command;

use qemu_tests::facts::Facts;
use qemu_tests::image::run;

use crate::{Case, store_word};

const SWAP: &str = "/dev/disk/by-id/virtio-swap";
/// The shell goes on saying that it is awake, before and after.
const HIBERNATE: &str = "(while sleep 1; do echo awake; done) & echo shutdown >/sys/power/disk; echo disk >/sys/power/state";

#[test]
fn a_clone_that_resumes_never_meets_the_agent() {
    let Some(case) = Case::new("hibernation") else {
        return;
    };
    let swap = case.site.path("hibernation.swap");
    std::fs::File::create(&swap)
        .unwrap()
        .set_len(1200 << 20)
        .unwrap();
    run(Command::new("mkswap").arg("-q").arg(&swap)).unwrap();
    let server = case.site.serve(&case.store).unwrap();
    let words = format!("{} resume={SWAP}", store_word(server.url()));
    let start = || {
        let machine = case.machine(&words);
        machine
            .with_disk("swap", "hibernation.swap")
            .start()
            .unwrap()
    };
    let mut machine = start();
    machine.log_in().unwrap();
    Facts::of(&mut machine).unwrap().assert_runs(1);
    let before = machine
        .report(&format!(
            "swapon {SWAP}; echo this boot >/run/marker; cat /proc/sys/kernel/random/boot_id"
        ))
        .unwrap();
    machine.console.send(HIBERNATE).unwrap();
    machine.wait_until_off().unwrap();

    // A newer generation is there now; a boot would take it.
    assert_eq!(case.publish("while it slept"), 2);
    let asked = server.requests().unwrap().len();
    let mut machine = start();
    machine.console.expect("awake").unwrap();
    machine.console.ask("kill %1; swapoff -a").unwrap();
    let after = machine
        .report("cat /run/marker /proc/sys/kernel/random/boot_id")
        .unwrap();
    assert_eq!(after, format!("this boot\n{before}"));
    assert!(
        !machine.console.transcript.contains("reclone: "),
        "{}",
        machine.console.transcript
    );
    let facts = Facts::of(&mut machine).unwrap();
    println!("{facts}");
    facts.assert_runs(1);
    assert_eq!(server.requests().unwrap().len(), asked);
    facts.power_off(machine, &case.disk_path()).unwrap();
}
