//! What is done with the model, the store and the clone, one step after the other.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::World;
use super::expect::Verb;
use super::run::{End, Until};
use crate::programs::{reclone_model, succeed};

impl World {
    /// One step by chance; fails unless everything is as it must be then. Says what was done.
    pub fn step(&mut self) -> String {
        let is_faulty = !self.can_sync() || self.faults.pool;
        let is_running = self.machine.is_some();
        let said = match self.rng.u8(0..100) {
            0..14 => self.publish_any(),
            14..22 => self.verb(Verb::Sync),
            22..26 => self.verb(Verb::Fetch),
            26..29 => self.verb(Verb::Rollback),
            29..39 => self.verb(Verb::Prune),
            39..41 => self.verb(Verb::Repair),
            41..46 => {
                let forget = self.rng.u8(0..4) == 0;
                self.verb(Verb::Reset { forget })
            }
            46..53 => self.boot(),
            53..68 if is_running => self.drift(),
            53..60 => self.boot(),
            60..68 => self.verb(Verb::Prune),
            68..74 => {
                self.machine = None;
                "halt".into()
            }
            74..86 => self.fault(),
            86..94 if is_faulty => self.mend(),
            86..94 => self.publish_any(),
            // A clone that follows while it runs soon runs on what its record no longer names.
            _ => format!("{}, {}", self.publish_any(), self.verb(Verb::Sync)),
        };
        self.check(false);
        said
    }

    /// The command line of a verb: in the clone if it runs, else from outside.
    fn command(&self, verb: Verb) -> Command {
        let (name, options): (_, &[&str]) = match verb {
            Verb::Sync => ("sync", &[]),
            Verb::Fetch => ("fetch", &[]),
            Verb::Rollback => ("rollback", &[]),
            Verb::Prune => ("prune", &[]),
            Verb::Repair => ("verify", &["--repair"]),
            Verb::Reset { forget: false } => ("reset", &[]),
            Verb::Reset { forget: true } => ("reset", &["--forget"]),
        };
        let (store, key) = (self.site.store.clone(), self.site.public_key());
        let (mut command, store, key) = match &self.machine {
            Some(machine) => (
                machine.verb(name),
                "/served/store".into(),
                "/etc/reclone/model.pub".into(),
            ),
            None => (self.site.verb(name), store, key),
        };
        command.args(options);
        if !matches!(verb, Verb::Rollback | Verb::Prune) {
            command.arg("--store").arg(store).arg("--key").arg(key);
        }
        command
    }

    fn verb(&mut self, verb: Verb) -> String {
        let until = Until::any(&mut self.rng);
        let end = self.run_verb(verb, &until);
        format!("{until:?} {verb:?}: {end:?}")
    }

    fn run_verb(&mut self, verb: Verb, until: &Until) -> End {
        let end = until.run(&mut self.command(verb));
        self.miss_record();
        let before = self.record;
        if let Some(after) = self.read_record() {
            self.expect(verb, &end, before, after);
        }
        let done = matches!(end, End::Done(_));
        if matches!(verb, Verb::Reset { .. } | Verb::Repair) && done {
            self.faults.pool_was_mended();
        }
        if verb == (Verb::Reset { forget: true }) {
            self.forgets(done);
        }
        end
    }

    /// Does what nothing keeps from its end any more.
    fn finish(&mut self, verb: Verb) {
        let end = self.run_verb(verb, &Until::End);
        assert!(matches!(end, End::Done(_)), "{verb:?}: {end:?}");
        self.record = self.read_record().unwrap();
        assert_eq!(self.record.current, Some(self.newest), "{verb:?}");
    }

    /// All faults end. The next sync must succeed, and then everything be whole.
    pub fn mend(&mut self) -> String {
        self.machine = None;
        self.disk.empty();
        self.faults.full = false;
        self.find_store();
        if self.faults.record {
            fs::remove_file(self.site.pool.join("state")).unwrap();
            self.forget_record();
        }
        self.versions += 1;
        let version = format!("{}\n", self.versions);
        fs::write(self.site.tree.join("etc/version"), version).unwrap();
        self.publish(&["--full"]);
        let mut prune = reclone_model();
        succeed(
            prune
                .arg("prune")
                .arg(&self.site.store)
                .args(["--keep", "1"]),
        );
        self.faults.store = false;
        for verb in [Verb::Sync, Verb::Reset { forget: false }, Verb::Prune] {
            self.finish(verb);
        }
        // A clone that was just halted may hold its objects for a moment, and prune leaves them to it.
        for _ in 0..40 {
            self.faults.pool_was_mended();
            if self.faults.pool {
                thread::sleep(Duration::from_millis(25));
                self.finish(Verb::Prune);
            }
        }
        assert!(!self.faults.pool, "{:?}", self.faults.rotten);
        self.check(true);
        format!("mended, with generation {}", self.newest)
    }
}
