//! `make power-cut`: records a clone on every file system, and boots from its disk as any power cut could have left it.
//! `POINTS=n` bounds how many cuts are tried, `KINDS=xfs,…` chooses file systems by a part of their name, `SEED=n` begins what
//! is left to chance.

use std::env::{self, VarError};
use std::io::{self, Error};
use std::process::ExitCode;
use std::time::Instant;

use qemu_tests::power_cut::{self, plain::KINDS, record::record_all};
use qemu_tests::site::program;

const POINTS: usize = 42_000;
/// After so many violations on a file system the rest would say the same.
const ENOUGH: usize = 20;

fn main() -> ExitCode {
    match explore() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("power-cut: {error}");
            ExitCode::FAILURE
        }
    }
}

fn explore() -> io::Result<usize> {
    let points = number("POINTS", POINTS as u64)? as usize;
    let seed = number("SEED", u64::from(std::process::id()))?;
    let wanted = env::var("KINDS").unwrap_or_default();
    let agent = program("reclone");
    let (workshop, stores, recorder) = power_cut::prepare()?;
    let kinds: Vec<_> = KINDS
        .into_iter()
        .filter(|kind| wanted.split(',').any(|part| kind.name.contains(part)))
        .collect();
    println!("seed {seed}");
    let started = Instant::now();
    let recordings = record_all(&kinds, |kind| recorder.record(*kind, &agent, None))?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{} machines recorded in {seconds:.0} s", kinds.len());
    let (mut tried, mut violations) = (0, 0);
    for recording in &recordings {
        let (name, epochs) = (recording.kind.name, &recording.epochs);
        let writes: usize = epochs.iter().map(|epoch| epoch.writes.len()).sum();
        println!("{name}: {writes} writes, {} flushes", epochs.len());
        let started = Instant::now();
        let bounds = (points / kinds.len(), ENOUGH);
        let outcome = workshop.explore(recording, &stores, bounds, seed)?;
        let seconds = started.elapsed().as_secs_f64();
        outcome
            .violations
            .iter()
            .for_each(|line| println!("{line}"));
        println!(
            "{name}: {} points in {seconds:.0} s, {:.0} a second, {} of them booted",
            outcome.points,
            outcome.points as f64 / seconds,
            outcome.booted
        );
        tried += outcome.points;
        violations += outcome.violations.len();
    }
    println!("{tried} points, {violations} violations");
    Ok(violations)
}

fn number(name: &str, default: u64) -> io::Result<u64> {
    match env::var(name) {
        Err(VarError::NotPresent) => Ok(default),
        Ok(text) if text.is_empty() => Ok(default),
        Ok(text) => text
            .parse()
            .map_err(|_| Error::other(format!("{name}={text} is no number"))),
        Err(error) => Err(Error::other(error)),
    }
}
