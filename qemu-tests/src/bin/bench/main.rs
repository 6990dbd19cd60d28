//! `make bench`: what reclone costs, beside what its peers cost on the same trees in the same run. Prints medians and
//! ratios; asserts nothing but that all made the same trees, for times depend on the machine. Runs as root: it drops the
//! page cache and mounts.

mod boot;
mod cases;
mod giant;
mod logon;
mod measure;
mod peers;
mod trees;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cases::Bench;

/// The cases beside `peers`, whose words narrow it.
const CASES: [&str; 5] = ["many", "giant", "reset", "logon", "boot"];

fn main() -> io::Result<()> {
    // Started by itself around each measured command: see `measure`.
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    match &words[..] {
        [flag, rest @ ..] if flag == measure::FLAG => return measure::run_and_report(rest),
        [flag, rest @ ..] if flag == peers::RESET_FLAG => {
            return peers::end_sessions_and_assemble(rest);
        }
        _ => {}
    }
    let words: Vec<_> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let [programs, work, only @ ..] = &words[..] else {
        return Err(io::Error::other(
            "usage: bench FOLDER-OF-PROGRAMS FOLDER-TO-WORK-IN [peers|many|giant|reset|logon|boot|WORD-OF-PEERS]…",
        ));
    };
    let wanted = |case: &str| only.is_empty() || only.iter().any(|word| word == case);
    let work = Path::new(work);
    let bench = Bench::new(Path::new(programs), work)?;
    bench.sizes()?;
    if only.is_empty() || only.iter().any(|word| !CASES.contains(&word.as_str())) {
        let runs = variable("BENCH_RUNS")
            .and_then(|runs| runs.parse().ok())
            .unwrap_or(3);
        peers::run(
            Path::new(programs),
            &upgrade()?,
            peers::Wanted::new(only),
            runs,
        )?;
    }
    if wanted("many") {
        for entries in [1_000, 70_000, 300_000] {
            let small = trees::small_files(&work.join(format!("small-{entries}")), entries)?;
            bench.no_change(&small)?;
        }
    }
    if wanted("giant") {
        bench.giant()?;
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

/// The folder of the three trees, which are built if they are not there.
fn upgrade() -> io::Result<PathBuf> {
    let size = variable("BENCH_SIZE").unwrap_or_else(|| "large".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/upgrade");
    let output = Command::new(script)
        .arg(size)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    match output.status.success() {
        true => Ok(PathBuf::from(text.lines().last().unwrap_or_default())),
        false => Err(io::Error::other(format!("{script}: {}", output.status))),
    }
}

/// A variable of the environment, if it is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
