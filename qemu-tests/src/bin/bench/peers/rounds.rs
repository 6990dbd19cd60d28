//! Rounds: a client that has nothing, step by step, each step measured if it was asked for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::archive::Archive;
use super::casync::Casync;
use super::compare::{self, Nodes};
use super::counts::{COUNTS, Counts, room_of, syncs_of};
use super::link::{LINKS, Link};
use super::ostree::Ostree;
use super::reclone::Reclone;
use super::rsync::Rsync;
use super::sample::{Sample, Samples};
use super::site::{Address, Site};
use super::zsync::Zsync;
use super::{
    OPERATIONS, Operation, Peer, Place, Renewed, STATES, State, Trees, floor, inline, table,
};
use crate::measure::{Cost, drop_caches, measure_synced};
use crate::trees::remove;

const DRIFT: usize = 1_000;
/// The word for the experiment; it is no part of the usual run.
const INLINE: &str = "inline";

/// What was asked for; words of one kind narrow that kind.
pub struct Wanted<'a> {
    words: &'a [String],
}

impl<'a> Wanted<'a> {
    pub fn new(words: &'a [String]) -> Self {
        Self { words }
    }

    fn said(&self, name: &str) -> bool {
        self.words.iter().any(|word| word == name)
    }

    /// Whether one of `all` names of its kind is wanted: it was said, or none of its kind was.
    fn of_kind(&self, name: &str, all: &[&str]) -> bool {
        self.said(name) || !all.iter().any(|name| self.said(name))
    }

    fn step(&self, name: &str) -> bool {
        let operations = OPERATIONS.map(Operation::name);
        let others = ["publish", floor::FLOOR, COUNTS, INLINE, "table"];
        self.of_kind(name, &[&operations[..], &others].concat())
    }

    fn link(&self, link: Link) -> bool {
        // The slowest line takes an hour: only when asked for.
        let usual = link.name != "10mbit" || self.said(link.name);
        usual && self.of_kind(link.name, &LINKS.map(|link| link.name))
    }
}

/// What all rounds share.
pub struct Run<'a> {
    wanted: Wanted<'a>,
    pub runs: usize,
    site: Site,
    /// The servers on loopback.
    pub near: Address,
    samples: Samples,
    counts: Counts,
    /// What each state must look like.
    trees: [Nodes; 3],
}

/// Everything that is wanted, on the trees in `trees`; prints the table of all that is known of them.
pub fn run(programs: &Path, trees: &Path, wanted: Wanted<'_>, runs: usize) -> io::Result<()> {
    let work = trees.with_extension("work");
    fs::create_dir_all(&work)?;
    let samples = Samples::open(work.join("samples.tsv"))?;
    let counts = Counts::open(work.join("counts.tsv"))?;
    let places = |server: &str| Place {
        trees: Trees {
            root: trees.to_owned(),
        },
        server: work.join("site/root").join(server),
        client: work.join("client"),
    };
    let site = Site::start(&work.join("site"), &places("").trees)?;
    let mut nodes = Vec::new();
    if OPERATIONS
        .iter()
        .any(|operation| wanted.step(operation.name()))
        || wanted.step(floor::FLOOR)
        || wanted.step(COUNTS)
        || wanted.said(INLINE)
    {
        for state in STATES {
            nodes.push(compare::read(&trees.join(state.name()))?);
        }
    }
    let mut run = Run {
        wanted,
        runs,
        near: site.address(LINKS[0])?,
        site,
        samples,
        counts,
        trees: nodes.try_into().unwrap_or_default(),
    };
    if run.wanted.said(INLINE) {
        let real = Reclone {
            place: places("reclone"),
            programs: programs.to_owned(),
        };
        inline::run(&run, &real, &work.join("inline"))?;
    }
    let peers = peers(programs, places);
    let names: Vec<_> = peers.iter().map(|peer| peer.name()).collect();
    let (mut versions, mut failed) = (Vec::new(), Vec::new());
    for peer in &peers {
        versions.push((peer.name(), peer.version()?));
        if !run.wanted.of_kind(peer.name(), &names) {
            continue;
        }
        // One that fails is no reason to lose the others' figures.
        if let Err(error) = run.peer(peer.as_ref()) {
            eprintln!("{}: {error}", peer.name());
            failed.push(peer.name());
        }
    }
    if run.wanted.step(floor::FLOOR) {
        floor::measure_floor(
            &places(""),
            &run.trees,
            &work.join("floor"),
            &mut run.samples,
        )?;
    }
    remove(&places("").client)?;
    run.counts.print(&names);
    table::print(&run.samples, &versions);
    match failed[..] {
        [] => Ok(()),
        _ => Err(io::Error::other(format!(
            "not measured to the end: {}",
            failed.join(", ")
        ))),
    }
}

