//! Sticks: a store that `reclone-model export` wrote to a file system of its own, beside the network's store or instead of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::clone::{Clone, base};
use crate::programs::{Site, reclone_model, succeed};
use crate::{DHCP, Lab, MODEL, possible};

/// Where clones look for it. It stands for what udev makes.
const STICK: &str = "offline-store = /stick";

/// A stick, until it is dropped. A loop device stands for it: the mount(2) of the agent takes nothing else.
struct Stick {
    folder: tempfile::TempDir,
    device: PathBuf,
}

impl Stick {
    /// With an export of this store on ext4.
    fn of(store: &Path) -> Self {
        Self::with(&["mkfs.ext4", "-q"], exported(store, "").path()).unwrap()
    }

    /// With what is in a folder, on a file system that is made with this command; or why this kernel can not mount it.
    fn with(mkfs: &[&str], content: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        succeed(Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image));
        let (device, _) = succeed(
            Command::new("losetup")
                .args(["--find", "--show"])
                .arg(&image),
        );
        let stick = Self {
            device: device.trim().into(),
            folder,
        };
        let script = r#"mount "$1" "$2"; cp -r "$3/." "$2"; umount "$2""#;
        let at = stick.folder.path();
        let copied = by_itself(script, &[&stick.device, at, content]);
        copied.map(|()| stick)
    }

    fn plug_into(&self, clone: &Clone) {
        symlink(&self.device, clone.path("stick")).unwrap();
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        let _ = Command::new("losetup")
            .arg("--detach")
            .arg(&self.device)
            .status();
    }
}

/// Runs a shell script in mounts of its own: another test's namespace, made meanwhile, would take those of all along, and keep them.
fn by_itself(script: &str, arguments: &[&Path]) -> Result<(), String> {
    // Nor does this one keep the mount in which that is made.
    base();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-ec", script, "sh"]);
    let output = unshare.args(arguments).output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A folder with an export of this store, in a folder in it that has this name.
fn exported(store: &Path, name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut export = reclone_model();
    export.arg("export").arg(store).arg("--to");
    succeed(export.arg(folder.path().join(name)));
    folder
}

/// Flips bits in the middle and at the end of every pack.
fn rot(store: &Path) {
    for entry in fs::read_dir(store.join("packs")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes[last / 2] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

/// A store with generation 3, of the same model as all others here.
fn newest() -> &'static Path {
    static NEWEST: OnceLock<(tempfile::TempDir, Site)> = OnceLock::new();
    let (_, site) = NEWEST.get_or_init(|| {
        let (folder, old) = (tempfile::tempdir().unwrap(), &base().site);
        let path = |name: &str| folder.path().join(name);
        for from in [&old.tree, &old.store] {
            succeed(Command::new("cp").arg("-a").arg(from).arg(folder.path()));
        }
        let site = Site {
            tree: path("tree"),
            store: path("store"),
            key: old.key.clone(),
            pool: path("pool"),
        };
        fs::write(site.tree.join("etc/version"), "3").unwrap();
        assert_eq!(site.publish().0, 3);
        (folder, site)
    });
    &site.store
}

/// A lab where the clone has no cable.
fn offline() -> Lab {
    let lab = Lab::new();
    lab.model.ip(&["link", "set", "end", "down"]);
    lab
}

#[test]
fn without_the_network_the_newest_generation_comes_from_the_stick() {
    if !possible() {
        return;
    }
    let (lab, stick) = (offline(), Stick::of(&base().site.store));
    let clone = lab.clone_with(MODEL, &format!("timeout = 2\n{STICK}"));
    stick.plug_into(&clone);
    let booted = clone.boot("");
    booted
        .assert_boots(2)
        .assert_warns("no cable is plugged in");
    for line in [
        "the offline store /stick has generation 2, serial ",
        "generation 2 is new: ",
        "the running system tries again in the background",
    ] {
        assert!(booted.log.contains(line), "no `{line}` in:\n{}", booted.log);
    }
    assert!(!booted.mounts.contains("stick"), "{}", booted.mounts);
    assert!(!clone.path("run/reclone/stick").exists());
    // Once more with what there is now.
    let booted = clone.boot("");
    booted
        .assert_boots(2)
        .assert_warns("no cable is plugged in");
    assert!(
        booted.log.contains("generation 2 is the newest"),
        "{}",
        booted.log
    );
}

#[test]
fn of_two_stores_the_newer_one_is_taken() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let _model = lab.serve(MODEL);
    let clone = lab.clone_with(MODEL, &format!("timeout = 30\n{STICK}"));
    let stick = Stick::of(newest());
    stick.plug_into(&clone);
    let booted = clone.boot("");
    booted.assert_boots(3);
    assert!(!booted.log.contains("warning"), "{}", booted.log);
    // The one in the network has fallen behind.
    clone
        .boot("")
        .assert_boots(3)
        .assert_warns("an old copy of the store is refused");
    lab.assert_links_are_untouched(&["wire"]);
}

#[test]
fn what_the_network_has_newer_is_taken_from_there_and_what_both_have_from_the_stick() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let _model = lab.serve_store(MODEL, newest());
    for (store, is_followed) in [(&*base().site.store, false), (newest(), true)] {
        let stick = Stick::of(store);
        let clone = lab.clone_with(MODEL, &format!("timeout = 30\n{STICK}"));
        stick.plug_into(&clone);
        let booted = clone.boot("");
        booted.assert_boots(3);
        assert!(!booted.log.contains("warning"), "{}", booted.log);
        let followed = booted.log.contains("following the offline store /stick");
        assert_eq!(followed, is_followed, "{}", booted.log);
    }
}

