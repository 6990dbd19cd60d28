//! What one operation of one peer cost, and the file that remembers it: a run may be cut short or done in parts.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::measure::Cost;

/// One run of an operation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// The client's, or the publisher's.
    pub cost: Cost,
    /// CPU time of the servers.
    pub server: Duration,
    /// What the server sent and received.
    pub bytes: u64,
    /// HTTP requests; 0 where there are none.
    pub requests: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { wall, cpu, memory } = self.cost;
        write!(
            f,
            "{:.3} s wall, {:.2} s CPU, {:.2} s CPU of the server, {} MiB, {} bytes, {} requests",
            wall.as_secs_f64(),
            cpu.as_secs_f64(),
            self.server.as_secs_f64(),
            memory >> 10,
            self.bytes,
            self.requests
        )
    }
}

/// Peer, link and operation.
pub type Key = [String; 3];

/// Every sample, by what was measured.
pub struct Samples {
    path: PathBuf,
    by_key: BTreeMap<Key, Vec<Sample>>,
}

impl Samples {
    /// What this file remembers; nothing if there is none.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut by_key: BTreeMap<Key, Vec<Sample>> = BTreeMap::new();
        for line in text.lines() {
            let (key, sample) = parse(line)
                .ok_or_else(|| io::Error::other(format!("{}: {line}", path.display())))?;
            by_key.entry(key).or_default().push(sample);
        }
        Ok(Self { path, by_key })
    }

    /// Replaces what is known of this.
    pub fn put(&mut self, key: Key, samples: Vec<Sample>) -> io::Result<()> {
        self.by_key.insert(key, samples);
        let lines = self.by_key.iter();
        let text: String = lines
            .flat_map(|(key, samples)| samples.iter().map(|sample| line(key, sample)))
            .collect();
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, &self.path)
    }

    /// The run with the median wall time, and how many there were.
    pub fn median(&self, peer: &str, link: &str, operation: &str) -> Option<(Sample, usize)> {
        let key = [peer, link, operation].map(str::to_owned);
        let mut samples = self.by_key.get(&key)?.clone();
        samples.sort_by_key(|sample| sample.cost.wall);
        Some((*samples.get(samples.len() / 2)?, samples.len()))
    }
}

fn line(key: &Key, sample: &Sample) -> String {
    let Sample {
        cost,
        server,
        bytes,
        requests,
    } = sample;
    let (wall, cpu, server) = (
        cost.wall.as_micros(),
        cost.cpu.as_micros(),
        server.as_micros(),
    );
    let key = key.join("\t");
    format!(
        "{key}\t{wall}\t{cpu}\t{}\t{server}\t{bytes}\t{requests}\n",
        cost.memory
    )
}

fn parse(line: &str) -> Option<(Key, Sample)> {
    let words: Vec<&str> = line.split('\t').collect();
    let (key, numbers) = words.split_first_chunk::<3>()?;
    let numbers: Vec<u64> = numbers.iter().flat_map(|word| word.parse()).collect();
    let [wall, cpu, memory, server, bytes, requests] = numbers[..] else {
        return None;
    };
    let sample = Sample {
        cost: Cost {
            wall: Duration::from_micros(wall),
            cpu: Duration::from_micros(cpu),
            memory,
        },
        server: Duration::from_micros(server),
        bytes,
        requests,
    };
    Some((key.map(str::to_owned), sample))
}
