//! The model of the recorded clone: four generations, each with the store as it was when that was the newest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use reclone_format::head::split;
use reclone_format::{Head, object_id_of};

use super::steps::{
    DAMAGE, DAMAGE_AT, DAMAGED, FIRST_POLICY, GOES_ON, NEWEST, OBJECT, OWN, SEEDED,
};
use super::tree_compare::{Seen, look};
use crate::image::run;
use crate::site::program;

/// What the clone has of its own, whatever the model has: nothing is compared there.
const OWN_FILES: [&str; 3] = ["etc/hostname", "etc/machine-id", "etc/fstab"];

/// How many files a tree has, about: enough for every step to have several, and few, for they are looked at after every cut.
const PROGRAMS: u64 = 6;

/// A tree as it was looked at, without the clone's own files.
pub type Tree = BTreeMap<PathBuf, Seen>;

/// Four stores in a folder, and what their newest generations look like.
pub struct Stores {
    /// The folder: `1` to `4`, the public key, the name of the object that gets damaged.
    pub folder: PathBuf,
    trees: Vec<Tree>,
    kernels: Vec<[Vec<u8>; 2]>,
    serials: Vec<u64>,
    /// What is read of [`DAMAGED`] while it is damaged.
    pub damaged: Option<u64>,
}

impl Stores {
    /// Builds them below `folder`, which is replaced.
    pub fn build(folder: &Path) -> io::Result<Stores> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let (tree, store, key) = (
            folder.join("tree"),
            folder.join("store"),
            folder.join("key"),
        );
        let stores = folder.join("stores");
        fs::create_dir_all(&tree)?;
        fs::create_dir_all(&stores)?;
        run(Command::new(program("reclone-model"))
            .arg("init")
            .arg(&store)
            .arg("--key")
            .arg(&key))?;
        fs::copy(folder.join("key.pub"), stores.join("key.pub"))?;
        let (mut trees, mut kernels, mut serials) = (Vec::new(), Vec::new(), Vec::new());
        let mut damaged = None;
        for number in 1..=NEWEST {
            change(&tree, number)?;
            let mut publish = Command::new(program("reclone-model"));
            run(publish
                .arg("publish")
                .arg("--from")
                .arg(&tree)
                .arg("--key")
                .arg(&key)
                .arg(&store))?;
            run(Command::new("cp")
                .arg("-a")
                .arg(&store)
                .arg(stores.join(number.to_string())))?;
            trees.push(seen(&tree));
            kernels.push(kernel_files(number).map(|name| content_of(&name, number)));
            serials.push(serial_of(&store)?);
            let file = tree.join(DAMAGED);
            if file.exists() {
                File::options()
                    .write(true)
                    .open(&file)?
                    .write_all_at(DAMAGE, DAMAGE_AT)?;
                damaged = seen(&tree)
                    .get(Path::new(DAMAGED))
                    .and_then(|seen| seen.content);
            }
        }
        let object = object_id_of(&content_of(DAMAGED, 3));
        fs::write(stores.join(OBJECT), object.pool_path())?;
        Ok(Stores {
            folder: stores,
            trees,
            kernels,
            serials,
            damaged,
        })
    }

    /// What a generation looks like.
    pub fn tree(&self, generation: u64) -> &Tree {
        &self.trees[generation as usize - 1]
    }

    /// Its kernel and initramfs.
    pub fn kernel(&self, generation: u64) -> &[Vec<u8>; 2] {
        &self.kernels[generation as usize - 1]
    }

    /// How many generations there are.
    pub fn count(&self) -> u64 {
        self.trees.len() as u64
    }

    /// The serial of its head; 0 for what is before the first.
    pub fn serial(&self, generation: u64) -> u64 {
        match generation.checked_sub(1) {
            Some(before) => self.serials[before as usize],
            None => 0,
        }
    }
}

/// The release of a generation's kernel.
pub fn release(generation: u64) -> String {
    format!("6.12.{generation}+deb13-amd64")
}

fn kernel_files(generation: u64) -> [String; 2] {
    ["vmlinuz", "initrd.img"].map(|name| format!("boot/{name}-{}", release(generation)))
}

