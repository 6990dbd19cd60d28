//! Runs a program to its end, or to a kill.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use reclone::barrier::Barrier;

/// What it may meet on its way.
#[derive(Clone, Debug)]
pub enum Until {
    End,
    /// It is killed after this many milliseconds, unless it has ended.
    Killed(u64),
    /// It aborts there, if it comes there and was built for it.
    Barrier(String),
}

/// How it ended.
#[derive(Clone, Debug)]
pub enum End {
    Done(String),
    Failed(String),
    Killed,
}

impl Until {
    /// Mostly to the end.
    pub fn any(rng: &mut Rng) -> Self {
        match rng.u8(0..10) {
            // The verbs take some 10 ms, a boot 30.
            0 => Self::Killed(rng.u64(0..12)),
            1 => Self::Killed(rng.u64(0..40)),
            2..4 => {
                let barrier = Barrier::ALL[rng.usize(0..Barrier::ALL.len())];
                let side = if rng.bool() { "before" } else { "after" };
                Self::Barrier(format!("{side}-{}", barrier.name()))
            }
            _ => Self::End,
        }
    }

    pub fn run(&self, command: &mut Command) -> End {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Until::Barrier(point) = self {
            command.env("RECLONE_CRASH", point);
        }
        let mut child = command.spawn().unwrap();
        if let Until::Killed(after) = self {
            thread::sleep(Duration::from_millis(*after));
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.signal() {
            Some(libc::SIGKILL | libc::SIGABRT) => End::Killed,
            Some(signal) => panic!("{command:?}: signal {signal}"),
            // A panic.
            None if output.status.code() == Some(101) => panic!("{command:?}: {output:?}"),
            None if output.status.success() => End::Done(said(&output.stdout)),
            None => End::Failed(said(&output.stderr)),
        }
    }
}
