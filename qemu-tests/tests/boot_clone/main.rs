//! A clone in QEMU follows a model: every case boots a real Debian disk and asks from inside what came up.
//!
//! One site is built for all cases, and one disk that was cloned once; each case works on copies of disk and store.
#![allow(clippy::unwrap_used)]

mod first;
mod life;
mod refusals;
mod rescue;
mod reset;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use qemu_tests::facts::Facts;
use qemu_tests::image::{is_clean, run};
use qemu_tests::machine::Machine;
use qemu_tests::site::Site;

/// The identity of the clone, which it keeps, whatever the model's is.
const MACHINE_ID: &str = "c10ec10ec10ec10ec10ec10ec10ec10e";

/// What all cases start from.
struct Prepared {
    site: Site,
    /// What the first clone said.
    first: Facts,
    /// What it asked the server for.
    requests: Vec<String>,
}

/// The site, with generation 1 published, and the disk `cloned.img`, which has booted it once.
fn prepared() -> &'static Prepared {
    static PREPARED: OnceLock<Prepared> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let site = Site::create("trixie", "clone").unwrap();
        assert_eq!(site.publish().unwrap(), 1);
        site.copy("plain.img", "cloned.img").unwrap();
        let server = site.serve(&site.store()).unwrap();
        let mut machine = site.start("cloned.img", &store_word(server.url())).unwrap();
        machine.log_in().unwrap();
        let first = Facts::of(&mut machine).unwrap();
        println!("{first}");
        machine.report(first::DRIFT).unwrap();
        power_off(machine, &first, &site.path("cloned.img"));
        Prepared {
            first,
            requests: server.requests().unwrap(),
            site,
        }
    })
}

/// Names the store on the kernel command line.
fn store_word(url: &str) -> String {
    format!("reclone.store={url}")
}

/// Powers off in order and fails unless the disk was left clean and sound, and by the shutdown program where `facts` say
/// that it was there.
fn power_off(machine: Machine, facts: &Facts, disk: &Path) {
    let ended = machine.power_off().unwrap();
    println!("on for {} s", ended.on.as_secs());
    let by_agent = ended.said.contains("reclone: all disks are clean");
    assert_eq!(by_agent, facts.get("root") == "overlay", "{}", ended.said);
    assert!(
        is_clean(disk).unwrap(),
        "{} was left unclean",
        disk.display()
    );
}

/// A case with a disk and a store of its own.
struct Case {
    site: &'static Site,
    disk: String,
    store: PathBuf,
}

impl Case {
    /// A clone that has booted generation 1 once, and a store that has just that.
    fn new(name: &str) -> Option<Case> {
        if !Machine::available() {
            return None;
        }
        let site = &prepared().site;
        let (disk, store) = (format!("{name}.img"), site.path(&format!("{name}.store")));
        site.copy("cloned.img", &disk).unwrap();
        if store.exists() {
            std::fs::remove_dir_all(&store).unwrap();
        }
        let mut copy = std::process::Command::new("cp");
        run(copy.arg("-a").arg(site.store()).arg(&store)).unwrap();
        Some(Case { site, disk, store })
    }

    /// Publishes the model's tree with `version` in it to the case's store.
    fn publish(&self, version: &str) -> u64 {
        self.site
            .model
            .write("etc/model-version", &format!("{version}\n"))
            .unwrap();
        self.site
            .publish_to(&self.store, &self.site.path("key"))
            .unwrap()
    }

    /// Boots with these words on the kernel command line, does `work` in the machine once it is up, and powers off.
    fn boot(&self, words: &str, work: impl FnOnce(&mut Machine, &Facts)) {
        println!("### {words}");
        let mut machine = self.site.start(&self.disk, words).unwrap();
        machine.log_in().unwrap();
        let facts = Facts::of(&mut machine).unwrap();
        println!("{facts}");
        work(&mut machine, &facts);
        power_off(machine, &facts, &self.disk_path());
    }

    fn disk_path(&self) -> PathBuf {
        self.site.path(&self.disk)
    }
}
