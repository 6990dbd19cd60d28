//! A model gets another kernel. Its clone starts that after its own once, and has its boot loader start it from then on.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use qemu_tests::bios;
use qemu_tests::facts::Facts;
use qemu_tests::gpt::{self, Partition};
use qemu_tests::grub;
use qemu_tests::image::{is_clean, replace_file};
use qemu_tests::kernels::TwoKernels;
use qemu_tests::machine::Machine;
use qemu_tests::site::Site;
use qemu_tests::uefi::{self, partition};

const ROOT: &str = "PARTLABEL=root / ext4 errors=remount-ro 0 1\n";
const ESP: &str = "PARTLABEL=esp /boot/efi vfat umask=0077 0 1\n";

/// An administrator's.
const MEMTEST: &str = "menuentry 'Memory test' { linux /boot/memtest }\n";
/// A password, which is asked for what is not for everybody.
const PASSWORD: &str = "set superusers=\"root\"\npassword root secret\n";

/// What lists an initramfs finds nothing in it, or fails.
const IN_NEED_OF_THE_AGENT: &str = "for program in true false; do mount --bind /usr/bin/$program /usr/bin/lsinitramfs; \
    /run/initramfs/reclone loader; umount /usr/bin/lsinitramfs; done";

fn words(url: &str) -> String {
    format!("{} reclone.timeout=600", uefi::words(url))
}

/// A clone whose model gets another kernel.
struct Clone<'a> {
    kernels: &'a TwoKernels,
    partitions: Vec<Partition>,
    is_bios: bool,
    /// A command that shows what names the kernels.
    seen: &'a str,
    /// Where the boot loader reads kernels, if the first that comes is fetched while that is full.
    fills: Option<&'a str>,
}

/// What the machine says about its kernel.
struct Kernel {
    release: String,
    words: String,
    loader: serde_json::Value,
}

fn kernel(machine: &mut Machine) -> Kernel {
    let mut ask = |script: &str| machine.report(script).unwrap().trim().to_owned();
    let loader = ask("/run/initramfs/reclone loader --dry-run --json");
    Kernel {
        release: ask("uname -r"),
        words: ask("cat /proc/cmdline"),
        loader: serde_json::from_str(&loader).unwrap_or_else(|_| panic!("{loader}")),
    }
}

