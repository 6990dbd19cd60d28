//! A site whose generations are known by their numbers: what each was like stays, to be compared with what a clone shows.
#![allow(dead_code)] // Each test program needs a part of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::{Site, succeed};

const FILES: u64 = 40;

/// A site with generation 1 in its pool.
pub struct Versions {
    pub site: Site,
    /// Options of each publish: no delta packs at first, so that what a test breaks is what a sync needs.
    pub options: &'static [&'static str],
}

impl Versions {
    /// A new one below `folder`, with its pool at `pool`.
    pub fn new(folder: &Path, pool: &Path) -> Self {
        let mut site = Site::new(folder);
        site.pool = pool.into();
        site.add_init();
        let versions = Self {
            site,
            options: &["--no-delta"],
        };
        versions.publish(1);
        succeed(&mut versions.site.sync());
        versions
    }

    /// Publishes this generation, in which every second file is new.
    pub fn publish(&self, version: u64) {
        let files = (0..FILES).filter(|number| version == 1 || number % 2 == version % 2);
        self.publish_files(version, files);
    }

    /// Publishes this generation, in which these files are new.
    pub fn publish_files(&self, version: u64, files: impl IntoIterator<Item = u64>) {
        for number in files {
            fs::write(
                self.site.tree.join(number.to_string()),
                content(version, number),
            )
            .unwrap();
        }
        assert_eq!(self.site.publish_with(self.options).0, version);
        let mut copy = Command::new("cp");
        succeed(copy.arg("-a").arg(&self.site.tree).arg(self.tree(version)));
    }

    /// What the generation is like.
    pub fn tree(&self, version: u64) -> PathBuf {
        self.site.tree.with_file_name(format!("tree-{version}"))
    }

    pub fn current(&self) -> u64 {
        self.site.status()["current"].as_u64().unwrap()
    }

    /// This generation is current, everything in the pool has the content of its name, and the mounted tree is the model's.
    #[track_caller]
    pub fn assert_whole(&self, version: u64) {
        assert_eq!(self.current(), version);
        succeed(&mut self.site.verb("verify"));
        let at = self.site.tree.with_file_name("assembled");
        let assembled = self.site.assemble(&at, None);
        let mut differ = Command::new("diff");
        succeed(differ.arg("-rq").arg(self.tree(version)).arg(&assembled.0));
    }

    /// What is there is whole, and the next sync ends with this generation.
    #[track_caller]
    pub fn goes_on(&self, version: u64) {
        succeed(&mut self.site.verb("verify"));
        succeed(&mut self.site.sync());
        self.assert_whole(version);
    }
}

/// What a file has in a generation in which it is new.
pub fn content(version: u64, number: u64) -> String {
    line(version, number).repeat(1 + 300 * number as usize)
}

/// A line of that content, which stands nowhere else.
pub fn line(version: u64, number: u64) -> String {
    format!("{version} {number}\n")
}
