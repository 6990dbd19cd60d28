//! What goes wrong with store, pool and disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use reclone_format::{ObjectId, object_id_of};

use super::{Record, World};

/// What is wrong now.
#[derive(Default)]
pub struct Faults {
    /// A pack is damaged.
    pub store: bool,
    /// The store is not there.
    pub gone: bool,
    /// It has no head.
    pub headless: bool,
    /// Something in the pool is damaged that its generations may need.
    pub pool: bool,
    /// Objects that were damaged. A sync takes an object that is there for whole; only prune and reset end that.
    pub rotten: BTreeSet<PathBuf>,
    /// The state record can not be read.
    pub record: bool,
    /// The clone's disk is full.
    pub full: bool,
}

impl Faults {
    /// Whether a sync has what it needs of the store.
    pub fn store_is_well(&self) -> bool {
        !self.store && !self.gone && !self.headless
    }

    /// A check found the pool's generations whole, or made them so.
    pub fn pool_was_mended(&mut self) {
        self.rotten.retain(|path| is_rotten(path));
        self.pool = !self.rotten.is_empty();
    }
}

fn is_rotten(path: &Path) -> bool {
    let Ok(content) = fs::read(path) else {
        return false;
    };
    let folder = path.parent().unwrap().file_name().unwrap();
    let name = path.file_name().unwrap();
    let id = format!("{}{}", folder.to_str().unwrap(), name.to_str().unwrap());
    id.parse::<ObjectId>().unwrap() != object_id_of(&content)
}

/// All files below a folder, in order.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}

/// Makes a file end early, go away or differ in a bit.
fn damage(path: &Path, rng: &mut Rng) {
    let length = fs::metadata(path).unwrap().len();
    let file = || File::options().read(true).write(true).open(path).unwrap();
    match rng.u8(0..3) {
        0 if length > 0 => file().set_len(rng.u64(0..length)).unwrap(),
        1 if length > 0 => {
            let (at, mut byte) = (rng.u64(0..length), [0]);
            file().read_exact_at(&mut byte, at).unwrap();
            file().write_all_at(&[byte[0] ^ 1], at).unwrap();
        }
        _ => fs::remove_file(path).unwrap(),
    }
}

impl World {
    /// One thing more goes wrong; says what.
    pub fn fault(&mut self) -> String {
        match self.rng.u8(0..12) {
            0..2 => self.damage_object(),
            2 => self.damage_file("images"),
            3..5 => self.damage_file("manifests"),
            5 => self.lose_record(),
            6 => self.damage_record(),
            7 => self.damage_pack(),
            8 => self.lose_store(),
            9 => self.lose_head(),
            10 => self.leave_junk(),
            _ => {
                let free = self.rng.u64(0..20 << 20);
                self.disk.fill(free);
                self.faults.full = true;
                format!("disk full but for {free} bytes")
            }
        }
    }

    fn any_file_below(&mut self, folder: &Path) -> Option<PathBuf> {
        let files = files_below(folder);
        self.rng.choice(files)
    }

    fn damage_object(&mut self) -> String {
        let Some(path) = self.any_file_below(&self.site.pool.join("objects")) else {
            return "no object to damage".into();
        };
        damage(&path, &mut self.rng);
        self.faults.pool = true;
        if let Some(machine) = &mut self.machine {
            machine.unsound = true;
            machine.objects.clear();
        }
        let said = format!("object {} damaged", path.display());
        self.faults.rotten.insert(path);
        said
    }

    /// A manifest or an image, which may be of a generation that only a running clone needs.
    fn damage_file(&mut self, folder: &str) -> String {
        let folder_path = self.site.pool.join(folder);
        let running = self.machine.as_ref().map(|machine| machine.generation);
        let running = running.map(|number| folder_path.join(number.to_string()));
        let running = running.filter(|path| self.rng.bool() && path.exists());
        let Some(path) = running.or_else(|| self.any_file_below(&folder_path)) else {
            return format!("no {folder} to damage");
        };
        damage(&path, &mut self.rng);
        let number = path.file_name().unwrap().to_string_lossy().parse().ok();
        let Record {
            current, previous, ..
        } = self.record;
        self.faults.pool |= number == current || number == previous || self.faults.record;
        if let Some(machine) = self.machine.as_mut().filter(|_| folder == "images") {
            machine.unsound = true;
        }
        format!("{} damaged", path.display())
    }

    fn lose_record(&mut self) -> String {
        let _ = fs::remove_file(self.site.pool.join("state"));
        self.forget_record();
        "state record lost".into()
    }

    /// A reset sets a damaged record aside first. One that did not come to its end leaves none.
    pub fn miss_record(&mut self) {
        if self.faults.record && self.read_record() == Some(Record::default()) {
            self.forget_record();
        }
    }

    /// What is known of the clone when its record is gone: nothing.
    pub fn forget_record(&mut self) {
        self.record = Record::default();
        self.faults.record = false;
    }

    fn damage_record(&mut self) -> String {
        let path = self.site.pool.join("state");
        if let Ok(text) = fs::read(&path) {
            let at = self.rng.usize(0..text.len());
            fs::write(&path, &text[..at]).unwrap();
            self.faults.record = true;
        }
        "state record damaged".into()
    }

    fn damage_pack(&mut self) -> String {
        let Some(path) = self.any_file_below(&self.site.store.join("packs")) else {
            return "no pack to damage".into();
        };
        damage(&path, &mut self.rng);
        self.faults.store = true;
        format!("{} damaged", path.display())
    }

    fn lose_store(&mut self) -> String {
        if !self.faults.gone {
            fs::rename(&self.site.store, self.site.store.with_extension("away")).unwrap();
            self.faults.gone = true;
        }
        "store gone".into()
    }

    pub fn find_store(&mut self) {
        if self.faults.gone {
            fs::rename(self.site.store.with_extension("away"), &self.site.store).unwrap();
            self.faults.gone = false;
        }
    }

    fn lose_head(&mut self) -> String {
        if fs::remove_file(self.site.store.join("head")).is_ok() {
            self.faults.headless = true;
        }
        "head lost".into()
    }

    /// What nothing may rely on.
    fn leave_junk(&mut self) -> String {
        let pool = &self.site.pool;
        for name in [
            "staging/objects/ab",
            "staging/objects/00/11",
            "images/77",
            "state.new",
        ] {
            let path = pool.join(name);
            let _ = fs::create_dir_all(path.parent().unwrap());
            let _ = fs::write(path, "junk");
        }
        "junk in the pool".into()
    }
}
