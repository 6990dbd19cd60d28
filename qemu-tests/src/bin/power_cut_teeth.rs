//! `make power-cut-teeth`: the explorer must notice each barrier that an agent leaves out. The agent is one with the feature
//! `crash-points`; each barrier is tried on a file system that does not make up for it.

use std::env;
use std::io::{self, Error};
use std::path::PathBuf;
use std::process::ExitCode;

use qemu_tests::power_cut;
use qemu_tests::power_cut::plain::KINDS;
use qemu_tests::power_cut::record::{Omission, record_all};
use reclone::barrier::Barrier;

/// Cuts that are tried at most before a barrier counts as one that nobody misses.
const POINTS: usize = 1500;
const SEED: u64 = 1;

fn main() -> ExitCode {
    match bite() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("power-cut-teeth: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where a barrier is missed.
struct Trial {
    /// One of [`KINDS`].
    kind: &'static str,
    /// Its mount options, where they are not the usual ones.
    options: Option<&'static str>,
    /// How long the agent waits at the other barriers, in milliseconds.
    pause: u32,
}

/// ext4 writes a file out before a rename replaces another with it, unless told not to, and orders all its metadata. XFS does
/// not do the former, but shares the blocks of copies. btrfs does not order names that are not synced, but writes everything
/// each second here. What is not frozen has nothing but a journal to be in, which no boot loader reads. Longer than that second, a pause
/// has the names written and not yet the contents.
fn trial(barrier: Barrier) -> Trial {
    let usual = Trial {
        kind: "ext4-4k-ordered",
        options: None,
        pause: 1300,
    };
    match barrier {
        Barrier::Staged
        | Barrier::StateNamed
        | Barrier::Gathered
        | Barrier::Carried
        | Barrier::Replaced
        | Barrier::EntriesWritten
        | Barrier::EntriesNamed => usual,
        Barrier::StateWritten | Barrier::Mended => Trial {
            kind: "xfs",
            ..usual
        },
        Barrier::Named => Trial {
            kind: "btrfs",
            pause: 0,
            ..usual
        },
        Barrier::Kept => Trial {
            options: Some("data=ordered,commit=1,noauto_da_alloc"),
            ..usual
        },
        // No journal is to be written between this and the end of the boot.
        Barrier::Adopted => Trial {
            options: Some("data=ordered,commit=60"),
            pause: 0,
            ..usual
        },
    }
}

/// Whether each one was noticed. `AGENT` is the program, `OMIT` the one barrier to try instead of all.
fn bite() -> io::Result<bool> {
    let agent: PathBuf = env::var_os("AGENT")
        .ok_or_else(|| Error::other("AGENT names no agent with the feature `crash-points`"))?
        .into();
    let wanted = env::var("OMIT").unwrap_or_default();
    let barriers: Vec<Barrier> = Barrier::ALL
        .into_iter()
        .filter(|barrier| wanted.is_empty() || wanted.split(',').any(|it| it == barrier.name()))
        .collect();
    let (workshop, stores, recorder) = power_cut::prepare()?;
    let recordings = record_all(&barriers, |barrier| {
        let trial = trial(*barrier);
        let kind = KINDS.into_iter().find(|kind| kind.name == trial.kind);
        let mut kind = kind.ok_or_else(|| Error::other("no such file system"))?;
        kind.options = trial.options.unwrap_or(kind.options);
        let (name, pause) = (barrier.name(), trial.pause);
        recorder.record(kind, &agent, Some(Omission { name, pause }))
    })?;
    let mut all = true;
    for (barrier, recording) in barriers.iter().zip(&recordings) {
        let outcome = workshop.explore(recording, &stores, (POINTS, 1), SEED)?;
        let first = outcome.violations.first().and_then(|it| it.lines().next());
        match first {
            Some(line) => println!("{}: noticed: {line}", barrier.name()),
            None => println!(
                "{}: NOT noticed in {} points",
                barrier.name(),
                outcome.points
            ),
        }
        all &= !outcome.violations.is_empty();
    }
    Ok(all)
}
