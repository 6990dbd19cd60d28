//! A clone in QEMU follows a model: every case boots a real Debian disk and asks from inside what came up.
//!
//! One site is built for all cases, and one disk that was cloned once; each case works on copies of disk and store.
#![allow(clippy::unwrap_used)]

mod clock;
mod disks;
mod first;
mod hibernation;
mod life;
mod network;
mod refusals;
mod rescue;
mod reset;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use qemu_tests::certificates::Certificates;
use qemu_tests::facts::Facts;
use qemu_tests::image::{Tree, run};
use qemu_tests::initramfs::System;
use qemu_tests::launch::Launch;
use qemu_tests::machine::Machine;
use qemu_tests::server::HOST;
use qemu_tests::site::{Site, store_word};

/// The identity of the clone, which it keeps, whatever the model's is.
const MACHINE_ID: &str = "c10ec10ec10ec10ec10ec10ec10ec10e";

/// The memory of a small machine, in MiB, as an option of QEMU.
const SMALL: [&str; 2] = ["-m", "256"];

/// What all cases start from.
struct Prepared {
    site: Site,
    /// What the first clone said.
    first: Facts,
    /// What it asked the server for.
    requests: Vec<String>,
}

/// The site, with generation 1 published, and the disk `cloned.img`, which a small machine has booted once.
fn prepared() -> &'static Prepared {
    static PREPARED: OnceLock<Prepared> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let certificates = Certificates::of(HOST);
        let site = Site::prepare(System::DEFAULT, "clone", &[], |tree| {
            tree.write("etc/reclone/ca.pem", &certificates.authority)
        });
        let site = site.unwrap();
        certificates.write(&site.path("tls")).unwrap();
        assert_eq!(site.publish().unwrap(), 1);
        site.copy("plain.img", "cloned.img").unwrap();
        let server = site.serve(&site.store()).unwrap();
        let mut machine = site
            .machine("cloned.img")
            .words(&store_word(server.url()))
            .with_options(&SMALL)
            .start()
            .unwrap();
        machine.log_in().unwrap();
        assert_is_small(&mut machine);
        let first = Facts::of(&mut machine).unwrap();
        println!("{first}");
        machine.report(first::DRIFT).unwrap();
        first.power_off(machine, &site.path("cloned.img")).unwrap();
        Prepared {
            first,
            requests: server.requests().unwrap(),
            site,
        }
    })
}

/// Asserts that the machine has no more memory than was meant.
fn assert_is_small(machine: &mut Machine) {
    let said = machine.report("grep MemTotal: /proc/meminfo").unwrap();
    let kib: u64 = said.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 256 * 1024, "{said}");
}

/// A case with a disk and a store of its own. What is called after it goes with it, unless it fails.
struct Case {
    site: &'static Site,
    name: String,
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
        Some(Case {
            site,
            name: name.to_owned(),
            disk,
            store,
        })
    }

    /// The model, for this case alone.
    fn model(&self) -> Model<'_> {
        static MODEL: Mutex<()> = Mutex::new(());
        Model {
            case: self,
            // A case that failed may leave a strange tree, which is no reason to fail the others.
            _alone: MODEL.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Publishes the model's tree with `version` in it to the case's store.
    fn publish(&self, version: &str) -> u64 {
        self.model().publish(version)
    }

    /// Boots with these words on the kernel command line, does `work` in the machine once it is up, and powers off.
    fn boot(&self, words: &str, work: impl FnOnce(&mut Machine, &Facts)) {
        self.boot_machine(self.machine(words), work);
    }

    /// The case's disk in a machine, with these words.
    fn machine(&self, words: &str) -> Launch<'_> {
        println!("### {words}");
        self.site.machine(&self.disk).words(words)
    }

    /// Switches the machine on, does `work` in it once it is up, and powers off.
    fn boot_machine(&self, machine: Launch<'_>, work: impl FnOnce(&mut Machine, &Facts)) {
        let mut machine = machine.start().unwrap();
        let facts = Facts::once_up(&mut machine).unwrap();
        work(&mut machine, &facts);
        facts.power_off(machine, &self.disk_path()).unwrap();
    }

    fn disk_path(&self) -> PathBuf {
        self.site.path(&self.disk)
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let prefix = format!("{}.", self.name);
        for entry in std::fs::read_dir(self.site.path("")).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let path = entry.path();
                let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
            }
        }
    }
}

/// The model's tree, which the cases share: one after the other may change it.
struct Model<'a> {
    case: &'a Case,
    _alone: MutexGuard<'static, ()>,
}

impl Model<'_> {
    fn tree(&self) -> &Tree {
        &self.case.site.model
    }

    /// Publishes the tree with `version` in it to the case's store.
    fn publish(&self, version: &str) -> u64 {
        let site = self.case.site;
        let version = format!("{version}\n");
        self.tree().write("etc/model-version", &version).unwrap();
        site.publish_to(&self.case.store, &site.path("key"))
            .unwrap()
    }
}