fn peers(programs: &Path, place: impl Fn(&str) -> Place) -> Vec<Box<dyn Peer>> {
    let rsync = |compressed, checksum| {
        let place = place("rsync");
        Box::new(Rsync {
            place,
            compressed,
            checksum,
        })
    };
    let ostree = |deltas| {
        let (place, tree) = (place("ostree"), Renewed::default());
        Box::new(Ostree {
            place,
            tree,
            deltas,
        })
    };
    vec![
        Box::new(Reclone {
            place: place("reclone"),
            programs: programs.to_owned(),
        }),
        rsync(false, false),
        rsync(true, false),
        rsync(false, true),
        ostree(false),
        ostree(true),
        Box::new(Casync {
            place: place("casync"),
            tree: Renewed::default(),
        }),
        Box::new(Archive {
            place: place("tar"),
            tree: Renewed::default(),
        }),
        Box::new(Zsync {
            place: place("zsync"),
        }),
    ]
}

impl Run<'_> {
    fn peer(&mut self, peer: &dyn Peer) -> io::Result<()> {
        self.publish(peer)?;
        for link in LINKS {
            if self.wanted.link(link) {
                self.rounds(peer, link)?;
            }
        }
        match self.wanted.step(COUNTS) {
            true => self.count(peer),
            false => Ok(()),
        }
    }

    /// One client's life, for its syncs and the room that it takes.
    fn count(&mut self, peer: &dyn Peer) -> io::Result<()> {
        let can = |operation: &Operation| peer.can(*operation);
        let operations: Vec<_> = OPERATIONS.into_iter().filter(can).collect();
        match operations.first().and_then(|first| first.target().before()) {
            Some(state) => self.first_clone(peer, state).map(drop)?,
            None => self.begin(peer)?,
        }
        let mut counted = Vec::new();
        for operation in operations {
            peer.offer(operation.target())?;
            let command = self.command(peer, operation, &self.near)?;
            let trace = peer.place().client.with_extension("trace");
            let syncs = syncs_of(&command, &trace)?;
            peer.settle()?;
            counted.push((operation, syncs, room_of(&peer.place().client)?));
        }
        self.counts.put(peer, counted)
    }

    /// Publishes all three states, if that is to be measured or was not yet done with this version.
    fn publish(&mut self, peer: &dyn Peer) -> io::Result<()> {
        let stamp = peer.place().server.with_extension(peer.name());
        let version = peer.version()?;
        let known = fs::read_to_string(&stamp).is_ok_and(|known| known == version);
        let measured = self.wanted.said("publish");
        let needed = measured
            || self.wanted.step(COUNTS)
            || OPERATIONS.iter().any(|it| self.wanted.step(it.name()));
        if !needed || (known && !measured) || peer.publish(State::Updated).is_none() {
            return Ok(());
        }
        let mut all: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        for _ in 0..if measured { self.runs } else { 1 } {
            let _ = fs::remove_file(&stamp);
            peer.clear()?;
            for state in STATES {
                for (operation, sample) in publish(peer, state)? {
                    all.entry(operation).or_default().push(sample);
                }
            }
            fs::write(&stamp, &version)?;
        }
        for (operation, samples) in all {
            let key = [peer.name(), "-", &operation].map(str::to_owned);
            self.samples.put(key, samples)?;
        }
        Ok(())
    }

    /// As many rounds as there are runs.
    fn rounds(&mut self, peer: &dyn Peer, link: Link) -> io::Result<()> {
        let wanted =
            |operation: &Operation| peer.can(*operation) && self.wanted.step(operation.name());
        let wanted: Vec<_> = OPERATIONS.into_iter().filter(wanted).collect();
        let far = self.site.address(link)?;
        let mut all: BTreeMap<Operation, Vec<Sample>> = BTreeMap::new();
        for run in 0..self.runs {
            for (operation, sample) in self.round(peer, &wanted, &far, run == 0)? {
                println!(
                    "{} {} {}: {sample}",
                    peer.name(),
                    link.name,
                    operation.name()
                );
                all.entry(operation).or_default().push(sample);
            }
        }
        for (operation, samples) in all {
            let key = [peer.name(), link.name, operation.name()].map(str::to_owned);
            self.samples.put(key, samples)?;
        }
        Ok(())
    }

    /// One client's life up to the last operation that is wanted. What is not wanted goes over the near address. The tree is
    /// compared after the last operation, and if `checked` after each one that is wanted.
    fn round(
        &self,
        peer: &dyn Peer,
        wanted: &[Operation],
        far: &Address,
        checked: bool,
    ) -> io::Result<Vec<(Operation, Sample)>> {
        let (Some(first), Some(&last)) = (wanted.first(), wanted.last()) else {
            return Ok(Vec::new());
        };
        let mut samples = Vec::new();
        if *first == Operation::Clone {
            self.begin(peer)?;
        } else {
            let before = first.target().before();
            let state = before.filter(|_| *first <= Operation::Small);
            self.first_clone(peer, state.unwrap_or(first.target()))?;
        }
        for operation in OPERATIONS {
            if operation < *first || operation > last || !peer.can(operation) {
                continue;
            }
            let (state, asked) = (operation.target(), wanted.contains(&operation));
            let address = if asked { far } else { &self.near };
            peer.offer(state)?;
            let command = self.command(peer, operation, address)?;
            let sample = self.measure(peer, &command)?;
            if asked {
                samples.push((operation, sample));
            }
            if operation == last || (asked && checked) {
                self.check(peer, state)?;
            }
        }
        Ok(samples)
    }

    /// What does an operation, which is offered; before a drift the client's files are changed.
    fn command(
        &self,
        peer: &dyn Peer,
        operation: Operation,
        address: &Address,
    ) -> io::Result<Command> {
        let state = operation.target();
        if operation != Operation::Drift {
            return Ok(peer.fetch(state, address));
        }
        let model = self.tree(state);
        peer.with_tree(true, &mut |top| compare::drift(top, model, DRIFT))?;
        Ok(peer.restore(address))
    }

    /// A client that has nothing.
    fn begin(&self, peer: &dyn Peer) -> io::Result<()> {
        remove(&peer.place().client)?;
        fs::create_dir_all(&peer.place().client)?;
        peer.begin()
    }

    /// Gives a client that has nothing this state, over the near address.
    pub fn first_clone(&self, peer: &dyn Peer, state: State) -> io::Result<Sample> {
        self.begin(peer)?;
        peer.offer(state)?;
        self.measure(peer, &peer.fetch(state, &self.near))
    }

    /// What a state must look like.
    pub fn tree(&self, state: State) -> &Nodes {
        &self.trees[state as usize]
    }

    /// Runs a client's command with cold caches until all is on disk.
    pub fn measure(&self, peer: &dyn Peer, command: &Command) -> io::Result<Sample> {
        drop_caches()?;
        let before = self.site.counters(0)?;
        let cost = measure_synced(command, &peer.place().client)?;
        let is_rsync = command.get_program() == "rsync";
        let after = self.site.counters(before.transfers + u64::from(is_rsync))?;
        peer.settle()?;
        Ok(Sample {
            cost,
            server: after.cpu.saturating_sub(before.cpu),
            bytes: after.bytes - before.bytes,
            requests: after.requests - before.requests,
        })
    }

    fn check(&self, peer: &dyn Peer, state: State) -> io::Result<()> {
        let model = self.tree(state);
        peer.with_tree(false, &mut |top| {
            let mut client = compare::read(top)?;
            if peer.trusts_times() {
                let unseen = compare::take_unseen(model, &mut client);
                let name = peer.name();
                for path in unseen {
                    println!(
                        "{name}: {} has another content, of the same size and time",
                        path.display()
                    );
                }
            }
            let lines = compare::differences(model, &client, peer.keeps_times());
            match &lines[..] {
                [] => Ok(()),
                lines => Err(io::Error::other(format!(
                    "{} made another tree than {}, in {} paths: {:#?}",
                    peer.name(),
                    state.name(),
                    lines.len(),
                    &lines[..lines.len().min(5)]
                ))),
            }
        })
    }
}

