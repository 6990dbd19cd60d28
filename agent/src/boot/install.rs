//! A bare machine becomes a clone: started over the network, it lays out its empty disk, and the boot that goes on pulls the first
//! generation and has that make the disk start by itself. What a power cut leaves at each step is in `docs/boot.md`.
//!
//! What is called once is not to be inlined: in the largest functions of the program it costs 13 KB of the initramfs.

mod mark;
mod target;
mod words;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ::log::{info, warn};

use super::Places;
use super::log::BootLog;
use super::offline::signed_head;
use crate::accept::check_head;
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::follow::Follow;
use crate::keep::identity::random_id;
use crate::kernels::newest_in;
use crate::loader::{Asked, Kernel, Loader};
use crate::network;
use crate::partition;
use crate::pool::make_private_dir;
use crate::state::State;
use crate::sync::mib;
use crate::sys::mount::in_initramfs;

use mark::{Found, Stage};
use target::Target;

/// What runs the programs that partition and format.
const LAY_OUT: &str = "/usr/lib/reclone/lay-out";
/// What runs those of the generation's boot loader.
const BOOT_LOADER: &str = "/usr/lib/reclone/boot-loader";
/// How long a disk or a partition may take to show up.
const LONGEST: Duration = Duration::from_secs(30);
/// What a disk needs beside the generation.
const BESIDE: u64 = 1 << 30;

/// In the agent's folder in `/run`: the disk that does not start by itself yet, and its root partition.
fn note(places: &Places) -> PathBuf {
    places.own().join("install")
}

/// Lays out the disk that `config` names, if there is nothing on it, and returns its root partition. A disk with an installation, finished or
/// not, is taken as it is.
#[inline(never)]
pub fn install(config: &Config, dry_run: bool) -> Result<PathBuf> {
    BootLog::install();
    let disk = config.install.as_deref().ok_or_else(|| {
        Error::Usage(
            "No disk is named: reclone.install=/dev/disk/by-id/… on the kernel command line".into(),
        )
    })?;
    if !dry_run && !in_initramfs() {
        let text = "the boot that installs goes on where this ends: run it in an initramfs, or with --dry-run";
        return Err(Error::Usage(text.into()));
    }
    let places = Places::initramfs("/root".into());
    let target = Target::find(disk)?;
    let mut file = File::open(disk).map_err(Error::system("can not open", disk))?;
    let found = mark::look(&mut file).map_err(Error::system("can not read", disk))?;
    info!("installing on {target}");
    let root = match found {
        Found::Ours(stage @ (Stage::LaidOut | Stage::Done), root) => {
            info!("reclone installed it before ({stage:?}): nothing on it is replaced");
            if stage == Stage::Done || dry_run {
                return partition(&root);
            }
            root
        }
        found => {
            if found == Found::Data {
                check_may_go(&target, config.install_over.as_deref())?;
            }
            if !dry_run && !Path::new(LAY_OUT).exists() {
                return Err(Error::Usage(
                    "this initramfs can not lay out a disk: `reclone-model netboot` makes one that can"
                        .into(),
                ));
            }
            ask(config, &target)?;
            if dry_run {
                return Ok(target.path);
            }
            lay_out(&target, config.hostname.as_deref())?
        }
    };
    let text = format!("{}\n{root}\n", disk.display());
    make_private_dir(&places.own())?;
    fs::write(note(&places), text).map_err(Error::system("can not write", &note(&places)))?;
    partition(&root)
}

/// A disk with data goes only where its serial number is given.
fn check_may_go(target: &Target, over: Option<&str>) -> Result<()> {
    let what = mark::describe(&target.path);
    let serial = target.serial.as_str();
    if over == Some(serial) && !serial.is_empty() {
        warn!("{target} holds data ({what}) and is given up");
        return Ok(());
    }
    let way_out = match serial {
        "" => {
            "as it tells no serial number, overwrite its first and its last MiB with zeros".into()
        }
        serial => format!("add reclone.install-over={serial} to the kernel command line"),
    };
    Err(Error::Usage(format!(
        "{target} holds data ({what}): to give that up, {way_out}"
    )))
}

/// Whether the store can be had and its generation has room, before anything is written. A stick is asked by the boot.
#[inline(never)]
fn ask(config: &Config, target: &Target) -> Result<()> {
    if config.store.is_none() && config.offline_store.is_some() {
        return Ok(());
    }
    let deadline = Instant::now() + config.time_to_sync(false);
    let follow = Follow::new(config, Some(deadline), Path::new("/"))?;
    let places = network::Places::default();
    let head = network::with(follow.need, &places, deadline, || {
        let (bytes, head) = signed_head(&follow)?;
        check_head(&head, &bytes, &State::default(), config.model.as_deref())?;
        Ok(head)
    })?;
    let (number, model, needed) = (head.generation, &head.model, head.content + BESIDE);
    info!(
        "generation {number} of {model}, {}, from {}",
        mib(head.content),
        follow.location
    );
    if needed > target.size {
        return Err(Error::Full {
            path: target.path.clone(),
            needed: needed >> 20,
            free: target.size >> 20,
        });
    }
    Ok(())
}

