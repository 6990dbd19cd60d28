//! Every initramfs that the boot loader of this machine's disk can start, and whether it has the agent: one that has not boots the plain system,
//! and a clone would be none without a word. What is one file with its kernel (a UKI) is not looked into.

use std::path::{Path, PathBuf};

use log::warn;
use serde_json::{Value, json};

use super::place::mounted;
use super::{DISK, FILES, grub, read};
use crate::enroll::{has_agent, initramfs_of};
use crate::error::Result;
use crate::partition::Visit;
use crate::pool::list;
use crate::running::Running;
use crate::sys::mount;

/// Where the partitions are that may have one, by the plain system's fstab. The first may be a folder.
const PLACES: [&str; 3] = ["/boot", "/efi", "/boot/efi"];

/// Something that can be booted.
#[derive(Debug, PartialEq, Eq)]
pub struct Bootable {
    /// Its initramfs, or else its kernel, as the plain system names it.
    pub path: PathBuf,
    /// Whether it has the agent; or why that is not known.
    pub agent: Result<bool, String>,
}

/// Looks into each. The process gets mounts of its own.
pub fn check() -> Vec<Bootable> {
    let disk = match Running::at(Path::new("/")) {
        Some(_) => DISK,
        None => "/",
    };
    let mut found = Vec::new();
    if let Err(error) = mount::part().and_then(|()| check_disk(Path::new(disk), &mut found)) {
        add(&mut found, disk.into(), Err(error.to_string()));
    }
    found
}

/// The same for the system whose root partition is mounted at `disk`.
fn check_disk(disk: &Path, found: &mut Vec<Bootable>) -> Result<()> {
    let fstab = read(&disk.join("etc/fstab"))?;
    for place in PLACES {
        let visit = match mounted(&fstab, place) {
            Ok(None) if place != PLACES[0] => continue,
            Ok(visit) => visit,
            Err(error) => {
                add(found, place.into(), Err(error.to_string()));
                continue;
            }
        };
        let own = disk.join(&place[1..]);
        let top = visit.as_ref().map_or(&*own, Visit::top);
        for (name, initramfs) in started_from(top) {
            add(
                found,
                Path::new(place).join(name),
                any_has_agent(top, &initramfs),
            );
        }
    }
    Ok(())
}

/// In the order of their paths, each once.
fn add(found: &mut Vec<Bootable>, path: PathBuf, agent: Result<bool, String>) {
    let at = found
        .iter()
        .position(|it| it.path >= path)
        .unwrap_or(found.len());
    if found.get(at).is_none_or(|it| it.path != path) {
        found.insert(at, Bootable { path, agent });
    }
}

/// What is started from the partition at `top`: how it is called, and its initramfs, of which there may be none or several.
fn started_from(top: &Path) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    // What Debian's and others' `grub-mkconfig` make entries of.
    for name in names_in(top) {
        if let Some(release) = name.strip_prefix("vmlinuz-") {
            let initramfs = initramfs_of(top, release);
            let initramfs = initramfs.as_deref().and_then(Path::file_name);
            match initramfs.map(|it| it.to_string_lossy().into_owned()) {
                Some(it) => all.push((it.clone(), vec![it])),
                None => all.push((name, Vec::new())),
            }
        }
    }
    // What reclone has GRUB start.
    for name in ["grub", "grub2"] {
        let entries = grub::read(&top.join(name)).unwrap_or_default();
        for entry in entries.current.iter().chain(&entries.previous) {
            let it = format!("{name}/reclone/{}/{}", entry.id, FILES[1]);
            all.push((it.clone(), vec![it]));
        }
    }
    // What entries of the Boot Loader Specification name.
    let folder = top.join("loader/entries");
    for name in names_in(&folder) {
        let text = read(&folder.join(name)).unwrap_or_default();
        let values = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("initrd"));
        let values = values.filter(|it| it.starts_with([' ', '\t']));
        let values = values.map(|it| it.trim().trim_start_matches('/').to_owned());
        let initramfs: Vec<String> = values.collect();
        if let Some(last) = initramfs.last() {
            all.push((last.clone(), initramfs));
        }
    }
    all
}

fn names_in(folder: &Path) -> Vec<String> {
    let paths = list(folder).unwrap_or_default().into_iter();
    let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    paths.filter_map(name).collect()
}

/// Microcode may come before what has it.
fn any_has_agent(top: &Path, names: &[String]) -> Result<bool, String> {
    let mut last = Ok(false);
    for name in names {
        last = has_agent(&top.join(name));
        if last == Ok(true) {
            break;
        }
    }
    last
}

/// For scripts.
pub fn json(found: &[Bootable]) -> Value {
    let one = |it: &Bootable| json!({ "path": it.path.to_string_lossy(), "reclone": it.agent.as_ref().ok() });
    found.iter().map(one).collect()
}

/// For people.
pub fn words(it: &Bootable) -> String {
    let path = it.path.display();
    match &it.agent {
        Ok(true) => format!("{path} has reclone"),
        Ok(false) => format!("{path} has no reclone"),
        Err(why) => format!("{path} is not checked: {why}"),
    }
}

/// Says of those without the agent what they do, and the way out.
pub fn warn_of(found: &[Bootable]) {
    for it in found.iter().filter(|it| it.agent == Ok(false)) {
        warn!(
            "{} has no reclone, so it boots the plain system: there, with reclone=off, run `update-initramfs -u -k all` or `dracut --force --regenerate-all`, or `reclone enroll` again",
            it.path.display()
        );
    }
}
