//! A model, its store and a clone, and a simple model of what must hold between them. `steps.rs` says what is done with
//! them, `faults.rs` what goes wrong; both the short test and the long run are made of it.

mod disk;
mod expect;
mod faults;
mod life;
mod machine;
mod publish;
mod run;
mod steps;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use reclone_format::{Head, PublicKey};
use serde_json::Value;

use crate::programs::{Site, succeed};
use crate::tree_compare::{self, differences, look};
use disk::Disk;
use faults::Faults;
use machine::{Machine, Slot};

type Tree = BTreeMap<PathBuf, tree_compare::Seen>;

/// What the clone's record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    current: Option<u64>,
    previous: Option<u64>,
    refused: Option<u64>,
    serial: u64,
}

/// What the clone may be called at its next boot.
struct Names {
    possible: BTreeSet<String>,
    /// Those that it ever had.
    all: BTreeSet<String>,
    machine_id: Option<String>,
    /// Whether it keeps nothing until its next boot, which takes what the installed system has.
    forgotten: bool,
}

/// Everything, and what is known of it. It ends from the first field to the last.
pub struct World {
    machine: Option<Machine>,
    disk: Disk,
    slot: Slot,
    site: Site,
    folder: tempfile::TempDir,
    rng: Rng,
    /// What was published under each number.
    generations: BTreeMap<u64, Tree>,
    newest: u64,
    record: Record,
    faults: Faults,
    names: Names,
    versions: u64,
}

impl World {
    /// A clone with the first generation, on a disk of this kind. All chance comes from the seed.
    pub fn new(seed: u64, disk: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let disk = Disk::new(folder.path(), disk);
        let served = folder.path().join("served");
        let mut site = Site::new(&served);
        site.pool = disk.at.join("reclone");
        tree::begin(&site.tree);
        site.add_init();
        let top = folder.path().join("machine");
        let slot = Slot::new(top, disk.at.clone(), served, &site.public_key());
        let plain = BTreeSet::from(["plain".to_owned()]);
        let mut world = Self {
            machine: None,
            disk,
            slot,
            site,
            folder,
            rng: Rng::with_seed(seed),
            generations: BTreeMap::new(),
            newest: 0,
            record: Record::default(),
            faults: Faults::default(),
            names: Names {
                possible: plain.clone(),
                all: plain,
                machine_id: None,
                forgotten: false,
            },
            versions: 0,
        };
        world.publish(&[]);
        succeed(&mut world.site.sync());
        world.check(true);
        world
    }

    /// The record, where it can be read.
    pub fn read_record(&self) -> Option<Record> {
        let output = self.site.verb("status").arg("--json").output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(Record {
            current: status["current"].as_u64(),
            previous: status["previous"].as_u64(),
            refused: status["refused"].as_u64(),
            serial: status["serial"].as_u64().unwrap(),
        })
    }

    /// The generation that the store's head names; none without a head.
    fn read_head(&self) -> Option<u64> {
        let bytes = fs::read(self.site.store.join("head")).ok()?;
        let key = fs::read_to_string(self.site.public_key()).unwrap();
        let key = PublicKey::decode(&key).unwrap();
        Some(Head::verify(&bytes, &key).unwrap().generation)
    }

    /// Fails unless everything that can be seen is as it must be. Takes the record over.
    fn check(&mut self, thorough: bool) {
        let Some(now) = self.read_record() else {
            assert!(self.faults.record, "the state record can not be read");
            return;
        };
        let before = self.record;
        assert!(now.serial >= before.serial, "{now:?} after {before:?}");
        for number in [now.current, now.previous].into_iter().flatten() {
            assert!(self.generations.contains_key(&number), "{now:?}");
        }
        let changed = now.current != before.current;
        self.record = now;
        if !self.faults.pool {
            if changed || thorough || self.rng.u8(0..4) == 0 {
                self.check_assembled(now.current, &[]);
            }
            if thorough || self.rng.u8(0..8) == 0 {
                self.check_assembled(now.previous, &["--previous"]);
            }
            if now.current.is_some() && !self.faults.full && (thorough || self.rng.u8(0..6) == 0) {
                succeed(&mut self.site.verb("verify"));
            }
        }
        self.check_machine();
        self.check_kept();
    }

    fn check_assembled(&self, number: Option<u64>, options: &[&str]) {
        let Some(number) = number else {
            return;
        };
        let at = self.folder.path().join("root");
        let assembled = self.site.assemble_with(&at, None, options);
        let found = differences(&self.generations[&number], &look(&assembled.0));
        assert_eq!(found, [""; 0], "generation {number}");
    }

    /// A clone that runs shows its generation to the last, but for what is its own or its users'.
    fn check_machine(&self) {
        let Some(machine) = &self.machine else {
            return;
        };
        for object in &machine.objects {
            assert!(object.exists(), "{} is needed", object.display());
        }
        if machine.unsound {
            return;
        }
        let is_models = |path: &PathBuf| {
            !["", "etc", "etc/hostname", "etc/machine-id"]
                .map(Path::new)
                .contains(&path.as_path())
                && !path.starts_with("home")
        };
        let (mut model, mut clone) = (
            self.generations[&machine.generation].clone(),
            look(&machine.root),
        );
        model.retain(|path, _| is_models(path));
        clone.retain(|path, _| is_models(path));
        let found = differences(&model, &clone);
        assert_eq!(found, [""; 0], "running generation {}", machine.generation);
    }

    /// A kept file has one of the contents that it was given, whole.
    fn check_kept(&self) {
        if let Ok(name) = fs::read_to_string(self.site.pool.join("keep/etc/hostname")) {
            assert!(self.names.all.contains(name.trim_end()), "{name:?}");
            assert!(name.ends_with('\n'), "{name:?}");
        }
    }
}