/// Makes the disk one that a boot can pull to; gives the UUID of its root partition. The mark is there before anything else.
#[inline(never)]
fn lay_out(target: &Target, host_name: Option<&str>) -> Result<String> {
    let path = &target.path;
    let failed = |error| Error::system("can not write to", path)(error);
    let mut root = random_id().map_err(failed)?;
    let unique = format!("clone-{}", &root[..8]);
    // The partition beside it has the same with another end.
    root.replace_range(31.., "0");
    for at in [8, 13, 18, 23] {
        root.insert(at, '-');
    }
    // A disk that is mounted, or a part of something, is refused by the kernel.
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).custom_flags(libc::O_EXCL);
    let written = options.open(path).and_then(|mut disk| {
        mark::wipe(&mut disk)?;
        mark::write(&disk, Stage::Begun, &root)
    });
    written.map_err(failed)?;
    let name = host_name
        .filter(|name| is_host_name(name))
        .unwrap_or(&unique);
    if let Some(bad) = host_name.filter(|bad| *bad != name) {
        warn!("`{bad}` can not be a host name");
    }
    info!("laying out {} for {name}", path.display());
    run(
        LAY_OUT,
        &[
            path.as_ref(),
            root.as_ref(),
            esp(&root).as_ref(),
            name.as_ref(),
        ],
    )?;
    set_stage(path, Stage::LaidOut, &root)?;
    Ok(root)
}

/// The UUID of the boot loader's partition, by that of the root's.
fn esp(root: &str) -> String {
    format!("{}1", &root[..35])
}

/// The root partition of this UUID, once udev knows it.
fn partition(root: &str) -> Result<PathBuf> {
    let path = partition::device(&format!("PARTUUID={root}"));
    let waited = partition::wait_for(&path, Instant::now() + LONGEST);
    waited.map_err(Error::system("can not find the partition", &path))?;
    Ok(path)
}

/// Runs one of the scripts that came with the agent; what went wrong in it is said by its programs.
fn run(script: &str, arguments: &[&OsStr]) -> Result<()> {
    let ended = Command::new(script).args(arguments).status();
    let done = ended.and_then(|status| match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(status.to_string())),
    });
    done.map_err(Error::system("can not run", Path::new(script)))?;
    nix::unistd::sync();
    Ok(())
}

fn set_stage(disk: &Path, stage: Stage, root: &str) -> Result<()> {
    let opened = OpenOptions::new().write(true).open(disk);
    let written = opened.and_then(|file| mark::write(&file, stage, root));
    written.map_err(Error::system("can not write to", disk))
}

/// As hostname(7) has it.
fn is_host_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    name.len() <= 64
        && name.bytes().all(is_plain)
        && !name.starts_with(['-', '.'])
        && !name.is_empty()
}

/// Where the root is the first generation of a disk that does not start by itself yet, has it do so. A failure does not keep this boot from going on;
/// the next start over the network tries again.
#[inline(never)]
pub fn finish(places: &Places, plain: &Path) {
    let Ok(text) = fs::read_to_string(note(places)) else {
        return;
    };
    let (disk, uuid) = text.trim_end().split_once('\n').unwrap_or_default();
    let disk = Path::new(disk);
    let done = keep_words(places)
        .and_then(|()| kernel(places, uuid))
        .and_then(|kernel| {
            let (boot, esp) = (plain.join("boot"), esp(uuid));
            let words = [
                places.root.as_ref(),
                boot.as_ref(),
                disk.as_ref(),
                esp.as_ref(),
            ];
            run(BOOT_LOADER, &words)?;
            Loader::find(plain)?.put(&kernel, Asked::ByHand, false)
        })
        .and_then(|_| set_stage(disk, Stage::Done, uuid));
    match done {
        Ok(()) => info!("{} starts by itself from now on", disk.display()),
        Err(error) => warn!(
            "{error}: {} does not start by itself; the next start over the network tries again",
            disk.display()
        ),
    }
}

/// What the disk is to start: the generation's newest kernel, with this machine's configuration.
#[inline(never)]
fn kernel(places: &Places, uuid: &str) -> Result<Kernel> {
    let release = newest_in(&places.root).ok_or_else(|| {
        Error::Usage("the generation has no kernel with an initramfs in /boot".into())
    })?;
    let folder = places.config.parent().unwrap_or(&places.root);
    let words = words::of_the_disk(uuid, &places.command_line());
    let open = |name: &str| {
        let path = places.root.join(format!("boot/{name}-{release}"));
        File::open(&path).map_err(Error::system("can not open", &path))
    };
    Kernel::new(
        [open("vmlinuz")?, open("initrd.img")?],
        &release,
        folder,
        words,
    )
}

/// Makes the words of the kernel command line a part of the configuration, which goes into the initramfs on the disk.
fn keep_words(places: &Places) -> Result<()> {
    let path = &places.config;
    let mut text = fs::read_to_string(path).unwrap_or_default();
    text += &config::lines(&places.command_line());
    let folder = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.map_err(Error::system("can not write", path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_only_where_the_serial_number_of_its_disk_is_given() {
        let target = |serial: &str| Target {
            path: "/no/disk".into(),
            size: 8 << 20,
            serial: serial.into(),
            model: "MODEL, ".into(),
        };
        check_may_go(&target("S1"), Some("S1")).unwrap();
        let said = |serial, over| check_may_go(&target(serial), over).unwrap_err().to_string();
        let refused = "/no/disk (MODEL, 8 MiB, serial number S1) holds data (of no known kind): \
            to give that up, add reclone.install-over=S1 to the kernel command line";
        assert_eq!(said("S1", None), refused);
        assert_eq!(said("S1", Some("S2")), refused);
        assert_eq!(said("S1", Some("")), refused);
        for over in [None, Some("")] {
            let said = said("", over);
            assert!(
                said.ends_with("overwrite its first and its last MiB with zeros"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_host_name_is_one_that_every_program_takes() {
        for name in ["a", "kiosk-7", "kiosk.lab.example", &"x".repeat(64)] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "-a", ".a", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(!is_host_name(name), "{name}");
        }
    }
}