impl Clone<'_> {
    fn site(&self) -> &Site {
        &self.kernels.site
    }

    fn start(&self) -> Machine {
        let launch = self.site().machine("clone.img");
        let launch = match self.is_bios {
            true => launch.by_bios(),
            false => launch.by_firmware(),
        };
        launch.start().unwrap()
    }

    /// A machine that boots from the disk, and has told its boot loader what there is to tell, until its checks are done.
    fn boot<T>(&self, generation: u64, look: impl FnOnce(&mut Machine, &Facts) -> T) -> T {
        let mut machine = self.start();
        let facts = Facts::once_up(&mut machine).unwrap();
        facts.assert_runs(generation);
        let unit = "while systemctl is-active -q reclone-loader; do sleep 1; done\n\
            journalctl -u reclone-good -u reclone-loader --no-pager";
        println!("{}", machine.report(unit).unwrap());
        let looked = look(&mut machine, &facts);
        facts.power_off_assembled(machine).unwrap();
        looked
    }

    /// The model gets its new kernel, and the clone has it started by its boot loader. Gives the new kernel, and what is seen then.
    fn follows(&self) -> (String, String) {
        gpt::assemble(&self.site().path("clone.img"), &self.partitions).unwrap();
        if self.is_bios {
            bios::write_boot_code(&self.site().path("clone.img")).unwrap();
        }
        let new = self.boot(1, |machine, _| {
            let it = kernel(machine);
            assert_eq!(it.release, self.kernels.old);
            let null = serde_json::Value::Null;
            assert_eq!(it.loader["current"], null, "nobody asked for it");
            // That one was not seen to come up; it would be put, as its initramfs has the agent.
            assert_eq!(it.loader["outcome"], "would-put");
            let said = machine.report(IN_NEED_OF_THE_AGENT).unwrap();
            let wanted = [
                "has no reclone: install it on the model",
                "can not be looked into",
            ];
            let refused =
                wanted.map(|what| said.contains(&format!("{} in generation 1 {what}", it.release)));
            assert_eq!(refused, [true; 2], "{said}");
            let new = self.kernels.upgrade();
            assert_eq!(self.site().publish().unwrap(), 2);
            if let Some(folder) = self.fills {
                self.fetches_without_room(machine, folder, &new);
            }
            new
        });
        let named = self.boot(2, |machine, _| {
            self.assert_started_after_another(machine, &new);
            machine.report(self.seen).unwrap()
        });
        println!("{named}");
        (new, named)
    }

    /// The running clone says before the transfer that the kernel which comes will find no room.
    fn fetches_without_room(&self, machine: &mut Machine, folder: &str, new: &str) {
        // The network was the boot's alone.
        let network = "cd /sys/class/net; for card in e*; do ip link set $card up; ip address add 10.0.2.15/24 dev $card; done";
        let script = format!(
            "{network}; cat /dev/zero >{folder}/fill; /run/initramfs/reclone fetch; rm {folder}/fill; sync"
        );
        machine.console.give_time(Duration::from_secs(600));
        let said = machine.report(&script).unwrap();
        println!("{said}");
        let words = format!("are needed for the kernel {new}, 0 MiB are free");
        let mut before = said.lines().take_while(|it| !it.contains("fetched "));
        let warning = before.find(|it| it.contains(&words)).unwrap_or_default();
        assert!(warning.contains(&format!("{folder}: ")), "{said}");
    }

    fn assert_started_after_another(&self, machine: &mut Machine, new: &str) {
        let it = kernel(machine);
        assert_eq!(it.release, new);
        let word = format!(" reclone.kernel={new}");
        assert!(it.words.contains(&word), "{}", it.words);
        assert_eq!(it.loader["outcome"], "stands");
    }

    fn goes_straight_there(&self, new: &str, named: &str) {
        self.boot(2, |machine, facts| {
            let it = kernel(machine);
            assert_eq!(it.release, new);
            assert!(!it.words.contains("reclone.kernel="), "{}", it.words);
            let log = facts.log();
            assert!(!log.contains("starting its own"), "{log}");
            // The network card's driver is a module, and one more is to be had.
            assert!(log.contains("the network is up on"), "{log}");
            let loaded = machine.report("modprobe dummy && echo loaded").unwrap();
            assert_eq!(loaded, "loaded\n");
            assert_eq!(it.loader["outcome"], "stands");
            assert_eq!(it.loader["runs"], true);
            let seen = machine.report(self.seen).unwrap();
            assert_eq!(seen, named, "nothing was written");
        });
        let (site, last) = (self.site(), self.partitions.len() - 1);
        let image = site.path("partition.img");
        gpt::extract(&site.path("clone.img"), &self.partitions, last, &image).unwrap();
        assert!(is_clean(&image).unwrap());
    }
}

/// Has the root partition's GRUB start the clone's kernel, with these lines before its entry and these options of it.
fn configure_grub(site: &Site, old: &str, url: &str, before: &str, options: &str) {
    let head = format!("set timeout=0\nset default=\"0\"\n{before}");
    grub::configure(site, &head, old, options, &words(url)).unwrap();
    let plain = site.path("plain.img");
    replace_file(&plain, "/boot/grub/custom.cfg", MEMTEST).unwrap();
}

const SEEN_OF_GRUB: &str =
    "cd /run/reclone/disk/boot/grub; stat -c %y custom.cfg; cat custom.cfg; find reclone";

