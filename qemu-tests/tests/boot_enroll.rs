//! Two freshly installed Debian machines become a model and its clone: by apt, from a repository of the project's own packages, and by the
//! commands that README gives and `reclone-model setup` prints.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use qemu_tests::facts::Facts;
use qemu_tests::folder::Folder;
use qemu_tests::image::{Tree, copy_disk, is_clean, project, run};
use qemu_tests::initramfs::{Initramfs, System};
use qemu_tests::machine::{Boot, Loader, Machine};
use qemu_tests::server::Server;
use qemu_tests::site::program;

/// For what machines do without KVM: packages, an initramfs, a publish.
const PATIENCE: Duration = Duration::from_secs(1500);
const STORE_PORT: u16 = 8080;
const REPOSITORY: &str =
    "mkdir -p /mnt/packages && mount -o ro /dev/disk/by-id/virtio-packages /mnt/packages
echo 'deb [trusted=yes] file:/mnt/packages ./' > /etc/apt/sources.list.d/packages.list
apt-get -q update";
const INSTALL: &str = "DEBIAN_FRONTEND=noninteractive apt-get -q -y install";
/// All that is named after reclone and is no note of dpkg's, apt's or journald's.
const LEFTOVERS: &str = "find / -xdev -iname '*reclone*' -not -path '/var/lib/apt/*' -not -path '/var/cache/*' -not -path '/var/log/*'";

/// A machine that was installed, and nothing more.
struct Fresh {
    disk: PathBuf,
    kernel: PathBuf,
    initrd: PathBuf,
    packages: Vec<(String, PathBuf)>,
    network: Vec<String>,
}

impl Fresh {
    fn install(
        system: System,
        folder: &Path,
        name: &str,
        megabytes: u32,
        packages: &Path,
    ) -> Fresh {
        let tree = Tree::create(system, &[], &folder.join("tree")).unwrap();
        tree.write("etc/hostname", &format!("{name}\n")).unwrap();
        let interfaces = "auto lo eth0\niface lo inet loopback\niface eth0 inet dhcp\n";
        tree.write("etc/network/interfaces", interfaces).unwrap();
        // The test has no other packages than these.
        fs::remove_file(tree.root().join("etc/apt/sources.list")).unwrap();
        let disk = folder.join(format!("{name}.img"));
        tree.to_disk(&disk, megabytes).unwrap();
        // QEMU locks what a machine has.
        let copy = disk.with_extension("packages");
        copy_disk(packages, &copy).unwrap();
        let fresh = Fresh {
            kernel: disk.with_extension("vmlinuz"),
            initrd: disk.with_extension("initrd"),
            disk,
            packages: vec![("packages".to_owned(), copy)],
            network: vec!["user,id=n".to_owned()],
        };
        fs::copy(tree.boot_file("vmlinuz-").unwrap(), &fresh.kernel).unwrap();
        fresh.load_initramfs(&tree);
        fresh
    }

    /// What a boot loader would find on the disk.
    fn load_initramfs(&self, tree: &Tree) {
        let path = tree.boot_file("initrd.img-").unwrap();
        let path = path.strip_prefix(tree.root()).unwrap();
        let request = format!("dump /{} {}", path.display(), self.initrd.display());
        run(Command::new("debugfs")
            .args(["-R", &request])
            .arg(&self.disk))
        .unwrap();
    }

    fn start(&self, words: &str) -> Machine {
        let boot = Boot {
            loader: Loader::Kernel {
                kernel: &self.kernel,
                initrd: &self.initrd,
                words: &format!("panic=1 net.ifnames=0 {words}"),
            },
            disk: &self.disk,
            drive: None,
            more: &self.packages,
            network: &self.network,
            host: None,
            options: &[],
            show: std::env::var_os("SHOW").is_some(),
        };
        let mut machine = Machine::start(&boot).unwrap();
        machine.console.give_time(PATIENCE);
        machine.log_in().unwrap();
        machine
    }

    /// Has it follow a model: the package that fits its initramfs, and the command for clones. `tree` names the kernel that it has.
    fn enroll(&self, package: &str, command: &str, tree: &Path) {
        let mut machine = self.start("");
        does(&mut machine, REPOSITORY);
        does(&mut machine, &format!("{INSTALL} reclone {package}"));
        does(&mut machine, command);
        machine.power_off().unwrap();
        self.load_initramfs(&Tree::at(tree));
    }

    fn is_what_it_was_again(&self, package: &str, lister: &str) {
        let mut machine = self.start("reclone=off");
        let of_the_model = "ls /etc/newer /etc/of-the-model 2>/dev/null || true";
        assert_eq!(does(&mut machine, of_the_model), "");
        does(&mut machine, "reclone unenroll --remove-pool");
        let purge = format!("apt-get -q -y purge reclone {package}");
        does(&mut machine, &purge);
        assert_eq!(does(&mut machine, LEFTOVERS), "");
        let images = format!("! {lister} /boot/initrd.img-* | grep reclone");
        does(&mut machine, &images);
        machine.power_off().unwrap();
        assert!(is_clean(&self.disk).unwrap());
    }
}

