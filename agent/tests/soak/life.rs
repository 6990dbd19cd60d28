//! The clone boots and runs: what its users do to it, and what it must be the next time.

use std::fs;
use std::path::{Path, PathBuf};

use reclone_format::object_id_of;

use super::World;
use super::run::Until;

const FORGET: &str = "reclone=reset,forget";
/// What a boot says that may keep in memory what is written.
const IN_MEMORY: &str = "trying with what is written in memory";

impl World {
    /// The clone forgot its own files, or may have.
    pub fn forgets(&mut self, surely: bool) {
        if surely && !self.faults.full {
            self.names.possible.clear();
        }
        self.names.forgotten = true;
        self.names.possible.insert("plain".into());
        self.names.machine_id = None;
    }

    pub fn boot(&mut self) -> String {
        self.machine = None;
        let words = [
            "",
            "",
            "reclone=skip",
            "reclone=reset",
            FORGET,
            "reclone=rollback",
        ];
        let words = words[self.rng.usize(0..words.len())];
        let until = Until::any(&mut self.rng);
        if let Until::Killed(_) | Until::Barrier(_) = until {
            let end = until.run(&mut self.slot.command(words, "exec"));
            self.booted(words, false);
            return format!("{until:?} boot {words}: {end:?}");
        }
        self.machine = self.slot.boot(words);
        let log = self.slot.log();
        let may_fail = self.faults.pool || self.faults.record || self.record.current.is_none();
        assert!(self.machine.is_some() || may_fail, "boot {words}:\n{log}");
        self.booted(words, true);
        self.look_at_machine(words);
        format!("boot {words}:\n{log}")
    }

    /// What a boot may have made of the record.
    fn booted(&mut self, words: &str, to_its_end: bool) {
        self.miss_record();
        let before = self.record;
        let after = self.read_record().unwrap_or(before);
        let synced = !words.contains("skip") && !words.contains("rollback");
        let expects_newest = synced && to_its_end && self.can_sync();
        assert!(
            match expects_newest {
                true => self.is_current(before, after),
                false =>
                    after.current == before.current || synced && self.is_current(before, after),
            },
            "boot {words}: {before:?} became {after:?}\n{}",
            self.slot.log()
        );
        if words == FORGET {
            self.forgets(to_its_end);
        }
        if self.faults.full {
            // There may have been no room to keep the newest name, or any.
            self.names.possible.extend(self.names.all.iter().cloned());
            self.names.possible.insert("model".into());
            self.names.machine_id = None;
        }
        self.record = after;
    }

    /// A clone that has just booted is the right generation, with what is its own.
    fn look_at_machine(&mut self, words: &str) {
        let record = self.read_record().unwrap_or_default();
        let Some(machine) = &mut self.machine else {
            return;
        };
        machine.unsound = self.faults.pool;
        self.names.forgotten = false;
        if !self.faults.pool && !self.faults.record {
            let rolled_back = record.previous.filter(|_| words == "reclone=rollback");
            let expected = rolled_back.or(record.current);
            assert_eq!(Some(machine.generation), expected, "{}", self.slot.log());
        }
        if machine.unsound {
            return;
        }
        let tree = self.generations[&machine.generation].iter();
        let files = tree.filter(|(_, seen)| seen.content.is_some() && seen.size > 0);
        let files = files.filter(|(path, _)| **path != *Path::new("etc/hostname"));
        let object = |path: &PathBuf| object_id_of(&fs::read(machine.root.join(path)).unwrap());
        let objects = files.map(|(path, _)| {
            self.site
                .pool
                .join("objects")
                .join(object(path).pool_path())
        });
        machine.objects = objects.collect();
        let read = |name: &str| fs::read_to_string(machine.root.join(name)).unwrap();
        let name = read("etc/hostname").trim_end().to_owned();
        let possible = &mut self.names.possible;
        assert!(possible.contains(&name), "{name} is none of {possible:?}");
        let id = read("etc/machine-id");
        let known = self.names.machine_id.as_ref();
        assert!(
            known.is_none_or(|known| *known == id),
            "{known:?} became {id}"
        );
        if !self.faults.full {
            *possible = [name].into();
            self.names.machine_id = Some(id);
        }
    }

    /// What users do to a clone that runs.
    pub fn drift(&mut self) -> String {
        let Some(machine) = &mut self.machine else {
            return "no clone runs".into();
        };
        let root = machine.root.clone();
        match self.rng.u8(0..5) {
            0 => {
                machine.unsound = true;
                let name = format!("n{}", self.rng.u8(0..8));
                let _ = fs::remove_dir_all(root.join(&name));
                let _ = fs::remove_file(root.join(&name));
                format!("{name} removed")
            }
            1..3 => {
                self.versions += 1;
                let name = format!("clone-{}", self.versions);
                self.rename(&root, &name);
                format!("named {name}")
            }
            _ => {
                for _ in 0..4 {
                    let path = root.join(format!("home/{}", self.rng.u8(0..4)));
                    let content = vec![self.rng.u8(..); self.rng.usize(0..20_000)];
                    let _ = fs::write(path, content);
                }
                let _ = fs::write(root.join("home/notes"), "of a user\n");
                "written to home".into()
            }
        }
    }

    /// The running clone gets another name, as `hostnamectl` gives it: written aside, then renamed.
    fn rename(&mut self, root: &Path, name: &str) {
        let (new, file) = (root.join("etc/.hostname"), root.join("etc/hostname"));
        let written = fs::write(&new, format!("{name}\n")).and_then(|()| fs::rename(&new, &file));
        if written.is_err() {
            return;
        }
        self.names.all.insert(name.into());
        if !self.names.forgotten && !self.slot.log().contains(IN_MEMORY) {
            self.names.possible.clear();
        }
        self.names.possible.insert(name.into());
    }
}
