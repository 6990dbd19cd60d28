//! What is measured, a function each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use qemu_tests::server::Server;

use crate::measure::{Cost, calls_of, drop_caches, measure, median, shell};
use crate::trees::{Tree, remove};

const LEVEL: &str = "9";

/// The programs and a folder to work in.
pub struct Bench {
    reclone: PathBuf,
    model: PathBuf,
    work: PathBuf,
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

pub fn row(what: &str, cost: &Cost) {
    println!(
        "  {what:<44} {:>10} wall {:>10} CPU {:>7.1} MiB",
        seconds(cost.wall),
        seconds(cost.cpu),
        cost.memory as f64 / 1024.0
    );
}

impl Bench {
    /// With the programs in `programs`; `work` is made and stays, as a cache of trees.
    pub fn new(programs: &Path, work: &Path) -> io::Result<Self> {
        fs::create_dir_all(work)?;
        Ok(Self {
            reclone: programs.join("reclone"),
            model: programs.join("reclone-model"),
            work: work.to_owned(),
        })
    }

    /// What enters the initramfs.
    pub fn sizes(&self) -> io::Result<()> {
        let size = fs::metadata(&self.reclone)?.len();
        println!(
            "size of reclone: {size} bytes ({:.2} MiB)",
            size as f64 / f64::from(1 << 20)
        );
        Ok(())
    }

    /// A folder to work in.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// `reclone VERB` of this pool.
    pub fn agent(&self, verb: &str, pool: &Path) -> Command {
        let mut command = Command::new(&self.reclone);
        command.arg(verb).arg("--pool").arg(pool);
        command
    }

    /// Puts the agent into a folder, where roots can show it.
    pub fn put_agent(&self, folder: &Path) -> io::Result<()> {
        fs::copy(&self.reclone, folder.join("reclone")).map(drop)
    }

    /// Publishes a tree to a store in `folder`, and syncs that to the pool there.
    pub fn pool_of(&self, tree: &Path, folder: &Path) -> io::Result<()> {
        let (store, key) = (folder.join("store"), folder.join("key"));
        let mut init = Command::new(&self.model);
        init.arg("init").arg(&store).arg("--key").arg(&key);
        measure(init.args(["--model", "bench"]))?;
        let mut publish = Command::new(&self.model);
        publish.arg("publish").arg("--from").arg(tree);
        measure(publish.arg("--key").arg(&key).arg(&store))?;
        let mut sync = self.agent("sync", &folder.join("pool"));
        sync.arg("--key").arg(key.with_extension("pub"));
        measure(sync.arg("--store").arg(&store)).map(drop)
    }

    fn key(&self) -> PathBuf {
        self.work.join("key")
    }

    /// A new store that holds this tree.
    pub fn store(&self, tree: &Tree) -> io::Result<(PathBuf, Cost)> {
        let store = self.work.join("store");
        remove(&store)?;
        for key in [self.key(), self.key().with_extension("pub")] {
            let _ = fs::remove_file(key);
        }
        let mut init = Command::new(&self.model);
        measure(
            init.arg("init")
                .arg(&store)
                .arg("--key")
                .arg(self.key())
                .args(["--model", "bench"]),
        )?;
        let cost = measure(&self.publish_command(&store, tree))?;
        Ok((store, cost))
    }

    /// `reclone-model publish` of a tree to this store.
    pub fn publish_command(&self, store: &Path, tree: &Tree) -> Command {
        let mut command = Command::new(&self.model);
        command
            .arg("publish")
            .arg("--from")
            .arg(&tree.path)
            .arg("--key")
            .arg(self.key());
        command.args(["--level", LEVEL]).arg(store);
        command
    }

    /// `reclone sync` from this store.
    pub fn sync_command(&self, store: &str, pool: &Path) -> Command {
        let mut command = Command::new(&self.reclone);
        command
            .args(["sync", "--store", store, "--key"])
            .arg(self.key().with_extension("pub"));
        command.arg("--pool").arg(pool);
        command
    }

    /// How many system calls of these names a command makes, of those whose arguments contain `part`.
    fn count_calls(&self, command: &Command, names: &str, part: &str) -> io::Result<usize> {
        let lines = calls_of(command, names, &[], &self.work.join("trace"))?;
        let calls = lines
            .iter()
            .filter(|line| line.contains('(') && line.contains(part));
        Ok(calls.count())
    }

    /// What a sync costs when there is nothing new.
    pub fn no_change(&self, tree: &Tree) -> io::Result<()> {
        println!("no change, {} entries", tree.entries);
        let (store, cost) = self.store(tree)?;
        row("publish", &cost);
        let log = self.work.join("server.log");
        let server = Server::start(&self.model, &store, 0, &log)?;
        let url = format!("http://127.0.0.1:{}", server.port());
        let pool = self.work.join("pool");
        remove(&pool)?;
        let sync = self.sync_command(&url, &pool);
        row("the first sync", &measure(&sync)?);
        let before = server.requests()?.len();
        row(
            "a sync without a change",
            &median((0..5).map(|_| measure(&sync)).collect::<io::Result<_>>()?),
        );
        let requests = (server.requests()?.len() - before) as f64 / 5.0;
        let received = self.received(&sync)?;
        let opens = self.count_calls(
            &sync,
            "open,openat,openat2,creat",
            &pool.display().to_string(),
        )?;
        println!("  {requests} requests, {received} bytes received, {opens} opens in the pool");
        let target = self.work.join("unpacked");
        remove(&target)?;
        let script = format!(
            "rsync -aH --delete {}/ {}/",
            tree.path.display(),
            target.display()
        );
        measure(&shell(script.as_ref()))?;
        row(
            "rsync -aH --delete without a change",
            &measure(&shell(script.as_ref()))?,
        );
        remove(&target)
    }

    /// The bytes that a command reads from its sockets.
    fn received(&self, command: &Command) -> io::Result<u64> {
        let names = "read,recvfrom,recvmsg";
        let lines = calls_of(command, names, &["-y"], &self.work.join("trace"))?;
        let sockets = lines
            .iter()
            .filter(|line| line.contains("<socket:") || line.contains("<TCP"));
        Ok(sockets
            .flat_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum())
    }

    /// What it costs a boot that the last session changed this many files.
    pub fn reset(&self, files: usize) -> io::Result<()> {
        println!("reset, {files} changed files in the last session");
        let root = self.work.join("reset-pool");
        remove(&root)?;
        let pool = reclone::pool::Pool::create(&root).map_err(io::Error::other)?;
        let session = reclone::session::Session::create(&pool).map_err(io::Error::other)?;
        crate::trees::small_files(&session.upper(), files)?;
        drop_caches()?;
        let start = Instant::now();
        reclone::session::end_idle(&pool).map_err(io::Error::other)?;
        println!("  setting it aside: {}", seconds(start.elapsed()));
        let start = Instant::now();
        let lock = pool.lock().map_err(io::Error::other)?;
        reclone::prune::prune(&pool, &lock).map_err(io::Error::other)?;
        println!(
            "  removing it later, in the background: {}",
            seconds(start.elapsed())
        );
        remove(&root)
    }
}