/// Runs a command that must end well; what it printed.
fn does(machine: &mut Machine, command: &str) -> String {
    let said = machine
        .report(&format!("{{ {command}; }}; echo \"ended=$?\""))
        .unwrap();
    println!("{said}");
    let said = said.strip_suffix("ended=0\n");
    said.unwrap_or_else(|| panic!("{command}")).to_owned()
}

/// The packages, and what apt wants to know of them, on a disk.
fn repository(folder: &Path) -> PathBuf {
    run(Command::new("make")
        .args(["--silent", "-C"])
        .arg(project())
        .arg("deb"))
    .unwrap();
    let packages = folder.join("packages");
    fs::create_dir(&packages).unwrap();
    for entry in fs::read_dir(project().join("target/deb")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), packages.join(entry.file_name())).unwrap();
    }
    let index = run(Command::new("dpkg-scanpackages")
        .arg(".")
        .current_dir(&packages))
    .unwrap();
    fs::write(packages.join("Packages"), index).unwrap();
    let disk = folder.join("packages.img");
    run(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .arg(&packages)
        .arg(&disk)
        .arg("32M"))
    .unwrap();
    disk
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn two_fresh_machines_become_a_model_and_its_clone() {
    if !Machine::available() {
        return;
    }
    let folder = Folder::create("enroll").unwrap();
    let folder = folder.path();
    let packages = repository(folder);
    let port = free_port();
    let mut model = Fresh::install(System::DEFAULT, folder, "model", 2500, &packages);
    model.network = vec![format!(
        "user,id=n,hostfwd=tcp:127.0.0.1:{port}-:{STORE_PORT}"
    )];
    let mut model = model.start("");
    does(&mut model, REPOSITORY);
    does(
        &mut model,
        &format!("{INSTALL} reclone-model reclone reclone-initramfs"),
    );
    does(&mut model, "touch /etc/of-the-model");
    let url = format!("http://10.0.2.2:{port}");
    let setup = format!("reclone-model setup --serve-unit --port {STORE_PORT} --url {url}");
    let said = does(&mut model, &setup);
    let enroll = said.lines().last().unwrap();
    assert!(enroll.starts_with("reclone enroll http"), "{enroll}");
    does(
        &mut model,
        "reclone-model publish --key /root/model.key /srv/model",
    );

    let clone = Fresh::install(System::DEFAULT, folder, "clone", 1500, &packages);
    clone.enroll("reclone-initramfs", enroll, &folder.join("tree"));
    runs(&clone, 1, "/etc/of-the-model");

    // And follows it.
    does(&mut model, "touch /etc/newer");
    does(
        &mut model,
        "reclone-model publish --key /root/model.key /srv/model",
    );
    runs(&clone, 2, "/etc/newer");
    model.power_off().unwrap();

    clone.is_what_it_was_again("reclone-initramfs", "lsinitramfs");
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn a_fresh_machine_with_dracut_becomes_a_clone() {
    if !Machine::available() {
        return;
    }
    let folder = Folder::create("enroll-dracut").unwrap();
    let folder = folder.path();
    let packages = repository(folder);
    let system = System {
        initramfs: Initramfs::Dracut,
        ..System::DEFAULT
    };
    let clone = Fresh::install(system, folder, "clone", 1500, &packages);
    // What it follows is published here.
    let (tree, store, key) = (
        folder.join("tree"),
        folder.join("store"),
        folder.join("key"),
    );
    Tree::at(&tree).write("etc/of-the-model", "").unwrap();
    let model = |verb: &str, more: &[&str]| {
        let mut command = Command::new(program("reclone-model"));
        command.arg(verb).args(more).arg("--key").arg(&key);
        run(command.arg(&store)).unwrap();
    };
    model("init", &[]);
    model("publish", &["--from", tree.to_str().unwrap()]);
    let log = folder.join("requests");
    let server = Server::start(&program("reclone-model"), &store, 0, &log).unwrap();
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let public = public.lines().nth(1).unwrap();
    let enroll = format!("reclone enroll {} --key {public}", server.url());
    clone.enroll("reclone-dracut", &enroll, &tree);
    runs(&clone, 1, "/etc/of-the-model");
    clone.is_what_it_was_again("reclone-dracut", "lsinitrd");
}

/// Boots the clone, which has to become this generation with this file, and to stay itself.
fn runs(clone: &Fresh, generation: u64, file: &str) {
    let mut machine = clone.start("");
    let facts = Facts::of(&mut machine).unwrap();
    println!("{facts}");
    facts.assert_runs(generation);
    assert_eq!(facts.get("hostname"), "clone");
    let serves = "systemctl is-active reclone-model || true";
    assert_eq!(
        does(&mut machine, serves),
        "inactive\n",
        "the model's store is no business of a clone"
    );
    does(&mut machine, &format!("test -e {file}"));
    facts.power_off(machine, &clone.disk).unwrap();
}
