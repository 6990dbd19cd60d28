//! A home that is made fresh at logon, beside `rsync` from a copy on the same disk.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use nix::mount::{MntFlags, umount2};

use crate::cases::{Bench, row};
use crate::measure::{measure, median};
use crate::trees::remove;

/// Files of the home, and how many of them are changed in each round.
const FILES: usize = 2_000;
const CHANGED: usize = 10;
const ROUNDS: usize = 11;

impl Bench {
    /// Each round changes the same files in assembled roots and in a plain copy of the home; all are made exact again. What is exchanged
    /// is all new to its session, so that has a root of its own.
    pub fn logon(&self) -> io::Result<()> {
        println!("a home of {FILES} files at logon, {CHANGED} of them changed");
        let folder = self.folder("logon");
        remove(&folder)?;
        let tree = folder.join("tree");
        fill(&tree)?;
        let [root, exchanged, copy, plain] =
            ["root", "exchanged", "copy", "plain"].map(|name| folder.join(name));
        self.pool_of(&tree, &folder)?;
        for target in [&copy, &plain] {
            let mut cp = Command::new("cp");
            measure(cp.arg("-a").arg(tree.join("home")).arg(target))?;
        }
        let pool = folder.join("pool");
        for root in [&root, &exchanged] {
            fs::create_dir_all(root)?;
            let mut assemble = self.agent("assemble", &pool);
            assemble
                .arg("--session")
                .arg(root.with_extension("session"));
            measure(assemble.arg(root))?;
        }
        let mut costs = [const { Vec::new() }; 4];
        for round in 0..ROUNDS {
            change(&root.join("home"), round)?;
            let mut restore = self.agent("restore", &pool);
            restore.arg("--to").arg(&root).args(["--in-place", "/home"]);
            costs[0].push(measure(&restore)?);
            change(&exchanged.join("home"), round)?;
            let mut exchange = self.agent("restore", &pool);
            exchange.arg("--to").arg(&exchanged).arg("/home");
            costs[1].push(measure(&exchange)?);
            for (at, target) in [(2, root.join("home")), (3, plain.clone())] {
                change(&target, round)?;
                let mut rsync = Command::new("rsync");
                rsync.args(["-aHAX", "--delete"]);
                rsync.arg(format!("{}/", copy.display())).arg(&target);
                costs[at].push(measure(&rsync)?);
            }
        }
        let names = [
            "reclone restore --in-place",
            "reclone restore, as one exchange",
            "rsync -aHAX --delete onto the same root",
            "rsync -aHAX --delete onto a plain folder",
        ];
        let medians = costs.map(median);
        for (name, cost) in names.iter().zip(&medians) {
            row(name, cost);
        }
        let ratio = |at: usize| medians[at].wall.as_secs_f64() / medians[0].wall.as_secs_f64();
        println!(
            "  rsync takes {:.1} and {:.1} times as long",
            ratio(2),
            ratio(3)
        );
        umount2(&root, MntFlags::empty())?;
        umount2(&exchanged, MntFlags::empty())?;
        remove(&folder)
    }
}

fn fill(tree: &Path) -> io::Result<()> {
    for number in 0..FILES {
        let folder = tree.join(format!("home/.config/{}", number % 100));
        fs::create_dir_all(&folder)?;
        fs::write(
            folder.join(number.to_string()),
            number.to_string().repeat(1 + number % 1000),
        )?;
    }
    // The rest of the system stands before the home in the manifest, or behind it.
    for number in 0..60_000 {
        let top = if number % 20 == 0 { "etc" } else { "usr" };
        let folder = tree.join(format!("{top}/{}", number % 500));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(number.to_string()), "")?;
    }
    Ok(())
}

fn change(home: &Path, round: usize) -> io::Result<()> {
    for number in (0..CHANGED).map(|at| at * FILES / CHANGED + round) {
        let folder = home.join(format!(".config/{}", number % 100));
        match number % 3 {
            0 => fs::remove_file(folder.join(number.to_string()))?,
            1 => fs::write(folder.join("new"), "new")?,
            _ => fs::write(folder.join(number.to_string()), "changed")?,
        }
    }
    Ok(())
}
