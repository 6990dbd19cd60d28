//! What no clock is needed for: how often a client has something written to the disk before it goes on, and the room that is taken then
//! by it and by its server. Counted in a round of its own, under strace, and remembered in a file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{OPERATIONS, Operation, Peer};
use crate::measure::calls_of;

/// The word for it.
pub const COUNTS: &str = "counts";
/// What has the kernel write something out.
const SYNCS: &str = "fsync,fdatasync,sync,syncfs,sync_file_range";
/// Where a server's room is in the table.
const SERVER: &str = "server";

/// By peer and operation: syncs, bytes of disk.
pub struct Counts {
    path: PathBuf,
    known: BTreeMap<[String; 2], (usize, u64)>,
}

impl Counts {
    /// What this file remembers; nothing if there is none.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let parse = |line: &str| {
            let [peer, operation, syncs, space]: [&str; 4] =
                line.split('\t').collect::<Vec<_>>().try_into().ok()?;
            let key = [peer, operation].map(str::to_owned);
            Some((key, (syncs.parse().ok()?, space.parse().ok()?)))
        };
        let known = text.lines().filter_map(parse).collect();
        Ok(Self { path, known })
    }

    /// Replaces what is known of a peer.
    pub fn put(
        &mut self,
        peer: &dyn Peer,
        counted: Vec<(Operation, usize, u64)>,
    ) -> io::Result<()> {
        let key = |operation: &str| [peer.name(), operation].map(str::to_owned);
        for (operation, syncs, space) in counted {
            self.known.insert(key(operation.name()), (syncs, space));
        }
        self.known
            .insert(key(SERVER), (0, room_of(&peer.place().server)?));
        let lines = self
            .known
            .iter()
            .map(|([peer, operation], (syncs, space))| {
                format!("{peer}\t{operation}\t{syncs}\t{space}\n")
            });
        fs::write(&self.path, lines.collect::<String>())
    }

    /// The table, as Markdown.
    pub fn print(&self, peers: &[&str]) {
        let mut operations = OPERATIONS.map(Operation::name).to_vec();
        operations.push(SERVER);
        println!("\n| syncs, MiB of disk | {} |", operations.join(" | "));
        println!("|---|{}", "---|".repeat(operations.len()));
        for peer in peers {
            let cells: Vec<_> = operations.iter().map(|it| self.cell(peer, it)).collect();
            if cells.iter().any(|it| !it.is_empty()) {
                println!("| {peer} | {} |", cells.join(" | "));
            }
        }
    }

    fn cell(&self, peer: &str, operation: &str) -> String {
        match self.known.get(&[peer, operation].map(str::to_owned)) {
            None => String::new(),
            Some((_, space)) if operation == SERVER => (space >> 20).to_string(),
            Some((syncs, space)) => format!("{syncs}, {}", space >> 20),
        }
    }
}

/// Runs a command to its end; how often it, or a program that it starts, has something written out.
pub fn syncs_of(command: &Command, trace: &Path) -> io::Result<usize> {
    let lines = calls_of(command, SYNCS, &[], trace)?;
    // One that was interrupted by another thread's has a second line.
    Ok(lines.iter().filter(|line| line.contains('(')).count())
}

/// The bytes that a folder takes on its disk; none where there is none.
pub fn room_of(folder: &Path) -> io::Result<u64> {
    if !folder.exists() {
        return Ok(0);
    }
    let output = Command::new("du").args(["-sxB1"]).arg(folder).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let bytes = text.split('\t').next().and_then(|it| it.parse().ok());
    bytes.ok_or_else(|| io::Error::other(format!("du {}: {}", folder.display(), output.status)))
}