#[test]
fn a_stick_that_is_older_than_what_was_seen_is_refused_in_one_line() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let clone = lab.clone_with(MODEL, &format!("timeout = 30\n{STICK}"));
    let model = lab.serve(MODEL);
    clone.boot("").assert_boots(2);
    drop(model);
    let _model = lab.serve_store(MODEL, newest());
    let stick = Stick::of(&base().first);
    stick.plug_into(&clone);
    let warning =
        "the offline store /stick is left alone: it has serial 1, and this clone has seen ";
    clone.boot("").assert_boots(3).assert_warns(warning);
}

#[test]
fn a_stick_that_another_key_signed_is_refused_in_one_line() {
    if !possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let other = Site::new(folder.path());
    for number in 1..=3 {
        fs::write(other.tree.join("file"), number.to_string()).unwrap();
        other.publish();
    }
    let stick = Stick::of(&other.store);
    let lab = Lab::new();
    let alone = Clone::of_no_store(&lab.clone, STICK);
    stick.plug_into(&alone);
    alone.boot("").assert_boots(1).assert_warns("/head: ");
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let _model = lab.serve(MODEL);
    let clone = lab.clone_with(MODEL, &format!("timeout = 30\n{STICK}"));
    stick.plug_into(&clone);
    clone
        .boot("")
        .assert_boots(2)
        .assert_warns("the offline store /stick is left alone: ");
}

#[test]
fn a_stick_that_is_no_store_or_not_even_a_disk_is_refused_in_one_line() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let clone = Clone::of_no_store(&lab.clone, &format!("{STICK}:/elsewhere"));
    let stick = Stick::of(&base().site.store);
    stick.plug_into(&clone);
    let booted = clone.boot("");
    booted
        .assert_boots(1)
        .assert_warns("/elsewhere/head: No such file or directory");
    assert!(!booted.mounts.contains("stick"), "{}", booted.mounts);
    fs::remove_file(clone.path("stick")).unwrap();
    fs::write(clone.path("stick"), vec![0; 2 << 20]).unwrap();
    clone.boot("").assert_boots(1).assert_warns(
        "can not mount /stick: it has no file system that will do: vfat, exfat, ext4",
    );
}

#[test]
fn a_stick_that_rots_in_the_middle_makes_way_for_the_network() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let rotten = exported(&base().site.store, "");
    rot(rotten.path());
    let stick = Stick::with(&["mkfs.ext4", "-q"], rotten.path()).unwrap();
    let alone = Clone::of_no_store(&lab.clone, STICK);
    stick.plug_into(&alone);
    alone.boot("").assert_boots(1).assert_warns("packs/");
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let _model = lab.serve(MODEL);
    let clone = lab.clone_with(MODEL, &format!("timeout = 30\n{STICK}"));
    stick.plug_into(&clone);
    let booted = clone.boot("");
    booted
        .assert_boots(2)
        .assert_warns("the offline store /stick is left alone: ");
}