/// Publishes one state, with the tree in memory; the operations that this was, and their costs.
pub fn publish(peer: &dyn Peer, state: State) -> io::Result<Vec<(String, Sample)>> {
    let Some(command) = peer.publish(state) else {
        return Ok(Vec::new());
    };
    compare::read(&peer.place().trees.path(state))?;
    nix::unistd::sync();
    let done = AtomicBool::new(false);
    let (cost, ready) = thread::scope(|scope| {
        let watched = peer.announces(state);
        let ready = scope.spawn(|| watched.and_then(|path| appears(&path, &done)));
        let cost = measure_synced(&command, &peer.place().server);
        done.store(true, Ordering::Relaxed);
        (cost, ready.join().unwrap_or_default())
    });
    let cost = cost?;
    peer.published(state)?;
    let sample = Sample {
        cost,
        ..Sample::default()
    };
    println!("{} publish {}: {sample}", peer.name(), state.name());
    let mut samples = vec![(format!("publish-{}", state.name()), sample)];
    if let Some(wall) = ready {
        let cost = Cost { wall, ..cost };
        samples.push((format!("ready-{}", state.name()), Sample { cost, ..sample }));
    }
    Ok(samples)
}

/// How long it takes until a file is there; none where it is not when all is `done`.
fn appears(path: &Path, done: &AtomicBool) -> Option<Duration> {
    let start = Instant::now();
    while !path.exists() {
        if done.load(Ordering::Relaxed) {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
    Some(start.elapsed())
}
