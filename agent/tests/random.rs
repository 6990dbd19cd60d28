//! Random trees, changed at random, published and synced, some syncs killed: whatever came before, the clone is the model.
#![allow(clippy::unwrap_used)]

#[path = "support/mounts.rs"]
mod mounts;
#[path = "support/programs.rs"]
mod programs;
#[path = "support/tree_compare.rs"]
mod tree_compare;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mounts::is_root;
use programs::{Site, succeed};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tree_compare::{differences, look};

/// One change of the model's tree. Names come from a small set, so that changes meet.
#[derive(Clone, Debug)]
enum Change {
    Write { name: u8, seed: u8, size: usize },
    Link { from: u8, to: u8 },
    Symlink { name: u8, target: u8 },
    Folder { name: u8 },
    Mode { name: u8, mode: u32 },
    Remove { name: u8 },
}

/// What is done with the clone.
#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<Change>),
    Sync,
    /// Killed after this many milliseconds.
    Killed(u64),
    Rollback,
    Prune,
}

fn change() -> impl Strategy<Value = Change> {
    let name = || 0..12u8;
    prop_oneof![
        4 => (name(), 0..4u8, prop_oneof![Just(0), 1..100usize, 4000..9000usize, Just(300_000usize)])
            .prop_map(|(name, seed, size)| Change::Write { name, seed, size }),
        1 => (name(), name()).prop_map(|(from, to)| Change::Link { from, to }),
        1 => (name(), name()).prop_map(|(name, target)| Change::Symlink { name, target }),
        1 => name().prop_map(|name| Change::Folder { name }),
        1 => (name(), 0..0o7777u32).prop_map(|(name, mode)| Change::Mode { name, mode }),
        2 => name().prop_map(|name| Change::Remove { name }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(change(), 1..6).prop_map(Step::Publish),
        3 => Just(Step::Sync),
        2 => (0..30u64).prop_map(Step::Killed),
        1 => Just(Step::Rollback),
        1 => Just(Step::Prune),
    ]
}

/// Names 0 to 7 are at the top, the others in a folder that may be there or not.
fn path(top: &Path, name: u8) -> std::path::PathBuf {
    match name {
        0..8 => top.join(format!("n{name}")),
        _ => top.join("n0").join(format!("n{name}")),
    }
}

/// Does what can be done: a change that does not fit the tree is left out.
fn apply(top: &Path, change: &Change) {
    let clear = |name: u8| {
        let path = path(top, name);
        match fs::symlink_metadata(&path) {
            Ok(it) if it.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        }
    };
    let _ = match *change {
        Change::Write { name, seed, size } => {
            let content: Vec<u8> = (0..size).map(|at| (at / 7) as u8 ^ seed).collect();
            fs::write(path(top, name), content)
        }
        Change::Link { from, to } => fs::hard_link(path(top, from), path(top, to)),
        Change::Symlink { name, target } => {
            let _ = clear(name);
            symlink(format!("n{target}"), path(top, name))
        }
        Change::Folder { name } => {
            let _ = clear(name);
            fs::create_dir(path(top, name))
        }
        Change::Mode { name, mode } => {
            let path = path(top, name);
            match fs::symlink_metadata(&path) {
                Ok(it) if !it.is_symlink() => {
                    fs::set_permissions(path, fs::Permissions::from_mode(mode))
                }
                _ => Ok(()),
            }
        }
        Change::Remove { name } => clear(name),
    };
}

type Tree = BTreeMap<std::path::PathBuf, tree_compare::Seen>;

/// A model, a clone, and what every generation looked like.
struct World {
    folder: tempfile::TempDir,
    site: Site,
    generations: BTreeMap<u64, Tree>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::new(folder.path());
        let mut world = Self {
            folder,
            site,
            generations: BTreeMap::new(),
        };
        world.publish(&[]);
        world
    }

    fn publish(&mut self, changes: &[Change]) {
        changes
            .iter()
            .for_each(|change| apply(&self.site.tree, change));
        let seen = look(&self.site.tree);
        let generation = self.site.publish().0;
        let known = self
            .generations
            .entry(generation)
            .or_insert_with(|| seen.clone());
        assert_eq!(differences(known, &seen), Vec::<String>::new());
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish(changes) => self.publish(changes),
            Step::Sync => {
                succeed(&mut self.site.sync());
            }
            Step::Killed(after) => {
                let mut command = self.site.sync();
                let mut child = command
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                std::thread::sleep(Duration::from_millis(*after));
                child.kill().unwrap();
                child.wait().unwrap();
            }
            // Without a pool, a generation or a previous one these fail, as they should.
            Step::Rollback => drop(self.site.verb("rollback").output().unwrap()),
            Step::Prune => drop(self.site.verb("prune").output().unwrap()),
        }
        self.check();
    }

    /// Whatever is current is whole, and what was published under its number.
    fn check(&self) {
        if !self.site.pool.join("state").exists() {
            return;
        }
        succeed(&mut self.site.verb("verify"));
        let current = self.site.status()["current"].as_u64().unwrap();
        if is_root() {
            let assembled = self.site.assemble(&self.folder.path().join("root"), None);
            let found = differences(&self.generations[&current], &look(&assembled.0));
            assert_eq!(found, Vec::<String>::new(), "generation {current}");
        }
    }
}

#[test]
fn the_clone_is_the_model_after_any_history() {
    let config = Config {
        cases: 12,
        // A shorter history is easier to read, but each try takes seconds.
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    };
    let histories = proptest::collection::vec(step(), 4..10);
    let run = |steps: Vec<Step>| {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        // Last of all, a sync that nobody disturbs: the newest generation, unless it was rolled back.
        succeed(&mut world.site.sync());
        world.check();
        let status = world.site.status();
        let newest = *world.generations.keys().last().unwrap();
        let wanted = if status["refused"].as_u64() == Some(newest) {
            None
        } else {
            Some(newest)
        };
        if wanted.is_some() {
            prop_assert_eq!(status["current"].as_u64(), wanted);
        }
        Ok(())
    };
    TestRunner::new(config).run(&histories, run).unwrap();
}
