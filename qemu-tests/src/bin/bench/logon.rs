//! A home that is made fresh at logon, beside `rsync` from a copy on the same disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

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
        remove(&self.folder("logon"))?;
        fs::create_dir_all(self.folder("logon"))?;
        let folder = self.folder("logon").canonicalize()?;
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
            settle_in(root, &folder)?;
        }
        self.put_agent(&folder)?;
        let mut costs = [const { Vec::new() }; 4];
        for round in 0..ROUNDS {
            change(&root.join("home"), round)?;
            let mut restore = inside(&root, &folder);
            costs[0].push(measure(restore.arg("--in-place"))?);
            change(&exchanged.join("home"), round)?;
            costs[1].push(measure(&inside(&exchanged, &folder))?);
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
        for root in [&root, &exchanged] {
            umount2(&root.join("proc"), MntFlags::empty())?;
            umount2(&below(root, &folder), MntFlags::empty())?;
            umount2(root, MntFlags::empty())?;
        }
        remove(&folder)
    }
}

/// `reclone restore /home` as a clone runs it, in its own root.
fn inside(root: &Path, folder: &Path) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root).arg(folder.join("reclone"));
    command.arg("restore").arg("--pool");
    command.arg(folder.join("pool")).arg("/home");
    command
}

/// Shows in a root what its clone finds there: `/proc`, and the pool and the sessions where the kernel says that they are.
fn settle_in(root: &Path, folder: &Path) -> io::Result<()> {
    let (proc, own) = (root.join("proc"), below(root, folder));
    for place in [&proc, &own] {
        fs::create_dir_all(place)?;
    }
    let (none, no_flags) = (None::<&str>, MsFlags::empty());
    mount(Some("proc"), &proc, Some("proc"), no_flags, none)?;
    Ok(mount(Some(folder), &own, none, MsFlags::MS_BIND, none)?)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
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
