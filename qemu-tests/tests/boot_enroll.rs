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
use qemu_tests::initramfs::System;
use qemu_tests::machine::{Boot, Loader, Machine};

/// For what machines do without KVM: packages, an initramfs, a publish.
const PATIENCE: Duration = Duration::from_secs(1500);
const STORE_PORT: u16 = 8080;
const REPOSITORY: &str =
    "mkdir -p /mnt/packages && mount -o ro /dev/disk/by-id/virtio-packages /mnt/packages
echo 'deb [trusted=yes] file:/mnt/packages ./' > /etc/apt/sources.list.d/packages.list
apt-get -q update";
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
    fn install(folder: &Path, name: &str, megabytes: u32, packages: &Path) -> Fresh {
        let tree = Tree::create(System::DEFAULT, &[], &folder.join("tree")).unwrap();
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
            options: &[],
            show: std::env::var_os("SHOW").is_some(),
        };
        let mut machine = Machine::start(&boot).unwrap();
        machine.console.give_time(PATIENCE);
        machine.log_in().unwrap();
        machine
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
    let mut model = Fresh::install(folder, "model", 2500, &packages);
    model.network = vec![format!(
        "user,id=n,hostfwd=tcp:127.0.0.1:{port}-:{STORE_PORT}"
    )];
    let mut model = model.start("");
    let install = "DEBIAN_FRONTEND=noninteractive apt-get -q -y install";
    does(&mut model, REPOSITORY);
    does(
        &mut model,
        &format!("{install} reclone-model reclone reclone-initramfs"),
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

    let clone = Fresh::install(folder, "clone", 1500, &packages);
    let tree = Tree::at(&folder.join("tree"));
    let mut machine = clone.start("");
    does(&mut machine, REPOSITORY);
    does(
        &mut machine,
        &format!("{install} reclone reclone-initramfs"),
    );
    does(&mut machine, enroll);
    machine.power_off().unwrap();
    clone.load_initramfs(&tree);
    runs(&clone, 1, "/etc/of-the-model");

    // And follows it.
    does(&mut model, "touch /etc/newer");
    does(
        &mut model,
        "reclone-model publish --key /root/model.key /srv/model",
    );
    runs(&clone, 2, "/etc/newer");
    model.power_off().unwrap();

    // And is what it was again.
    let mut machine = clone.start("reclone=off");
    assert_eq!(
        does(
            &mut machine,
            "ls /etc/newer /etc/of-the-model 2>/dev/null || true"
        ),
        ""
    );
    does(&mut machine, "reclone unenroll --remove-pool");
    does(
        &mut machine,
        "apt-get -q -y purge reclone reclone-initramfs",
    );
    assert_eq!(does(&mut machine, LEFTOVERS), "");
    does(
        &mut machine,
        "! lsinitramfs /boot/initrd.img-* | grep reclone",
    );
    machine.power_off().unwrap();
    assert!(is_clean(&clone.disk).unwrap());
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
