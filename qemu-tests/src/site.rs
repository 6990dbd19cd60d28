//! A site: a model that publishes, and the disk of a clone-to-be, which is a plainly installed Debian with reclone on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::folder::Folder;
use crate::image::{Tree, copy_disk, project, run};
use crate::initramfs::System;
use crate::launch::Launch;
use crate::server::Server;

/// The clone's disk, in MiB. It has to hold the plain system and two generations.
const DISK: u32 = 1100;

/// Where everything of a site is. The tree is first the clone's, then becomes the model's.
pub struct Site {
    folder: Folder,
    /// What the clones run before they are the model.
    pub system: System,
    /// The model's tree, which a test may change before it publishes.
    pub model: Tree,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) show: bool,
}

/// A program of the release build.
pub fn program(name: &str) -> PathBuf {
    project()
        .join("target/x86_64-unknown-linux-gnu/release")
        .join(name)
}

/// Names the store on the kernel command line.
pub fn store_word(url: &str) -> String {
    format!("reclone.store={url}")
}

impl Site {
    /// Builds a site of this system in `target/qemu/<name>`. Nothing is published yet.
    pub fn create(system: System, name: &str) -> io::Result<Site> {
        Site::prepare(system, name, &[], |_| Ok(()))
    }

    /// The same with further packages in the tree, which `change` may change before its initramfs is made.
    pub fn prepare(
        system: System,
        name: &str,
        packages: &[&str],
        change: impl FnOnce(&Tree) -> io::Result<()>,
    ) -> io::Result<Site> {
        let folder = Folder::create(name)?;
        let at = |name| folder.path().join(name);
        let key = at("key");
        run(Command::new(program("reclone-model"))
            .arg("init")
            .arg(at("store"))
            .arg("--key")
            .arg(&key))?;
        let tree = Tree::create(system, packages, &at("tree"))?;
        tree.write("etc/reclone/model.pub", &fs::read_to_string(at("key.pub"))?)?;
        tree.write("etc/machine-id", "c10ec10ec10ec10ec10ec10ec10ec10e\n")?;
        tree.write("etc/only-on-the-plain-disk", "plain\n")?;
        tree.write("etc/reclone/reclone.conf", "key = /etc/reclone/model.pub\n")?;
        change(&tree)?;
        system.initramfs.install_module(tree.root())?;
        system.initramfs.make(&tree)?;
        let kernel = at("vmlinuz");
        let initrd = at("initrd");
        fs::copy(tree.boot_file("vmlinuz-")?, &kernel)?;
        fs::copy(tree.boot_file("initrd.img-")?, &initrd)?;
        tree.to_disk(&at("plain.img"), DISK)?;
        become_model(&tree)?;
        Ok(Site {
            folder,
            system,
            model: tree,
            kernel,
            initrd,
            show: false,
        })
    }

    /// The same site, with the console of its machines copied to standard output.
    pub fn shown(mut self) -> Site {
        self.show = true;
        self
    }

    /// Leaves its folder for somebody to look at.
    pub fn keep(&mut self) {
        self.folder.keep();
    }

    /// A path in the site's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Publishes the model's tree and returns the number of the generation.
    pub fn publish(&self) -> io::Result<u64> {
        self.publish_to(&self.store(), &self.path("key"))
    }

    /// The same into another store, or with another key.
    pub fn publish_to(&self, store: &Path, key: &Path) -> io::Result<u64> {
        let mut publish = Command::new(program("reclone-model"));
        publish
            .arg("publish")
            .arg("--from")
            .arg(self.model.root())
            .arg("--key")
            .arg(key)
            .arg(store);
        let said = run(&mut publish)?;
        let number = said
            .split_whitespace()
            .next_back()
            .and_then(|word| word.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("publish said no number last: {said}")))
    }

    /// Serves a store on a free port; the log of requests is beside it.
    pub fn serve(&self, store: &Path) -> io::Result<Server> {
        self.serve_at(store, 0)
    }

    /// Serves a store on this port.
    pub fn serve_at(&self, store: &Path, port: u16) -> io::Result<Server> {
        Server::start(
            &program("reclone-model"),
            store,
            port,
            &store.with_extension("requests"),
        )
    }

    /// A copy of a disk of this site.
    pub fn copy(&self, from: &str, to: &str) -> io::Result<PathBuf> {
        let path = self.path(to);
        copy_disk(&self.path(from), &path)?;
        Ok(path)
    }

    /// Makes the initramfs anew with this file in the tree, which is removed again.
    pub fn remake_initramfs(&self, path: &str, content: &str) -> io::Result<()> {
        self.model.write(path, content)?;
        self.system.initramfs.make(&self.model)?;
        fs::remove_file(self.model.root().join(path))?;
        fs::copy(self.model.boot_file("initrd.img-")?, &self.initrd).map(drop)
    }

    /// A machine with the disk `name`, to be switched on.
    pub fn machine(&self, name: &str) -> Launch<'_> {
        Launch::new(self, name)
    }
}

/// Gives the tree another identity than the clone's, and disks that the clone does not have: with this fstab a clone would
/// wait and fail, with these host keys sshd would.
fn become_model(tree: &Tree) -> io::Result<()> {
    tree.write("etc/hostname", "model\n")?;
    tree.write("etc/machine-id", "0de10de10de10de10de10de10de10de1\n")?;
    tree.write(
        "etc/fstab",
        "UUID=00000000-0000-4000-8000-000000000001 / ext4 errors=remount-ro 0 1\n\
         UUID=00000000-0000-4000-8000-000000000002 none swap sw 0 0\n\
         UUID=0000-0003 /boot/efi vfat umask=0077 0 1\n",
    )?;
    tree.write(
        "etc/ssh/ssh_host_ed25519_key",
        "the model's, which no clone may have\n",
    )?;
    tree.write("etc/model-version", "1\n")?;
    fs::remove_file(tree.root().join("etc/only-on-the-plain-disk"))
}
