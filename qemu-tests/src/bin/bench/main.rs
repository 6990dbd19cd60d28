//! `make bench`: what reclone costs, beside what its peers cost on the same trees in the same run. Prints medians and
//! ratios; asserts nothing, for times depend on the machine. Runs as root: it drops the page cache and mounts.

mod boot;
mod cases;
mod logon;
mod measure;
mod trees;

use std::io;
use std::path::Path;

use cases::Bench;

/// Entries and bytes of the large tree: about a Debian desktop.
const ENTRIES: usize = 70_000;
const BYTES: u64 = 2_500_000_000;

fn main() -> io::Result<()> {
    // Started by itself around each measured command: see `measure`.
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if let [flag, rest @ ..] = &words[..]
        && flag == measure::FLAG
    {
        return measure::run_and_report(rest);
    }
    let [programs, work, only @ ..] = &words[..] else {
        return Err(io::Error::other(
            "usage: bench FOLDER-OF-PROGRAMS FOLDER-TO-WORK-IN [publish|clone|nothing|reset|logon|boot]…",
        ));
    };
    let wanted = |case: &str| only.is_empty() || only.iter().any(|word| word == case);
    let work = Path::new(work);
    let bench = Bench::new(Path::new(programs), work)?;
    bench.sizes()?;
    if wanted("publish") || wanted("clone") {
        let large = trees::real(Path::new("/usr"), &work.join("tree"), ENTRIES, BYTES)?;
        println!("{large}");
        bench.publish(&large)?;
        if wanted("clone") {
            bench.first_clone(&large)?;
        }
    }
    if wanted("nothing") {
        for entries in [1_000, ENTRIES, 300_000] {
            let small = trees::small_files(&work.join(format!("small-{entries}")), entries)?;
            bench.no_change(&small)?;
        }
    }
    if wanted("reset") {
        bench.reset(100_000)?;
    }
    if wanted("logon") {
        bench.logon()?;
    }
    match wanted("boot") {
        true => boot::added_time(),
        false => Ok(()),
    }
}