#[test]
#[ignore = "takes minutes: make test-all"]
fn grub_starts_the_kernel_of_a_generation_that_proved_itself() {
    if !Machine::available() {
        return;
    }
    let kernels = TwoKernels::prepare("loader-grub", Some(&format!("{ROOT}{ESP}")));
    let TwoKernels { site, old, .. } = &kernels;
    assert_eq!(site.publish().unwrap(), 1);
    let server = site.serve(&site.store()).unwrap();
    configure_grub(site, old, server.url(), "", "");
    uefi::grub(site, grub::TO_ROOT).unwrap();
    let clone = Clone {
        kernels: &kernels,
        partitions: vec![
            partition(site, "esp", "U", "esp.img"),
            partition(site, "root", "L", "plain.img"),
        ],
        is_bios: false,
        seen: SEEN_OF_GRUB,
        fills: None,
    };
    let (new, named) = clone.follows();
    assert!(named.contains(&format!("\n{MEMTEST}")), "{named}");
    clone.goes_straight_there(&new, &named);
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn grub_started_by_bios_does_the_same_and_asks_for_no_password_that_it_did_not_ask_for() {
    if !Machine::available() {
        return;
    }
    let kernels = TwoKernels::prepare("loader-bios", Some(ROOT));
    let TwoKernels { site, old, .. } = &kernels;
    assert_eq!(site.publish().unwrap(), 1);
    let server = site.serve(&site.store()).unwrap();
    configure_grub(site, old, server.url(), PASSWORD, "--unrestricted");
    let clone = Clone {
        kernels: &kernels,
        partitions: vec![
            bios::grub(site, grub::TO_ROOT).unwrap(),
            partition(site, "root", "L", "plain.img"),
        ],
        is_bios: true,
        seen: SEEN_OF_GRUB,
        fills: None,
    };
    let (new, named) = clone.follows();
    clone.goes_straight_there(&new, &named);
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn systemd_boot_starts_the_kernel_of_a_generation_that_proved_itself_and_leaves_one_that_fails() {
    if !Machine::available() {
        return;
    }
    let kernels = TwoKernels::prepare("loader-bls", Some(&format!("{ROOT}{ESP}")));
    let site = &kernels.site;
    assert_eq!(site.publish().unwrap(), 1);
    let server = site.serve(&site.store()).unwrap();
    uefi::systemd_boot(site, &words(server.url()), 320).unwrap();
    let clone = Clone {
        kernels: &kernels,
        partitions: vec![
            partition(site, "esp", "U", "esp.img"),
            partition(site, "root", "L", "plain.img"),
        ],
        is_bios: false,
        seen: "cd /boot/efi; stat -c %y loader/entries/*; cat loader/entries/*; find reclone",
        fills: Some("/boot/efi"),
    };
    let (new, named) = clone.follows();
    assert!(named.contains("title Debian\n"), "{named}");
    // Three times the plug is pulled before the end.
    for _ in 0..3 {
        let mut machine = clone.start();
        let said = machine.console.expect("reclone: asking http").unwrap();
        assert!(!said.contains("starting its own"), "{said}");
    }
    let entries = |machine: &mut Machine| machine.report("ls /boot/efi/loader/entries").unwrap();
    clone.boot(2, |machine, _| {
        let left = "debian.conf\nreclone-current+0-3.conf\n";
        assert_eq!(entries(machine), left);
        let by_hand = machine.report("/run/initramfs/reclone loader").unwrap();
        let starts = format!("systemd-boot starts from now on {new}, the kernel that runs\n");
        assert_eq!(by_hand, starts);
        assert_eq!(entries(machine), "debian.conf\nreclone-current+3.conf\n");
        clone.assert_started_after_another(machine, &new);
    });
    let named = clone.boot(2, |machine, _| {
        assert_eq!(entries(machine), "debian.conf\nreclone-current.conf\n");
        machine.report(clone.seen).unwrap()
    });
    clone.goes_straight_there(&new, &named);
}
