//! What a boot with nothing to do takes longer than one with `reclone=off`, on the same machine and disk.

use std::io;

use qemu_tests::facts::Facts;
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::site::{Site, store_word};

const RUNS: usize = 5;
const OFF: &str = "reclone=off";
const DISK: &str = "clone.img";
/// When the system's first program started, in microseconds since the kernel did; and how long the network took.
const QUESTION: &str = "systemctl show --property UserspaceTimestampMonotonic --value
tac /run/reclone/log 2>/dev/null | sed '/^boot at/q' | sed -n 's/.*the network is up on .* after \\([0-9.]*\\) s.*/\\1/p'";

/// Boots the clone alternately with these words; prints the medians.
pub fn added_time() -> io::Result<()> {
    println!(
        "boot without a change, until the system's first program starts ({RUNS} boots each, no KVM)"
    );
    let site = Site::create(System::DEFAULT, "bench-boot")?;
    site.publish()?;
    site.copy("plain.img", DISK)?;
    let server = site.serve(&site.store())?;
    let store = store_word(server.url());
    boot(&site, &store)?;
    let (mut on, mut off, mut network) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (started, waited) = boot(&site, &store)?;
        on.push(started);
        network.extend(waited);
        off.push(boot(&site, &format!("{store} {OFF}"))?.0);
    }
    let (on, off) = (median(on), median(off));
    println!("  reclone=on  {on:.2} s");
    println!("  reclone=off {off:.2} s");
    println!(
        "  added {:.2} s, of which {:.2} s were a wait for the network",
        on - off,
        median(network)
    );
    Ok(())
}

/// Seconds until the system started, and seconds that the network took, if it was wanted.
fn boot(site: &Site, words: &str) -> io::Result<(f64, Option<f64>)> {
    let mut machine: Machine = site.machine(DISK).words(words).start()?;
    machine.log_in()?;
    let answer = machine.report(QUESTION)?;
    let facts = Facts::of(&mut machine)?;
    match words.contains(OFF) {
        true => assert_eq!(facts.get("root"), "ext4"),
        false => facts.assert_runs(1),
    }
    facts.power_off(machine, &site.path(DISK))?;
    let mut lines = answer.lines();
    let number = |line: Option<&str>| line.and_then(|line| line.trim().parse::<f64>().ok());
    let started = number(lines.next()).map(|micros| micros / 1e6);
    let started = started.ok_or_else(|| io::Error::other(format!("No time in: {answer}")))?;
    Ok((started, number(lines.next())))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
