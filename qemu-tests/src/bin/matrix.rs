//! `make matrix`: every system goes through every case; the table at the end is that of docs/testing.md. Words on the command
//! line choose systems by a part of their name: `trixie`, `dracut`, `forky-initramfs-tools`.

use std::fmt::Write;
use std::io;
use std::time::Instant;

use qemu_tests::machine::Machine;
use qemu_tests::matrix::{self, SYSTEMS};

fn main() -> io::Result<()> {
    if !Machine::available() {
        return Err(io::Error::other("The matrix needs QEMU: run `make setup`"));
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let started = Instant::now();
    let mut table = heading();
    let mut failures = Vec::new();
    for system in SYSTEMS {
        let name = system.to_string();
        if !words.is_empty() && !words.iter().any(|word| name.contains(word)) {
            continue;
        }
        let outcomes = matrix::run(system, |_| true)?;
        let cell = |passed: bool| if passed { "ok" } else { "**failed**" };
        let cells: Vec<&str> = outcomes
            .iter()
            .map(|(_, result)| cell(result.is_ok()))
            .collect();
        let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
        let failed = outcomes
            .into_iter()
            .filter_map(|(case, result)| Some(format!("{name}, {case}: {}", result.err()?)));
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

fn heading() -> String {
    let cases: Vec<&str> = matrix::cases().collect();
    let rule = "|---".repeat(cases.len() + 1);
    format!("\n| | {} |\n{rule}|\n", cases.join(" | "))
}
