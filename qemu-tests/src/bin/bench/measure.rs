//! Measures one command: wall time, CPU time, peak memory. The command is started by a copy of this program, whose only
//! child it is: the kernel's account of a process's children then is the account of the command.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// The argument that makes this program a measuring one. What follows is a folder whose file system is synced within the
/// measured time, or nothing (an empty word), then the command.
pub const FLAG: &str = "--measure";

/// What a command cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub wall: Duration,
    pub cpu: Duration,
    /// Peak resident memory of the largest process, in KiB.
    pub memory: u64,
}

/// Runs a command and prints its cost as the last line of standard output.
pub fn run_and_report(words: &[OsString]) -> io::Result<()> {
    let [folder, program, arguments @ ..] = words else {
        return Err(io::Error::other("nothing to measure"));
    };
    let start = Instant::now();
    let status = Command::new(program).args(arguments).status()?;
    if !folder.is_empty() {
        rustix::fs::syncfs(File::open(folder)?)?;
    }
    let wall = start.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let cpu = micros(usage.user_time()) + micros(usage.system_time());
    println!("\n{} {cpu} {}", wall.as_micros(), usage.max_rss());
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{}: {status}", program.display()))),
    }
}

/// Runs a command, which must succeed, and gives its cost.
pub fn measure(command: &Command) -> io::Result<Cost> {
    measure_in(OsStr::new(""), command)
}

/// The same, until the file system that has this folder is on disk.
pub fn measure_synced(command: &Command, folder: &Path) -> io::Result<Cost> {
    measure_in(folder.as_os_str(), command)
}

fn measure_in(folder: &OsStr, command: &Command) -> io::Result<Cost> {
    let output = Command::new(std::env::current_exe()?)
        .arg(FLAG)
        .arg(folder)
        .arg(command.get_program())
        .args(command.get_args())
        .stderr(Stdio::piped())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = || {
        io::Error::other(format!(
            "{command:?}: {}{}",
            text,
            String::from_utf8_lossy(&output.stderr)
        ))
    };
    if !output.status.success() {
        return Err(failed());
    }
    let figures: Vec<u64> = text
        .lines()
        .last()
        .unwrap_or_default()
        .split(' ')
        .flat_map(str::parse)
        .collect();
    match figures[..] {
        [wall, cpu, memory] => Ok(Cost {
            wall: Duration::from_micros(wall),
            cpu: Duration::from_micros(cpu),
            memory,
        }),
        _ => Err(failed()),
    }
}

/// Runs a command, which must succeed: the lines that strace has of these system calls, of all its programs, one where a call begins and
/// another where it ends after another thread's. `options` are strace's; its file `trace` is removed.
pub fn calls_of(
    command: &Command,
    names: &str,
    options: &[&str],
    trace: &Path,
) -> io::Result<Vec<String>> {
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "--seccomp-bpf", "-qq", "-e", names])
        .args(options);
    let strace = strace.arg("-o").arg(trace).arg(command.get_program());
    let status = strace
        .args(command.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!(
            "{command:?} under strace: {status}"
        )));
    }
    let text = std::fs::read_to_string(trace)?;
    std::fs::remove_file(trace)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// A shell command: the peers are pipes.
pub fn shell(script: &OsStr) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-c", "set -eo pipefail; eval \"$0\""])
        .arg(script);
    command
}

/// The first line that a program says about its version.
pub fn version(program: &str) -> io::Result<String> {
    let flag = if program == "zsync" {
        "-V"
    } else {
        "--version"
    };
    let output = Command::new(program).arg(flag).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find(|line| line.contains(|c: char| c.is_ascii_digit()));
    Ok(line.unwrap_or_default().trim().to_owned())
}

/// The middle one by wall time.
pub fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.wall);
    costs[costs.len() / 2]
}

/// Forgets what is cached, so that the next reads come from the disk.
pub fn drop_caches() -> io::Result<()> {
    nix::unistd::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3")
}
