//! `make matrix`: every system goes through every case; the table at the end is that of docs/testing.md. Words on the command
//! line choose systems by a part of their name: `trixie`, `dracut`, `forky-initramfs-tools`.

use std::fmt::Write;
use std::io;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::matrix::{self, Outcome, SYSTEMS};

fn main() -> io::Result<()> {
    if !Machine::available() {
        return Err(io::Error::other("The matrix needs QEMU: run `make setup`"));
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |system: &System| {
        let name = system.to_string();
        words.is_empty() || words.iter().any(|word| name.contains(word))
    };
    let started = Instant::now();
    let results = run_all(SYSTEMS.into_iter().filter(wanted).collect());
    let mut table = heading();
    let mut failures = Vec::new();
    for (system, outcomes) in results {
        let outcomes = outcomes?;
        let cell = |passed: bool| if passed { "ok" } else { "**failed**" };
        let cells: Vec<&str> = outcomes
            .iter()
            .map(|(_, result)| cell(result.is_ok()))
            .collect();
        let _ = writeln!(table, "| {system} | {} |", cells.join(" | "));
        let failed = outcomes
            .into_iter()
            .filter_map(|(case, result)| Some(format!("{system}, {case}: {}", result.err()?)));
        failures.extend(failed);
    }
    failures.iter().for_each(|failure| println!("{failure}\n"));
    println!("{table}\n{} s", started.elapsed().as_secs());
    match failures.len() {
        0 => Ok(()),
        count => Err(io::Error::other(format!(
            "{count} cells of the matrix failed"
        ))),
    }
}

/// A machine has one processor, so as many systems run at a time as there are processors.
fn run_all(systems: Vec<System>) -> Vec<(System, io::Result<Vec<Outcome>>)> {
    let mut slots: Vec<_> = systems.into_iter().map(|system| (system, None)).collect();
    let waiting = Mutex::new(slots.iter_mut());
    let work = || {
        while let Some((system, result)) = waiting.lock().ok().and_then(|mut slots| slots.next()) {
            *result = Some(matrix::run(*system, |_| true));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let died = || io::Error::other("its thread ended before the system had");
    slots
        .into_iter()
        .map(|(system, result)| (system, result.unwrap_or_else(|| Err(died()))))
        .collect()
}

fn heading() -> String {
    let cases: Vec<&str> = matrix::cases().collect();
    let rule = "|---".repeat(cases.len() + 1);
    format!("\n| | {} |\n{rule}|\n", cases.join(" | "))
}
