//! What is done with the model and its store.

use std::fs;

use super::run::{End, Until};
use super::{World, tree};
use crate::programs::reclone_model;
use crate::tree_compare::{differences, look};

impl World {
    pub fn publish_any(&mut self) -> String {
        if self.faults.gone {
            return "no store to publish to".into();
        }
        match self.rng.u8(0..10) {
            0 => self.publish_again(),
            1 => {
                let mut prune = reclone_model();
                prune.arg("prune").arg(&self.site.store);
                prune.args(["--keep", &self.rng.u8(1..4).to_string()]);
                format!("store prune: {:?}", Until::End.run(&mut prune))
            }
            2..4 => {
                tree::change(&self.site.tree, &mut self.rng);
                self.publish_killed()
            }
            _ => {
                tree::change(&self.site.tree, &mut self.rng);
                self.publish(&[])
            }
        }
    }

    /// Publishes the tree, which never fails: what is damaged is packed again.
    pub fn publish(&mut self, options: &[&str]) -> String {
        let seen = look(&self.site.tree);
        let (generation, _) = self.site.publish_with(options);
        let is_new = generation > self.newest;
        assert!(is_new || generation == self.newest && !self.faults.headless);
        let known = self
            .generations
            .entry(generation)
            .or_insert_with(|| seen.clone());
        assert_eq!(differences(known, &seen), [""; 0]);
        self.newest = generation;
        self.faults.headless = false;
        format!("published {generation}")
    }

    fn publish_killed(&mut self) -> String {
        let seen = look(&self.site.tree);
        let until = Until::Killed(self.rng.u64(0..20));
        let end = until.run(&mut self.site.publish_command(&[]));
        if let Some(generation) = self.read_head() {
            assert!(generation >= self.newest, "{generation}: {end:?}");
            self.faults.headless = false;
            self.newest = generation;
            self.generations.entry(generation).or_insert(seen);
        }
        format!("{until:?} publish: {end:?}")
    }

    fn publish_again(&mut self) -> String {
        let heads = self.site.store.join("heads");
        let names = fs::read_dir(heads).unwrap();
        let mut numbers: Vec<u64> = names
            .filter_map(|name| name.unwrap().file_name().to_str()?.parse().ok())
            .filter(|number| self.generations.contains_key(number))
            .collect();
        numbers.sort_unstable();
        let Some(number) = self.rng.choice(numbers) else {
            return "nothing to publish again".into();
        };
        let options = ["--again", &number.to_string()];
        let end = Until::End.run(&mut self.site.publish_command(&options));
        if let End::Done(said) = &end {
            self.newest = said.trim().parse().unwrap();
            let tree = self.generations[&number].clone();
            self.generations.entry(self.newest).or_insert(tree);
            self.faults.headless = false;
        } else {
            assert!(self.faults.store, "{number}: {end:?}");
        }
        format!("published {number} again: {end:?}")
    }
}