#[test]
fn a_stick_that_is_not_there_is_waited_for_only_where_the_network_fails_and_not_for_long() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let clone = lab.clone_with(MODEL, &format!("timeout = 2\n{STICK}"));
    let started = Instant::now();
    let booted = clone.boot("");
    let took = started.elapsed();
    booted
        .assert_boots(1)
        .assert_warns("no DHCP server answered in time");
    let line = "/stick: no offline store of this name showed up in 5 s";
    assert!(booted.log.contains(line), "no `{line}` in:\n{}", booted.log);
    assert!(took >= Duration::from_secs(5), "{took:?}");
    let seconds = booted.log.split("booting generation 1 after ").nth(1);
    let seconds = seconds.and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(seconds.parse::<f64>().unwrap() < 8.0, "{seconds} s");
    let _dnsmasq = lab.dnsmasq(&[DHCP]);
    let _model = lab.serve(MODEL);
    let booted = lab
        .clone_with(MODEL, &format!("timeout = 30\n{STICK}"))
        .boot("");
    booted.assert_boots(2);
    assert!(!booted.log.contains("offline store"), "{}", booted.log);
}

#[test]
fn a_stick_that_shows_up_late_is_taken() {
    if !possible() {
        return;
    }
    let (lab, stick) = (offline(), Stick::of(&base().site.store));
    let clone = lab.clone_with(MODEL, &format!("timeout = 1\n{STICK}"));
    let booted = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(3));
            stick.plug_into(&clone);
        });
        clone.boot("")
    });
    booted.assert_boots(2);
}

#[test]
fn a_first_clone_with_a_stick_does_not_wait_an_hour_for_a_network() {
    if !possible() {
        return;
    }
    let (lab, stick) = (Lab::new(), Stick::of(&base().site.store));
    for config in ["timeout = 2", "first-timeout = 3600"] {
        let clone = match config {
            "timeout = 2" => lab.clone_with(MODEL, &format!("{config}\n{STICK}")),
            _ => Clone::of_no_store(&lab.clone, &format!("{config}\n{STICK}")),
        };
        succeed(
            Command::new("mkfs.ext4")
                .args(["-q", "-F"])
                .arg(clone.path("disk.img")),
        );
        stick.plug_into(&clone);
        let booted = clone.boot("");
        booted.assert_boots(2);
        assert!(!booted.mounts.contains("stick"), "{}", booted.mounts);
    }
}

#[test]
fn a_reset_without_the_network_mends_from_the_stick() {
    if !possible() {
        return;
    }
    let (lab, stick) = (offline(), Stick::of(&base().site.store));
    let config = format!("timeout = 2\nfirst-timeout = 2\n{STICK}");
    let clone = lab.clone_with(MODEL, &config);
    stick.plug_into(&clone);
    clone.boot("").assert_boots(2);
    let script =
        r#"mount -o loop "$1" "$2"; find "$2/reclone/objects" -type f -delete; umount "$2""#;
    by_itself(script, &[&clone.path("disk.img"), lab.folder.path()]).unwrap();
    let mended = clone.boot("reclone=reset");
    mended.assert_boots(2);
    let damage = ", 0 files are damaged";
    assert!(!mended.log.contains(damage), "{}", mended.log);
    let booted = clone.boot("reclone=reset");
    booted.assert_boots(2);
    assert!(booted.log.contains(damage), "{}", booted.log);
}

#[test]
fn a_stick_with_fat_and_a_folder_is_good_enough() {
    if !possible() {
        return;
    }
    let content = exported(&base().site.store, "lab/store");
    let stick = match Stick::with(&["mkfs.vfat", "-n", "RECLONE"], content.path()) {
        Ok(stick) => stick,
        Err(error) => return eprintln!("SKIPPED: this kernel has no vfat: {error}"),
    };
    let lab = offline();
    let clone = lab.clone_with(MODEL, &format!("timeout = 2\n{STICK}:/lab/store"));
    stick.plug_into(&clone);
    clone.boot("").assert_boots(2);
}