/// What is at `root`, without what is the clone's own.
pub fn seen(root: &Path) -> Tree {
    let mut tree = look(root);
    tree.retain(|path, _| {
        let is_own = path.starts_with(OWN) || path.starts_with(GOES_ON);
        !is_own && !OWN_FILES.iter().any(|own| path == Path::new(own))
    });
    tree
}

fn serial_of(store: &Path) -> io::Result<u64> {
    let head = fs::read(store.join("head"))?;
    let head = split(&head).and_then(|(body, _)| Head::parse(body));
    Ok(head.map_err(io::Error::other)?.serial)
}

/// Makes the tree the next generation's.
fn change(tree: &Path, number: u64) -> io::Result<()> {
    if number == 1 {
        for folder in [
            "boot",
            "dev",
            "etc/reclone",
            "proc",
            "run",
            "sbin",
            "srv",
            "sys",
            "usr/bin",
            "var/empty",
            OWN,
            SEEDED,
            GOES_ON,
        ] {
            fs::create_dir_all(tree.join(folder))?;
        }
        for name in ["one", "two"] {
            let name = format!("{SEEDED}/{name}");
            fs::write(tree.join(&name), content_of(&name, 1))?;
        }
        fs::set_permissions(tree.join("var/empty"), fs::Permissions::from_mode(0o1777))?;
        fs::write(tree.join("etc/hostname"), "model\n")?;
        fs::write(tree.join("sbin/init"), "")?;
        fs::set_permissions(tree.join("sbin/init"), fs::Permissions::from_mode(0o755))?;
        for name in 0..PROGRAMS {
            let name = format!("usr/bin/{name}");
            fs::write(tree.join(&name), content_of(&name, 1))?;
        }
        symlink("../usr/bin/1", tree.join("etc/link"))?;
        fs::hard_link(tree.join("usr/bin/2"), tree.join("usr/bin/two"))?;
    }
    // Not in the first: what adopts a folder syncs, which would hide that what adopts single files did not.
    if number == FIRST_POLICY {
        let policy = format!("keep /{OWN}\nseed /{SEEDED}\nfollow /{GOES_ON}\n");
        fs::write(tree.join("etc/reclone/policy"), policy)?;
    }
    // A third of the programs is new in each generation, and some come and go.
    for name in (0..PROGRAMS).filter(|name| name % 3 == number % 3) {
        let name = format!("usr/bin/{name}");
        fs::write(tree.join(&name), content_of(&name, number))?;
    }
    let names = ["first", "second", "third", "fourth"];
    for (name, generation) in names.iter().zip(1..) {
        let path = tree.join("srv").join(name);
        match generation == number {
            true => fs::write(path, content_of(&format!("srv/{name}"), number))?,
            false if path.exists() => fs::remove_file(path)?,
            false => {}
        }
    }
    change_kernel(tree, number)?;
    fs::write(tree.join("etc/version"), format!("{number}\n"))
}

/// Each generation has a kernel of its own and none before it.
fn change_kernel(tree: &Path, number: u64) -> io::Result<()> {
    let modules = |number| tree.join("usr/lib/modules").join(release(number));
    if let Some(before) = number.checked_sub(1).filter(|it| *it > 0) {
        fs::remove_dir_all(modules(before))?;
        for name in kernel_files(before) {
            fs::remove_file(tree.join(name))?;
        }
    }
    fs::create_dir_all(modules(number))?;
    fs::write(modules(number).join("modules.dep"), "")?;
    kernel_files(number)
        .iter()
        .try_for_each(|name| fs::write(tree.join(name), content_of(name, number)))
}

/// Bytes that no compression makes fewer, of a length of their own for each file; generations differ in a few of them, which is
/// what deltas are for.
fn content_of(name: &str, generation: u64) -> Vec<u8> {
    let add = |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
    let seed = name.bytes().fold(1, add);
    let mut chance = fastrand::Rng::with_seed(seed);
    let length = match name.split('/').next() {
        Some("srv") => 60_000,
        Some("boot") => chance.usize(100_000..200_000),
        _ => chance.usize(1..9000),
    };
    let content = std::iter::repeat_with(|| chance.u8(..)).take(length);
    content.chain(generation.to_le_bytes()).collect()
}
